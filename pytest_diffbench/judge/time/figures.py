"""Which times of a run are judged: the total, each stage, and the steps in up to four groups of neighbours."""

from __future__ import annotations

import itertools
import math
import statistics
from typing import TYPE_CHECKING, Literal

from pytest_diffbench.records import STAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.records import Round, Run

TOTAL = "total"
_GROUPS = 4
"""Quarters: a step alone is noisy, and half of the steps hide a truncation that ends a little later."""


MEDIAN = 0.5


def times_of(
    runs: Sequence[Run], *, net: bool = False, quantiles: Sequence[float] | None = None
) -> dict[str, list[float]]:
    """Times that all runs have, in seconds.

    Args:
        runs: any.
        net: without what the threads of each round waited for a processor.
        quantiles: of the rounds of each run that stands for it; the median by default.

    Returns:
        By `total`, the name of the stage or `steps:0` for the first group of steps, one figure a run: the quantile
        over its rounds, or the sum of those of its steps. What any run lacks or takes no time for is left out, as is
        `unattributed`, which the total holds.
    """
    picked = list(zip(runs, quantiles or (MEDIAN,) * len(runs), strict=True))
    shares = [[net_share(run, timed) if net else 1.0 for timed in run.rounds] for run in runs]
    times = {TOTAL: [_at(run.totals_s, share, at) for (run, at), share in zip(picked, shares, strict=True)]}
    for stage in STAGES:
        if stage != "unattributed" and all(stage in timed.stages_s for run in runs for timed in run.rounds):
            times[stage] = [
                _at([timed.stages_s[stage] for timed in run.rounds], share, at)
                for (run, at), share in zip(picked, shares, strict=True)
            ]
    counts = {len(timed.steps_s) for run in runs for timed in run.rounds}
    if len(counts) == 1:
        steps = [
            [_at(times_s, share, at) for times_s in zip(*(timed.steps_s for timed in run.rounds), strict=True)]
            for (run, at), share in zip(picked, shares, strict=True)
        ]
        for n, (begin, end) in enumerate(_groups(counts.pop())):
            times[f"steps:{n}"] = [math.fsum(step[begin:end]) for step in steps]
    return {
        name: values for name, values in times.items() if all(math.isfinite(value) and value > 0 for value in values)
    }


def _at(times_s: Sequence[float], shares: Sequence[float], at: float) -> float:
    """A quantile of the rounds' times, each multiplied by its share."""
    values = [time_s * share for time_s, share in zip(times_s, shares, strict=True)]
    if at == MEDIAN:
        return statistics.median(values)
    if len(values) < _FEWEST_FOR_QUARTILES:
        return min(values) if at < MEDIAN else max(values)
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low if at < MEDIAN else high


_FEWEST_FOR_QUARTILES = 4
_LEAST_SHARE = 0.05
"""Threads that wait at the same time wait for longer than the clock, so that nothing might be left."""


def _threads(run: Run) -> int:
    threads = run.environment.settings.get("threads")
    return threads if isinstance(threads, int) and threads > 0 else 1


def net_share(run: Run, timed: Round) -> float:
    """What is left of a round without the time that its threads were ready to run and had no processor.

    1 where that wasn't counted, or where a device does the work. Threads that wait at the same time wait for longer
    than the clock, so it may be less than would have been left: a bound, never less than the processor time of one.
    """
    telemetry = timed.telemetry
    if telemetry is None or not telemetry.waited_s or run.environment.family != "cpu" or not timed.total_s > 0:
        return 1.0
    busy_s = (telemetry.cpu_s or 0.0) / _threads(run)
    return min(1.0, max(timed.total_s - telemetry.waited_s, busy_s, _LEAST_SHARE * timed.total_s) / timed.total_s)


def waiting_share(run: Run) -> float:
    """Share of a run that each of its threads waited for a processor, in the middle of its rounds; 0 if unknown."""
    if run.environment.family != "cpu":
        return 0.0
    shares = [
        timed.telemetry.waited_s / timed.total_s / _threads(run)
        for timed in run.rounds
        if timed.telemetry is not None and timed.telemetry.waited_s is not None and timed.total_s > 0
    ]
    return min(1.0, statistics.median(shares)) if shares else 0.0


def computed_s(run: Run) -> float | None:
    """Processor time of a run's rounds, their median, child processes included.

    None where it isn't known, or where a device does the work.
    """
    times_s = [
        timed.telemetry.cpu_s + timed.telemetry.children_cpu_s
        for timed in run.rounds
        if timed.telemetry is not None
        and timed.telemetry.cpu_s is not None
        and timed.telemetry.children_cpu_s is not None
    ]
    if run.environment.family != "cpu" or not times_s or len(times_s) < len(run.rounds):
        return None
    return statistics.median(times_s)


def computing_share(run: Run, time_s: float) -> float:
    """The most of a time of a run that was computed, and not waited: what the processor's pace can move.

    1 where it isn't known. `time_s` is the whole, or of a part, for which all that was computed may be. What was
    computed counts twice: time that a hypervisor takes away is nobody's, and looks like waiting.
    """
    processor_s = computed_s(run)
    return 1.0 if processor_s is None else min(1.0, _STOLEN * processor_s / time_s)


_STOLEN = 2.0
"""A machine that gives a process less than half of a processor isn't measured on."""


def share_of_log(change_log: float, share: float) -> float:
    """Change of a whole, as a logarithm, of which a share changes and the rest stays."""
    return change_log if share >= 1 else math.log1p(share * math.expm1(change_log))


def kind_of(name: str) -> Literal["total", "stage", "step"]:
    """What a name of `times_of` stands for."""
    return "total" if name == TOTAL else "step" if name.startswith("steps:") else "stage"


def label(name: str, steps: int) -> str:
    """The name of a time: `steps 0-7` for the first group of 30 steps."""
    if kind_of(name) != "step":
        return name
    begin, end = _groups(steps)[int(name.partition(":")[2])]
    return f"steps {begin}-{end - 1}" if end - begin > 1 else f"step {begin}"


def _groups(steps: int) -> list[tuple[int, int]]:
    """Half-open ranges of nearly equal length; a single step is the whole of the stage."""
    count = min(_GROUPS, steps) if steps > 1 else 0
    edges = [round(n * steps / count) for n in range(count + 1)] if count else []
    return list(itertools.pairwise(edges))


def paces_s(run: Run) -> dict[str, float]:
    """Median time of each kind of reference work, in seconds; empty where none was timed, or one isn't a time."""
    kinds = run.pace_s or ({"calibration": run.calibration_s} if run.calibration_s else {})
    if not all(
        times_s and all(math.isfinite(time_s_s) and time_s_s > 0 for time_s_s in times_s)
        for times_s in kinds.values()
    ):
        return {}
    return {name: statistics.median(times_s) for name, times_s in kinds.items()}
