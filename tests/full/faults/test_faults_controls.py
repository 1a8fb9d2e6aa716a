"""The output gate's controls, on a trained mini: changed pictures that it must catch, changes that it must not."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import suite_budget
from broken_project import Project

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("real_libraries")]

TEST_FILE = """
import os
import pytest
from broken_pipelines import planted

@pytest.mark.diffbench(model="lumina2", warmup_rounds=0)
def test_case(diffbench, diffbench_pipeline):
    with planted(os.environ.get("DIFFBENCH_TEST_FAULT"), diffbench_pipeline):
        diffbench(diffbench_pipeline, "a large red circle on a blue background", num_inference_steps=4)
"""


@pytest.fixture(scope="session")
def accepted_picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the baseline of the sound project is kept for further tests."""
    return tmp_path_factory.mktemp("accepted_picture") / "baselines"


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, accepted_picture: Path, real_libraries: None
) -> Project:
    project = Project(pytester, monkeypatch, TEST_FILE)
    own_baselines = pytester.path / "baselines"
    if accepted_picture.exists():
        shutil.copytree(accepted_picture, own_baselines)
    else:
        with suite_budget.shared():
            project.run("--diffbench-save").assert_outcomes(passed=1)
        shutil.copytree(own_baselines, accepted_picture)
    return project


@pytest.mark.parametrize(
    "fault",
    ["black_image", "noise", "other_seed", "other_prompt", "twice_as_bright", "red_cast", "black_patch"],
)
def test_a_different_picture_is_worse(project: Project, fault: str) -> None:
    project.run("--diffbench", fault=fault).assert_outcomes(failed=1)
    assert project.verdict("output").decision == "worse", project.verdict("output")
    assert "output" in project.junit_failure()


@pytest.mark.parametrize("fault", ["", "channels_last"], ids=["rerun", "channels last"])
def test_the_same_picture_by_a_different_way_is_the_same(project: Project, fault: str) -> None:
    project.run("--diffbench", fault=fault).assert_outcomes(passed=1)
    assert project.verdict("output").decision == "same", project.verdict("output")


def test_the_same_picture_by_two_threads_is_the_same(project: Project, quick_processes: None) -> None:
    # in a process of its own, since this one mustn't have run threads
    project.run("--diffbench", "--diffbench-threads=2", subprocess=True).assert_outcomes(passed=1)
    assert project.case().observation.run.environment.settings["threads"] == 2
    assert project.verdict("output").decision == "same", project.verdict("output")
