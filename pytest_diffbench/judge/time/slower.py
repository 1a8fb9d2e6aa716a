"""What a proven slowdown is told as: the same for runs against a baseline and for pairs of environments."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

import msgspec

from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.judge.time import telemetry
from pytest_diffbench.judge.time.figures import TOTAL, kind_of, label, times_of
from pytest_diffbench.records.details import PartTime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.judge.time.rule import Figure
    from pytest_diffbench.records import Run, Verdict
    from pytest_diffbench.records.details import TimeDetails


def part_of(now: Sequence[Run], past: Sequence[Run], figure: Figure) -> PartTime:
    """A time before and after: geometric means, whose ratio is the mean ratio of pairs."""
    before_s, after_s = (statistics.geometric_mean(times_of(runs)[figure.name]) for runs in (past, now))
    name, kind = label(figure.name, len(now[0].step_medians_s)), kind_of(figure.name)
    return PartTime(name=name, kind=kind, before_s=before_s, after_s=after_s)


def slower_verdict(
    now: Sequence[Run], past: Sequence[Run], slower: Sequence[Figure], details: TimeDetails, *, more_runs_count: bool
) -> Verdict:
    """Name what is proven: the total where it is, else the stages, else the steps.

    Args:
        now: runs of this session, or of one side of pairs.
        past: those that they are held against.
        slower: what is proven to be slower, the least likely by chance first.
        details: what is known of the case besides.
        more_runs_count: one more run, or pair, would be made use of.
    """
    # the reason follows what weighs most, whichever of them is least likely
    leading = min(slower, key=lambda figure: (figure.name != TOTAL, kind_of(figure.name) == "step"))
    clocks = telemetry.clocks_explain(now, past, leading, slower)
    details = msgspec.structs.replace(
        details,
        slower=tuple(part_of(now, past, figure) for figure in slower),
        leading_floor_rel=math.expm1(leading.floor_log),
        confirmed=leading.agreeing(),
        fresh_runs=leading.fresh,
        clocks=clocks,
        more_runs_help=clocks is not None and more_runs_count,
        waited=None if clocks is not None else telemetry.waited(now, past, leading.floor_log),
    )
    if clocks is not None:
        return verdict("time.clocks", details=details)
    part = kind_of(leading.name)
    return verdict("time.slower" if part == "total" else f"time.{part}_slower", details=details)
