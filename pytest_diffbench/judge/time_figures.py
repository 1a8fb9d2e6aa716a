"""Which times of a run are judged: the total, each stage, and the steps in up to four groups of neighbours."""

from __future__ import annotations

import itertools
import math
import statistics
from typing import TYPE_CHECKING

from pytest_diffbench.judge.text import step_list
from pytest_diffbench.records import STAGES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_diffbench.records import Run

TOTAL = "total"
_GROUPS = 4
"""Quarters: a step alone is noisy, and half of the steps hide a truncation that ends a little later."""


def times_of(runs: Sequence[Run]) -> dict[str, list[float]]:
    """Times that all runs have, in seconds.

    Returns:
        By `total`, the name of the stage or `steps:0` for the first group of steps, one figure a run: the median
        over its rounds, or the sum of the medians of its steps. What any run lacks or takes no time for is left out,
        as is `unattributed`, which the total holds.
    """
    times = {TOTAL: [run.median_s for run in runs]}
    medians = [run.stage_medians_s for run in runs]
    for stage in STAGES:
        if stage != "unattributed" and all(stage in one for one in medians):
            times[stage] = [one[stage] for one in medians]
    steps = [run.step_medians_s for run in runs]
    if steps and len({len(one) for one in steps}) == 1:
        for n, (begin, end) in enumerate(_groups(len(steps[0]))):
            times[f"steps:{n}"] = [math.fsum(one[begin:end]) for one in steps]
    return {
        name: values for name, values in times.items() if all(math.isfinite(value) and value > 0 for value in values)
    }


def label(name: str, steps: int) -> str:
    """The name of a time for a person: `steps 0-7` for the first group of 30 steps."""
    if not name.startswith("steps:"):
        return name
    begin, end = _groups(steps)[int(name.partition(":")[2])]
    return step_list(f"{begin}-{end - 1}" if end - begin > 1 else f"{begin}")


def _groups(steps: int) -> list[tuple[int, int]]:
    """Half-open ranges of nearly equal length; a single step is the whole of the stage."""
    count = min(_GROUPS, steps) if steps > 1 else 0
    edges = [round(n * steps / count) for n in range(count + 1)] if count else []
    return list(itertools.pairwise(edges))


def calibration_s(run: Run) -> float | None:
    """Median time of the fixed work, None where it wasn't timed or isn't a time."""
    times_s = run.calibration_s
    if not times_s or not all(math.isfinite(one) and one > 0 for one in times_s):
        return None
    return statistics.median(times_s)


def logs(times: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Logarithms of times, by their names."""
    return {name: [math.log(one) for one in values] for name, values in times.items()}
