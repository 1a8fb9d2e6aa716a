"""A slower denoiser in a real pipeline, by a virtual clock. `benchmarks/planted_slowdown.py` uses the real one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import virtual_time

from pytest_diffbench.report import session_json

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("real_libraries", "quick_processes")]

TEST_FILE = """
import os, types
import pytest
from pytest_diffbench.measure import clock
from pytest_diffbench.measure import pace as machine_pace
from pytest_diffbench.measure import telemetry
from virtual_time import CLOCK, taking

# in fresh processes too
clock.now_ns = CLOCK
machine_pace._prepared = lambda device, dtype: lambda: {"interpreter": 1e-6}
telemetry.Waiting = lambda: types.SimpleNamespace(read=lambda: None)  # nor does anything wait

PACE = float(os.environ["DIFFBENCH_TEST_PACE"])
DENOISER_S = float(os.environ["DIFFBENCH_TEST_DENOISER_S"])

@pytest.mark.diffbench(model="lumina2", warmup_rounds=0)
def test_case(diffbench, diffbench_pipeline):
    pipe = diffbench_pipeline
    with taking(pipe.text_encoder, "forward", PACE * 0.010), taking(pipe.vae.decoder, "forward", PACE * 0.020):
        with taking(pipe.transformer, "forward", PACE * DENOISER_S):
            diffbench(pipe, "a red circle", num_inference_steps=4, cfg_trunc_ratio=0.5)
"""


class Project:
    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pytester = pytester
        self.monkeypatch = monkeypatch
        virtual_time.install(monkeypatch)
        monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
        pytester.syspathinsert(Path(virtual_time.__file__).parent)
        monkeypatch.setenv("PYTHONPATH", str(Path(virtual_time.__file__).parent), prepend=os.pathsep)
        pytester.makepyfile(test_project=TEST_FILE)

    def run(self, option: str, pace: float = 1.0, denoiser_s: float = 0.010) -> pytest.RunResult:
        """Run at a pace of the whole pipeline, as one process differs from the next."""
        self.monkeypatch.setenv("DIFFBENCH_TEST_PACE", str(pace))
        self.monkeypatch.setenv("DIFFBENCH_TEST_DENOISER_S", str(denoiser_s))
        return self.pytester.runpytest_inprocess(option, "--diffbench-rounds=2", "--diffbench-json=session.json")

    def verdict(self) -> Any:
        (case,) = session_json.load(self.pytester.path / "session.json").cases
        return next(verdict for verdict in case.verdicts if verdict.gate == "time")


@pytest.fixture(scope="session")
def five_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the baseline of five runs is kept for further tests."""
    return tmp_path_factory.mktemp("five_runs") / "baselines"


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, five_runs: Path) -> Project:
    project = Project(pytester, monkeypatch)
    own_baselines = pytester.path / "baselines"
    if five_runs.exists():
        shutil.copytree(five_runs, own_baselines)
    else:
        for pace in (0.99, 1.0, 1.01, 1.0, 0.995):
            project.run("--diffbench-save", pace).assert_outcomes(passed=1)
        shutil.copytree(own_baselines, five_runs)
    return project


def test_half_as_much_time_again_in_the_denoiser_is_red_and_located(project: Project) -> None:
    result = project.run("--diffbench", denoiser_s=0.015)
    result.assert_outcomes(failed=1)
    verdict = project.verdict()
    assert (verdict.decision, verdict.reason) == ("worse", "time.slower")
    # 6 calls of 10 ms, 2 text encodings of 10 ms and a decoding of 20 ms: 100 ms become 130 ms.
    assert verdict.details.ratio == pytest.approx(1.3, rel=0.02)
    assert "denoise" in verdict.message
    assert "confirmed by 2 of 2 fresh processes" in verdict.message
    assert not any("vae_decode" in change for change in (verdict.message, *verdict.changes))
    result.stdout.fnmatch_lines(["*diffbench: worse in time*"])


def test_the_same_pace_is_the_same_and_says_what_would_have_been_detected(project: Project) -> None:
    project.run("--diffbench", pace=1.005).assert_outcomes(passed=1)
    verdict = project.verdict()
    assert (verdict.decision, verdict.reason) == ("same", "time.same")
    assert 0 < verdict.details.detectable_rel < 0.5
    assert "would have been detected" in verdict.message


def test_a_faster_denoiser_is_better_and_green(project: Project) -> None:
    project.run("--diffbench", denoiser_s=0.005).assert_outcomes(passed=1)
    assert project.verdict().reason == "time.faster"


def test_stages_and_steps_are_where_the_time_went(project: Project) -> None:
    project.run("--diffbench")
    (case,) = session_json.load(project.pytester.path / "session.json").cases
    run = case.observation.run
    assert run.stage_medians_s["text_encode"] == pytest.approx(0.020, rel=0.01)
    assert run.stage_medians_s["denoise"] == pytest.approx(0.060, rel=0.01)
    assert run.stage_medians_s["vae_decode"] == pytest.approx(0.020, rel=0.01)
    assert run.step_medians_s == pytest.approx((0.020, 0.020, 0.010, 0.010), rel=0.01)
