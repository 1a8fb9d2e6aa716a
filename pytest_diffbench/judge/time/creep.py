"""How far a case's time has gone since its first runs were accepted, by steps each of which was within the noise."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from pytest_diffbench.judge.time.figures import TOTAL, paces_s, times_of
from pytest_diffbench.judge.time.pace import experience_of
from pytest_diffbench.judge.time.runs import total_floor_rel
from pytest_diffbench.records import MOST_FIRST_TIMES, FirstTime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.records import Run

_SCORE = 3.0
"""Deviations of the noise that a creep has to exceed before anything is said."""


def first_time(run: Run) -> FirstTime | None:
    """What is kept of one of the first runs; None for one without times."""
    if not run.rounds:
        return None
    return FirstTime(median_s=times_of([run], net=True)[TOTAL][0], pace_s=paces_s(run))


def creep_rel(first: Sequence[FirstTime], latest: Sequence[Run], limits: Limits, family: str) -> float | None:
    """How much longer the latest runs take than the first ones; None where that isn't beyond noise and floor.

    Args:
        first: the first runs that were accepted on this machine.
        latest: all timed runs since, oldest first; the last few count.
        limits: of the test.
        family: type of the device.
    """
    runs = [time for run in latest[-MOST_FIRST_TIMES:] if (time := first_time(run)) is not None]
    if not first or len(latest) < len(first) + len(runs):
        return None
    kinds = set.intersection(*(set(time.pace_s) for time in (*first, *runs)))
    before_log, after_log = (statistics.median(_log(time, kinds) for time in times) for times in (first, runs))
    change_log = after_log - before_log
    noise_log = experience_of(limits, family).between.deviation * math.sqrt(1 / len(first) + 1 / len(runs))
    before_s = statistics.median(time.median_s for time in first)
    if change_log <= max(_SCORE * noise_log, math.log1p(total_floor_rel(limits, family, before_s))):
        return None
    return math.expm1(change_log)


def _log(time: FirstTime, kinds: set[str]) -> float:
    """Logarithm of a time by the machine's pace, where all sides know it."""
    pace_log = math.fsum(math.log(time.pace_s[kind]) for kind in kinds) / len(kinds) if kinds else 0.0
    return math.log(time.median_s) - pace_log
