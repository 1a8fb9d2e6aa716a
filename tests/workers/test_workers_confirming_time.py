"""How the time for confirming is spent: nothing is begun in vain, and what is told of it is true."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from observations import CASE_ID, make_observation

from pytest_diffbench.workers.budget import Budget
from pytest_diffbench.workers.confirming import Confirming
from pytest_diffbench.workers.exchange import Measured
from pytest_diffbench.workers.launch import ProcessResult
from pytest_diffbench.workers.process import Ended


class Launcher:
    """Stands in for the real one: each process takes the next of `takes_s`, or runs into its time-out."""

    def __init__(self, *takes_s: float) -> None:
        self.takes_s = list(takes_s)
        self.now_s = 0.0

    def launch(self, _: Any, *, timeout_s: float) -> ProcessResult:
        takes_s = self.takes_s.pop(0)
        self.now_s += min(takes_s, timeout_s)
        ended = takes_s <= timeout_s
        return ProcessResult(
            asked=(CASE_ID,),
            folder=Path(),
            ended=Ended(0 if ended else None, timeout_s, ""),
            measured=(Measured(test=CASE_ID, observation=make_observation()),) if ended else (),
            outcomes=(),
            done=None,
        )


def confirmed(launcher: Launcher, *, first_s: float, max_time_s: float) -> tuple[int, list[str]]:
    """Ask for runs until there are no more; returns how many there were, and the notes."""
    item: Any = SimpleNamespace(
        path=Path("/project/tests/test_it.py"), nodeid=CASE_ID, config=SimpleNamespace(rootpath=Path("/project"))
    )
    confirming = Confirming(
        launcher,  # type: ignore[arg-type]  # stands in for it
        Budget(max_time_s, lambda: launcher.now_s),
        item,
        most=4,
        first_s=first_s,
        make_room=lambda: (),
        progress=lambda *_: None,
    )
    notes: list[str] = []
    more = confirming.source(make_observation().case, notes)
    runs = 0
    while more() is not None:
        runs += 1
    return runs, notes


def test_a_case_of_an_hour_starts_no_process_of_ten_minutes() -> None:
    launcher = Launcher()  # that would fail
    assert confirmed(launcher, first_s=3600, max_time_s=600) == (
        0,
        [
            "no process to confirm the time: the next takes about 3600 s, and 600 of the 600 s of"
            " --diffbench-max-time are left. For 4 more processes, give --diffbench-max-time=14640"
        ],
    )


def test_what_fits_is_begun_and_the_rest_is_not() -> None:
    assert confirmed(Launcher(100, 100), first_s=100, max_time_s=250) == (
        2,
        [
            "no more process to confirm the time: the next takes about 100 s, and 50 of the 250 s of"
            " --diffbench-max-time are left. For 2 more processes, give --diffbench-max-time=540"
        ],
    )


@pytest.mark.parametrize(
    ("max_time_s", "notes"),
    [
        (
            150,
            [
                "it didn't end within 150 s",
                "no more process to confirm the time: the 150 s of --diffbench-max-time are used up."
                " For 4 more processes, give --diffbench-max-time=840",
            ],
        ),
        (
            10_000,
            [
                "it didn't end within 560 s",
                f"no more processes to confirm the time after one that didn't end in {CASE_ID}",
            ],
        ),
    ],
    ids=["for want of time", "hangs"],
)
def test_a_process_without_an_end_is_reported_with_the_reason(max_time_s: float, notes: list[str]) -> None:
    runs, note = confirmed(Launcher(5000), first_s=100, max_time_s=max_time_s)
    assert (runs, note) == (
        0,
        [f"process 1 of at most 4 to confirm the time gave no run: {notes[0]}", notes[1]],
    )


def test_as_many_as_may_be_are_begun_where_there_is_time() -> None:
    assert confirmed(Launcher(*[100] * 4), first_s=100, max_time_s=600) == (4, [])
