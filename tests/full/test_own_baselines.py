"""The project's own baselines: readable, complete, and still what the ready-made benchmarks compute."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_diffbench.report import session_json
from pytest_diffbench.store import Store

BASELINES = Path(__file__).parents[2] / "baselines"


def test_every_baseline_reads_whole() -> None:
    store = Store(BASELINES)
    references = [store.load(folder) for folder in store.entries()]
    assert len(references) >= 32
    for reference in references:
        artifacts = reference.artifacts()
        if reference.baseline.case.definition.planned:
            assert (artifacts.images, artifacts.trace) == ((), {})
            continue
        assert len(artifacts.images) + len(artifacts.parts) == 1  # a picture, or a video
        assert "latents/final" in artifacts.trace


@pytest.mark.pipeline
@pytest.mark.usefixtures("few_blocks", "real_libraries")
def test_the_suite_still_computes_the_baselines(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess(
        "--diffbench",
        "--diffbench-rounds=1",
        *("-o", "diffbench_warmup_rounds=0"),  # which change no work and no output
        "--diffbench-gates=work,guidance,output",
        f"--diffbench-baselines={BASELINES}",
        "--diffbench-json=session.json",
        "--pyargs",
        "pytest_diffbench.suite",
    )
    result.assert_outcomes(passed=16, skipped=4)  # those for a folder's pipeline
    session = session_json.load(pytester.path / "session.json")
    assert session.missing_baselines == ()
    for case in session.cases:
        decisions = {verdict.gate: verdict.decision for verdict in case.verdicts}
        assert (decisions["work"], decisions["guidance"]) == ("same", "same"), case.observation.case.id
        # Another kind of CPU rounds otherwise; further off than that is for the gate to say.
        assert decisions["output"] in ("same", "unsure"), case.observation.case.id


@pytest.mark.pipeline
def test_the_suite_still_computes_the_baselines_at_full_size(pytester: pytest.Pytester, real_libraries: None) -> None:
    result = pytester.runpytest_inprocess(
        "--diffbench",
        "--diffbench-weights=plan",
        f"--diffbench-baselines={BASELINES}",
        "--diffbench-json=session.json",
        "--pyargs",
        "pytest_diffbench.suite",
    )
    result.assert_outcomes(passed=15, skipped=5)
    session = session_json.load(pytester.path / "session.json")
    assert session.missing_baselines == ()
    for case in session.cases:
        reasons = [verdict.reason for verdict in case.verdicts]
        assert reasons == ["work.same", "guidance.planned"], case.observation.case.id
