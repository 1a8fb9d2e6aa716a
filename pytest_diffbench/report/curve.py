"""Draws in one line how far two traces of a call are apart, step by step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_diffbench.judge.trace.entries import place_of
from pytest_diffbench.report.figures import output_details
from pytest_diffbench.report.lines import BARS
from pytest_diffbench.report.units import format_distance

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_diffbench.records import Verdict
    from pytest_diffbench.records.details import TraceDetails

_MOST_BARS = 50
"""Bars that fit on a line of 80 columns, indented; with more steps a bar stands for several."""


def curve(verdict: Verdict) -> str | None:
    """Draw the distance of predictions and latents from the baseline's, on a logarithmic scale.

    Returns:
        `distance ▁▁▄▅▇█ 0 % to 35 %, steps 0-5, log scale`, the greatest distance within each step; None where
        the verdict's details hold no trace, or no step of it is beyond their threshold.
    """
    details = output_details(verdict)
    if details is None or details.trace is None:
        return None
    gaps_rel = _gaps_by_step(details.trace)
    limit_rel = details.trace.threshold_rel or 0.0
    if not any(gap_rel > limit_rel for gap_rel in gaps_rel.values()):
        return None
    steps = sorted(gaps_rel)
    steps_per_bar = math.ceil(len(steps) / _MOST_BARS)
    shown = [
        max(gaps_rel[step] for step in steps[at : at + steps_per_bar]) for at in range(0, len(steps), steps_per_bar)
    ]
    least, most = min(gaps_rel.values()), max(gaps_rel.values())
    extent = format_distance(least) if least == most else f"{format_distance(least)} to {format_distance(most)}"
    where = f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]}-{steps[-1]}"
    several = f", {steps_per_bar} steps a bar" if steps_per_bar > 1 else ""
    return f"distance {_bars(shown)} {extent}, {where}{several}, log scale"


def _gaps_by_step(trace: TraceDetails) -> dict[int, float]:
    """The greatest distance of each step; what can't be compared is infinitely far."""
    gaps_rel: dict[int, float] = {}
    for name, gap_rel in trace.series:
        place = place_of(name)
        if place is not None and place.kind in ("prediction", "latents"):
            distance_rel = math.inf if gap_rel is None else gap_rel
            gaps_rel[place.step] = max(distance_rel, gaps_rel.get(place.step, 0.0))
    return gaps_rel


def _bars(gaps_rel: Iterable[float]) -> str:
    """A bar for each distance: the lowest is none at all, the highest the greatest or an infinite one."""
    gaps_rel = list(gaps_rel)
    logs = [math.log(gap_rel) for gap_rel in gaps_rel if 0 < gap_rel < math.inf]
    low, high = min(logs, default=0.0), max(logs, default=0.0)
    top = len(BARS) - 1

    def bar(gap_rel: float) -> str:
        if gap_rel <= 0:
            return BARS[0]
        if math.isinf(gap_rel) or high == low:
            return BARS[top]
        return BARS[1 + round((top - 1) * (math.log(gap_rel) - low) / (high - low))]

    return "".join(map(bar, gaps_rel))
