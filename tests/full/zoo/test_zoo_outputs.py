"""Sessions of pipelines that return videos, audio, maps, embeddings and latents: saved, the same, damaged."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import zoo_outputs as zoo

from pytest_diffbench.report import session_json

if TYPE_CHECKING:
    from pytest_diffbench.records import CaseReport, Verdict

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("real_libraries")]

TEST = """
import os

import pytest
import zoo_outputs as zoo


def test_it(diffbench):
    pipeline = zoo.build({name!r}, damaged=bool(os.environ.get("FAULT")))
    diffbench(pipeline, **zoo.arguments({name!r}))
"""


@pytest.fixture(autouse=True)
def even_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every look at the clock take a millisecond: a busy machine's time is none of these tests' business."""
    ticks = itertools.count(1_000_000, 1_000_000)
    monkeypatch.setattr("pytest_diffbench.measure.clock.now_ns", lambda: next(ticks))


def run(pytester: pytest.Pytester, mode: str) -> CaseReport:
    pytester.runpytest_inprocess(
        mode,
        "--diffbench-gates=output",
        "--diffbench-rounds=1",
        "--diffbench-threads=1",
        "--diffbench-json=session.json",
    )
    (case,) = session_json.load(pytester.path / "session.json").cases
    return case


def output_of(case: CaseReport) -> Verdict:
    (verdict,) = case.verdicts
    return verdict


@pytest.mark.parametrize("name", zoo.CASES)
def test_a_pipeline_is_saved_and_compared(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    case = zoo.CASES[name]
    pytester.makepyfile(TEST.format(name=name))
    saved = run(pytester, "--diffbench-save")
    assert saved.saved is not None
    assert saved.saved.what == "created", saved.saved
    assert saved.observation.output is not None
    assert tuple(part.kind for part in saved.observation.output.parts) == case.kinds
    again = output_of(run(pytester, "--diffbench"))
    assert (again.reason, again.decision) == ("output.same_bits", "same"), again.message
    monkeypatch.setenv("FAULT", "1")
    damaged = output_of(run(pytester, "--diffbench"))
    assert (damaged.reason, damaged.decision) == (case.reason, "worse"), damaged.message
    assert case.words in damaged.message
