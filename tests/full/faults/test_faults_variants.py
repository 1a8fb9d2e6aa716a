"""Variants of a real pipeline by a virtual clock: what they gain, what counts predict, and gains gone missing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import virtual_time

from pytest_diffbench.report import session_json

if TYPE_CHECKING:
    from pytest_diffbench.records import SessionReport, VariantReport, Verdict

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("real_libraries", "quick_processes")]

TEST_FILE = """
import contextlib
import os
import random

import pytest
from tiny_pipelines import build_tiny
from virtual_time import CLOCK

EXTRA_REL = float(os.environ["DIFFBENCH_TEST_EXTRA_REL"])
DRAW = random.Random(11)


@contextlib.contextmanager
def taking(module, method, seconds):
    # Each call a little off, as on a real machine; truncated calls may be made to take longer.
    original = getattr(module, method)

    def slow(*args, **kwargs):
        CLOCK.advance(seconds() * (0.95 + 0.1 * DRAW.random()))
        return original(*args, **kwargs)

    setattr(module, method, slow)
    yield
    delattr(module, method)


@pytest.mark.diffbench(threads=1, gates="work,guidance,output,time")
def test_case(diffbench):
    pipe = build_tiny("lumina2")
    truncated = False

    class Watched(type(pipe)):
        def __call__(self, *args, cfg_trunc_ratio=1.0, **kwargs):
            nonlocal truncated
            truncated = cfg_trunc_ratio < 1
            return super().__call__(*args, cfg_trunc_ratio=cfg_trunc_ratio, **kwargs)

    watched = Watched(**pipe.components)
    watched.set_progress_bar_config(disable=True)
    denoiser_s = lambda: 0.010 * (1 + EXTRA_REL * truncated)
    with contextlib.ExitStack() as stack:
        stack.enter_context(taking(pipe.transformer, "forward", denoiser_s))
        stack.enter_context(taking(pipe.text_encoder, "forward", lambda: 0.010))
        stack.enter_context(taking(pipe.vae.decoder, "forward", lambda: 0.020))
        diffbench.sweep(
            watched, "a red circle", "cfg_trunc_ratio", [1.0, 0.5, 0.25],
            # Prompts of one length, so that each denoiser call is the same work, as it takes the same time here.
            negative_prompt="a red square", num_inference_steps=4, height=64, width=64, max_sequence_length=64,
        )
"""


class Project:
    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pytester = pytester
        self.monkeypatch = monkeypatch
        virtual_time.install(monkeypatch)
        pytester.syspathinsert(Path(virtual_time.__file__).parent)
        pytester.makepyfile(test_project=TEST_FILE)

    def run(self, *options: str, extra_rel: float = 0.0) -> pytest.RunResult:
        """Run with each denoiser call of truncated variants taking longer by a share."""
        self.monkeypatch.setenv("DIFFBENCH_TEST_EXTRA_REL", str(extra_rel))
        return self.pytester.runpytest_inprocess(*options, "--diffbench-json=session.json")

    @property
    def session(self) -> SessionReport:
        return session_json.load(self.pytester.path / "session.json")

    @property
    def rows(self) -> dict[str, VariantReport]:
        (comparison,) = self.session.comparisons
        return {variant.name: variant for variant in comparison.variants}

    def verdicts(self, name: str) -> dict[str, Verdict]:
        (case,) = [case for case in self.session.cases if case.observation.case.id.endswith(f"={name}")]
        return {verdict.gate: verdict for verdict in case.verdicts}


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    return Project(pytester, monkeypatch)


def test_a_sweep_measures_what_counts_predict(project: Project) -> None:
    project.run("--diffbench-save").assert_outcomes(passed=1)
    # 4 steps: 8, 6 and 5 denoiser calls of 10 ms, two text encodings of 10 ms, one decoding of 20 ms.
    times_s = {"1.0": 0.120, "0.5": 0.100, "0.25": 0.090}
    for name, time_s in times_s.items():
        row = project.rows[name]
        assert row.median_s == pytest.approx(time_s, rel=0.02)
        assert row.speedup_rel is not None
        assert row.speedup_rel.value == pytest.approx(0.120 / time_s, rel=0.02)
        assert row.predicted_speedup_rel == pytest.approx(0.120 / time_s, rel=0.02)
        assert row.agrees_with_prediction is True, (row.speedup_rel, row.predicted_speedup_rel)
    assert {name: row.denoiser_calls for name, row in project.rows.items()} == {"1.0": 8, "0.5": 6, "0.25": 5}
    assert project.rows["0.25"].work_saved_rel == 3 / 8
    assert project.rows["0.25"].flops_saved_rel == pytest.approx(3 / 8, rel=0.02)  # "square" has a letter or two more
    denoise = project.rows["0.5"].stage_speedups_rel["denoise"]
    assert denoise.value == pytest.approx(80 / 60, rel=0.02)
    difference = project.rows["0.5"].image_difference
    assert difference is not None
    assert difference.psnr_db is not None
    assert math.isfinite(difference.psnr_db)
    assert difference.latents_rel is not None
    assert difference.latents_rel > 0


def test_a_missing_gain_is_red_and_off_the_prediction(project: Project) -> None:
    for _ in range(3):
        project.run("--diffbench-save").assert_outcomes(passed=1)
    project.run("--diffbench").assert_outcomes(passed=1)
    assert project.verdicts("0.5")["time"].reason == "time.ratio_same"
    # the clock is this process's own, so the first run decides
    project.run("--diffbench", "--diffbench-confirm=0", extra_rel=0.30).assert_outcomes(failed=1)
    assert project.verdicts("0.5")["time"].reason == "time.ratio_worse"
    assert project.verdicts("0.5")["work"].reason == "work.same"
    assert project.verdicts("0.5")["output"].reason == "output.same_bits"
    assert project.verdicts("1.0")["time"].decision != "worse"
    assert project.rows["0.5"].agrees_with_prediction is False
