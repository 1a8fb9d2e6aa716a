"""The ratios of a variant are kept with its baseline, run by run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store_builders import make_artifacts, make_case, make_environment, make_observation, make_run

from pytest_diffbench.records import Case, Ratio, RatioRun
from pytest_diffbench.report.sentences.saving import saved_text
from pytest_diffbench.store import Store
from pytest_diffbench.store.store import MOST_RUNS

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_diffbench.records.artifacts import Artifacts, Reference

ARTIFACTS = make_artifacts()
FULL = make_case("tests/test_cfg.py::test_pays#full", arguments={"cfg_trunc_ratio": 1.0})


def ratio(run_id: str, log_ratio: float = 0.28, reference: Case = FULL) -> Ratio:
    run = RatioRun(run=run_id, log_ratio=log_ratio, standard_error_log=0.004, blocks=12, denoise_log_ratio=0.31)
    return Ratio(reference=reference, runs=(run,))


def reference_in(store: Store) -> Reference:
    reference = store.find(make_case(), make_environment())
    assert reference is not None
    return reference


def runs_in(store: Store) -> list[str]:
    stored = reference_in(store).baseline.ratio
    return [] if stored is None else [run.run for run in stored.runs]


def save(store: Store, run_id: str, measured: Ratio | None, artifacts: Artifacts = ARTIFACTS) -> str:
    previous = store.find(make_case(), make_environment())
    observation = make_observation(artifacts, run=make_run(run_id), ratio=measured)
    return saved_text(store.save(observation, artifacts, previous, unchanged=artifacts is ARTIFACTS))


def test_a_ratio_is_stored_and_read_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    save(store, "run-1", ratio("run-1"))
    assert reference_in(store).baseline.ratio == ratio("run-1")


def test_every_run_adds_a_ratio(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for run_id in ("run-1", "run-2", "run-3"):
        save(store, run_id, ratio(run_id))
    assert runs_in(store) == ["run-1", "run-2", "run-3"]
    assert len(reference_in(store).baseline.runs) == 3


def test_no_more_are_kept_than_runs(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(MOST_RUNS + 2):
        save(store, f"run-{number}", ratio(f"run-{number}"))
    assert runs_in(store) == [f"run-{number}" for number in range(2, MOST_RUNS + 2)]


def test_a_different_reference_begins_anew(tmp_path: Path) -> None:
    store = Store(tmp_path)
    save(store, "run-1", ratio("run-1"))
    other = make_case(FULL.id, arguments={"cfg_trunc_ratio": 0.7})
    save(store, "run-2", ratio("run-2", reference=other))
    assert runs_in(store) == ["run-2"]
    assert len(reference_in(store).baseline.runs) == 2


def test_a_plain_call_keeps_what_is_there_and_a_first_ratio_joins_old_runs(tmp_path: Path) -> None:
    store = Store(tmp_path)
    save(store, "run-1", None)
    assert runs_in(store) == []
    save(store, "run-2", ratio("run-2"))
    save(store, "run-3", None)
    assert runs_in(store) == ["run-2"]


def test_a_new_generation_has_only_new_ratios(tmp_path: Path) -> None:
    store = Store(tmp_path)
    save(store, "run-1", ratio("run-1"))
    assert save(store, "run-2", ratio("run-2"), make_artifacts(99)) == "new generation 2"
    assert runs_in(store) == ["run-2"]
