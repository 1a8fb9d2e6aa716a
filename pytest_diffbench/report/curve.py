"""Draws in one line how far two traces of a call are apart, step by step."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from pytest_diffbench.report.figures import figure_of
from pytest_diffbench.report.lines import BARS
from pytest_diffbench.report.units import format_percent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_diffbench.records import Verdict

_MOST_BARS = 50
"""Bars that fit on a line of 80 columns, indented; with more steps a bar stands for several."""

_STEP = re.compile(r"(?:latents|prediction)/(\d+)(?:/.*)?")


def curve(verdict: Verdict) -> str | None:
    """Draw the distance of predictions and latents from the baseline's, on a logarithmic scale.

    Returns:
        `distance ▁▁▄▅▇█ 0 % to 35 %, steps 0-5, log scale`, the greatest distance within each step; None where
        the verdict's details hold no trace, or no step of it is beyond their threshold.
    """
    trace = figure_of(verdict, "trace")
    if not isinstance(trace, dict):
        return None
    gaps_rel = _gaps_by_step(trace.get("series"))
    threshold_rel = trace.get("threshold_rel")
    limit_rel = threshold_rel if isinstance(threshold_rel, int | float) else 0.0
    if not any(gap_rel > limit_rel for gap_rel in gaps_rel.values()):
        return None
    steps = sorted(gaps_rel)
    each = math.ceil(len(steps) / _MOST_BARS)
    shown = [max(gaps_rel[step] for step in steps[at : at + each]) for at in range(0, len(steps), each)]
    least, most = min(gaps_rel.values()), max(gaps_rel.values())
    extent = _share(least) if least == most else f"{_share(least)} to {_share(most)}"
    where = f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]}-{steps[-1]}"
    several = f", {each} steps a bar" if each > 1 else ""
    return f"distance {_bars(shown)} {extent}, {where}{several}, log scale"


def _gaps_by_step(series: Any) -> dict[int, float]:
    """The greatest distance of each step; what can't be compared is infinitely far."""
    gaps_rel: dict[int, float] = {}
    for pair in series if isinstance(series, list | tuple) else ():
        if not (isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str)):
            continue
        found = _STEP.fullmatch(pair[0])
        if found is not None and (pair[1] is None or isinstance(pair[1], int | float)):
            step, gap_rel = int(found[1]), math.inf if pair[1] is None else float(pair[1])
            gaps_rel[step] = max(gap_rel, gaps_rel.get(step, 0.0))
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


def _share(gap_rel: float) -> str:
    if math.isinf(gap_rel):
        return "not comparable"
    # Below what two digits show, the power of ten is what matters.
    return f"{100 * gap_rel:.0e} %" if 0 < gap_rel < 1e-4 else format_percent(gap_rel)
