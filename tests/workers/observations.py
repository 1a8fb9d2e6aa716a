"""The least that a measured case consists of."""

from __future__ import annotations

from pytest_diffbench.records import Case, Definition, Environment, Observation, Round, Run

CASE_ID = "tests/test_it.py::test_it"


def make_run(identity: str = "a", total_s: float = 0.1) -> Run:
    """A run of three equal rounds."""
    return Run(
        id=identity,
        started="2026-01-01T00:00:00+00:00",
        rounds=(Round(total_s=total_s),) * 3,
        calibration_s=(0.01,) * 3,
        environment=Environment(
            machine="cpu-test-2c", family="cpu", hardware={"cpus": 2}, settings={"threads": 1}, software={}, state={}
        ),
    )


def make_observation(run: Run | None = None, *, case_id: str = CASE_ID, size: int = 32) -> Observation:
    """A case of a callable."""
    definition = Definition(pipeline="paint", weights="own", dtype="unknown", seed=0, arguments={"size": size})
    return Observation(case=Case(id=case_id, definition=definition), run=run or make_run())
