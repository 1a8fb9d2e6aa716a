"""A slower denoiser in a real pipeline is told with the operators that make it slower; and traces to look at."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import virtual_time

from pytest_diffbench.report import session_json
from pytest_diffbench.store import Store

if TYPE_CHECKING:
    from pytest_diffbench.records import CaseReport

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("real_libraries", "quick_processes")]

TEST_FILE = """
import os
import pytest
import torch
from virtual_time import CLOCK

EXTRA = int(os.environ.get("DIFFBENCH_TEST_EXTRA", "0"))
PACE = float(os.environ.get("DIFFBENCH_TEST_PACE", "1"))

@pytest.mark.diffbench(model="lumina2", warmup_rounds=0)
def test_case(diffbench, diffbench_pipeline):
    forward = diffbench_pipeline.transformer.forward

    def busier(*args, **kwargs):
        CLOCK.advance(PACE * 0.010)
        for _ in range(EXTRA):
            torch.ones(64, 64) @ torch.ones(64, 64)
            CLOCK.advance(0.001)
        return forward(*args, **kwargs)

    diffbench_pipeline.transformer.forward = busier
    try:
        diffbench(diffbench_pipeline, "a red circle", num_inference_steps=2)
    finally:
        del diffbench_pipeline.transformer.forward
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    virtual_time.install(monkeypatch)
    pytester.syspathinsert(Path(virtual_time.__file__).parent)
    pytester.makepyfile(test_project=TEST_FILE)
    return pytester


def run(project: pytest.Pytester, *options: str) -> CaseReport:
    project.runpytest_inprocess(*options, "--diffbench-rounds=2", "--diffbench-json=session.json")
    (case,) = session_json.load(project.path / "session.json").cases
    return case


def test_the_cause_of_a_slowdown_is_named(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    for pace in ("0.99", "1.0", "1.01", "1.0", "0.995"):
        monkeypatch.setenv("DIFFBENCH_TEST_PACE", pace)
        saved = run(project, "--diffbench-save")
        # one profile a baseline: the later runs only add their times
        assert (saved.observation.profile is not None) == (pace == "0.99")
    monkeypatch.delenv("DIFFBENCH_TEST_PACE")
    (folder,) = Store(project.path / "baselines").entries()
    stored = Store(project.path / "baselines").load(folder).baseline
    assert len(stored.runs) == 5
    assert stored.profile is not None

    same = run(project, "--diffbench")
    assert same.observation.profile is None  # nobody asked why
    monkeypatch.setenv("DIFFBENCH_TEST_EXTRA", "20")
    slower = run(project, "--diffbench", "--diffbench-confirm=0")  # the first run decides
    verdict = next(verdict_of_gate for verdict_of_gate in slower.verdicts if verdict_of_gate.gate == "time")
    assert (verdict.decision, verdict.reason) == ("worse", "time.slower")
    assert slower.observation.profile is not None
    # 4 calls of the denoiser with 20 products each
    counts = [
        operator.calls
        for operator in stored.profile.operators
        if (operator.stage, operator.name) == ("denoise", "aten::mm")
    ]
    expected = f"denoise: aten::mm {counts[0]:,} -> {counts[0] + 80:,} calls"
    assert any(line.startswith(expected) for line in verdict.changes), verdict.changes


def test_traces_are_written_for_every_case(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_project="""
        import pytest

        @pytest.mark.diffbench(model="lumina2", warmup_rounds=0)
        @pytest.mark.parametrize("ratio", [0.5, 1.0])
        def test_case(diffbench, diffbench_pipeline, ratio):
            diffbench(diffbench_pipeline, "a red circle", num_inference_steps=2, cfg_trunc_ratio=ratio)
        """
    )
    result = project.runpytest_inprocess("--diffbench", "--diffbench-rounds=1", "--diffbench-profile=deep/traces")
    result.assert_outcomes(failed=2)  # without baselines
    files = sorted(path.name for path in (project.path / "deep" / "traces").iterdir())
    assert len(files) == 2
    assert all("test_project-test_case" in name and name.endswith(".json.gz") for name in files)
    for name in files:
        text = gzip.decompress((project.path / "deep" / "traces" / name).read_bytes())
        names = {event["name"] for event in json.loads(text)["traceEvents"]}
        assert {"diffbench:text_encode", "diffbench:denoise", "diffbench:vae_decode", "diffbench:step 1"} <= names


def test_a_failure_to_create_a_folder_is_reported(project: pytest.Pytester) -> None:
    project.makeconftest("def pytest_runtest_setup():\n    open('taken', 'w').close()\n")
    result = project.runpytest_inprocess("--diffbench", "--diffbench-profile=taken/traces")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*--diffbench-profile: *taken*traces can't be created as a folder*"])
