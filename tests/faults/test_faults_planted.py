"""Faults planted in a real Lumina2Pipeline: each is red by the gate that exists for it, as a failure in JUnit."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import suite_budget
from broken_project import Project

from pytest_diffbench.report.sentences.saving import saved_text

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_diffbench.records import Gate

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("real_libraries", "quick_processes")]

TEST_FILE = """
import os
import pytest
from broken_pipelines import planted

@pytest.mark.diffbench(model="lumina2", warmup_rounds=0)
def test_case(diffbench, diffbench_pipeline):
    with planted(os.environ.get("DIFFBENCH_TEST_FAULT"), diffbench_pipeline):
        diffbench(diffbench_pipeline, "a red circle", num_inference_steps=2, cfg_trunc_ratio=0.5)

@pytest.mark.diffbench(model="lumina2", warmup_rounds=0)
def test_after_it(diffbench, diffbench_pipeline):
    diffbench(diffbench_pipeline, "a red circle", num_inference_steps=2)
"""


@pytest.fixture(scope="session")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the baselines of the sound project are kept for further tests."""
    return tmp_path_factory.mktemp("accepted") / "baselines"


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, accepted: Path, real_libraries: None
) -> Project:
    project = Project(pytester, monkeypatch, TEST_FILE)
    own_baselines = pytester.path / "baselines"
    if accepted.exists():
        shutil.copytree(accepted, own_baselines)
    else:
        with suite_budget.shared():
            project.run("--diffbench-save").assert_outcomes(passed=2)
        shutil.copytree(own_baselines, accepted)
    return project


def test_the_unbroken_pipeline_is_the_same(project: Project) -> None:
    project.run("--diffbench").assert_outcomes(passed=2)
    decisions = project.decisions()
    assert {decisions[gate] for gate in ("work", "guidance", "output")} == {"same"}


@pytest.mark.parametrize(
    ("fault", "red", "untouched"),
    [
        ("ratio_ignored", {"work": "work.denoiser_calls", "guidance": "guidance.extra_steps"}, set()),
        ("renorm_dropped", {"guidance": "guidance.renorm_missing", "output": "output.differs"}, {"work"}),
        pytest.param("wrong_branch", {"guidance": "guidance.wrong_branch"}, set(), marks=pytest.mark.full),
        pytest.param(
            "extra_decode", {"work": "work.component_calls"}, {"guidance", "output"}, marks=pytest.mark.full
        ),
        pytest.param("other_seed", {"output": "output.differs"}, {"work", "guidance"}, marks=pytest.mark.full),
        pytest.param("black_image", {"output": "output.constant"}, {"work", "guidance"}, marks=pytest.mark.full),
        pytest.param("nan_image", {"output": "output.constant"}, {"work", "guidance"}, marks=pytest.mark.full),
        pytest.param("nan_decoder", {"output": "output.not_finite"}, {"work", "guidance"}, marks=pytest.mark.full),
    ],
)
def test_a_fault_is_red_by_the_right_gate_for_the_right_reason(
    project: Project, fault: str, red: dict[Gate, str], untouched: set[Gate]
) -> None:
    project.run("--diffbench", "-k", "test_case", fault=fault).assert_outcomes(failed=1, deselected=1)
    decisions = project.decisions()
    reasons = {gate: project.verdict(gate).reason for gate in untouched}
    assert {gate for gate in red if decisions[gate] == "worse"} == set(red)
    assert {gate: project.verdict(gate).reason for gate in red} == red
    # what blackens a picture or breaks a number is an operator more
    assert {gate for gate in untouched if decisions[gate] == "same" or reasons[gate] == "work.operators"} == untouched
    message = project.junit_failure()
    assert "diffbench: worse in" in message
    assert all(gate in message for gate in red)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("black_image", marks=pytest.mark.full),
        pytest.param("nan_decoder", marks=pytest.mark.full),
        "wrong_branch",
    ],
)
def test_what_is_wrong_by_itself_is_never_saved(project: Project, fault: str) -> None:
    stored = {path: path.read_bytes() for path in (project.pytester.path / "baselines").rglob("*.*")}
    assert stored
    project.run("--diffbench-save", "-k", "test_case", fault=fault).assert_outcomes(failed=1, deselected=1)
    assert "refused" in saved_text(project.case().saved)
    assert {path: path.read_bytes() for path in stored} == stored


def test_a_raising_pipeline_fails_with_the_original_error_and_the_next_runs(project: Project) -> None:
    result = project.run("--diffbench", fault="raises")
    result.assert_outcomes(passed=1, failed=1)
    assert "the decoder has had enough" in project.junit_failure()
    assert "the decoder has had enough" in (project.case().error or "")
    assert project.case().verdicts == ()


@pytest.mark.full
def test_running_out_of_memory_is_a_single_clear_sentence(project: Project) -> None:
    result = project.run("--diffbench", fault="out_of_memory")
    result.assert_outcomes(passed=1, failed=1)
    message = project.junit_failure()
    assert "ran out of memory" in message
    assert "offload" in message
    assert "Traceback" not in result.stdout.str()


@pytest.mark.full
def test_an_interruption_loses_nothing(project: Project) -> None:
    head, first, second = TEST_FILE.split("@pytest.mark.diffbench", 2)
    project.pytester.makepyfile(test_project="@pytest.mark.diffbench".join((head, second, first)))
    result = project.run("--diffbench", fault="interrupted", subprocess=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert project.session.interrupted
    by_name = {case.observation.case.id.rpartition("::")[2]: case for case in project.session.cases}
    assert by_name["test_after_it"].verdicts
    assert by_name["test_case"].error == "KeyboardInterrupt"
    assert not by_name["test_case"].observation.complete
    result.stdout.fnmatch_lines_random(["*test_after_it*", "*test_case*", "*interrupted*"])
