"""A slowdown that is accepted: times begin anew with it, so that the next one is red again; a creep is told."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import msgspec
from store_builders import make_artifacts, make_observation, make_run

from pytest_diffbench.report.sentences.saving import saved_text
from pytest_diffbench.session.verdicts import Concluded, Evidence, conclude
from pytest_diffbench.settings.options import Settings
from pytest_diffbench.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_diffbench.records import Baseline, Observation

COUNT = itertools.count()


def measured(total_s: float) -> Observation:
    """Rounds that agree, at the machine's usual pace, on a day of their own."""
    run = make_run(f"run-{next(COUNT)}")
    rounds = tuple(msgspec.structs.replace(run.rounds[0], total_s=total_s, stages_s={}, steps_s=()) for _ in range(3))
    started = f"2026-01-{next(COUNT) % 28 + 1:02}T03:04:05Z"
    return make_observation(make_artifacts(), msgspec.structs.replace(run, rounds=rounds, started=started))


def concluded(folder: Path, total_s: float, *, save: bool) -> Concluded:
    """One session of one case, whose fresh processes repeat the first."""
    return conclude(
        measured(total_s),
        make_artifacts(),
        store=Store(folder),
        settings=Settings(save=save, gates=("work", "time")),
        nodeid="tests/test_cfg.py::test_cfg_trunc[0.5]",
        failed=False,
        evidence=Evidence(more=lambda: measured(total_s)),
    )


def reason(done: Concluded) -> str:
    return done.report.verdicts[-1].reason


def baseline(folder: Path) -> Baseline:
    (path,) = Store(folder).entries()
    return Store(folder).load(path).baseline


def test_an_accepted_slowdown_begins_the_times_anew(tmp_path: Path) -> None:
    for _ in range(3):
        concluded(tmp_path, 0.1, save=True)
    assert reason(concluded(tmp_path, 0.3, save=False)) == "time.slower"
    done = concluded(tmp_path, 0.3, save=True)
    assert (saved_text(done.report.saved), done.failure) == ("added run 4, from which times count anew", None)
    kept = baseline(tmp_path)
    assert [run.median_s for run in kept.times] == [0.3]
    assert len(kept.timed_runs) == 4, "what it took before stays, as history"
    assert reason(concluded(tmp_path, 0.3, save=False)) in ("time.same", "time.few_runs")
    again = concluded(tmp_path, 0.45, save=False)
    assert reason(again) == "time.slower"
    assert again.failure is not None
    assert saved_text(concluded(tmp_path, 0.31, save=True).report.saved) == "added run 5"
    assert [run.median_s for run in baseline(tmp_path).times] == [0.3, 0.31]


def test_an_accepted_gain_does_too(tmp_path: Path) -> None:
    for _ in range(3):
        concluded(tmp_path, 0.3, save=True)
    assert reason(concluded(tmp_path, 0.1, save=False)) == "time.faster"
    assert saved_text(concluded(tmp_path, 0.1, save=True).report.saved) == "added run 4, from which times count anew"
    assert reason(concluded(tmp_path, 0.3, save=False)) == "time.slower"


def test_a_creep_is_reported_when_saved(tmp_path: Path) -> None:
    slid = [concluded(tmp_path, 0.1 * 1.01**n, save=True).report.slid for n in range(25)]
    assert slid[:5] == [None] * 5
    assert slid[-1] is not None
    assert slid[-1].startswith("+2")
    assert "% of time since the first 3 accepted runs. If that is intended, delete" in slid[-1]
