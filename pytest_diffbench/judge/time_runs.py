"""Which runs are evidence about time: what speaks against a run, and which runs the machine's pace sets apart."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from pytest_diffbench.judge.statistics import drift_rel, interquartile_rel
from pytest_diffbench.judge.text import percent, plural, seconds
from pytest_diffbench.judge.time_figures import TOTAL, calibration_s

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.records import Run


def doubts(run: Run, limits: Limits, *, alone: bool = True) -> tuple[str, str] | None:
    """Tell why a run's time can't be trusted, whatever it is compared with.

    Args:
        run: one.
        limits: thresholds.
        alone: whether its rounds have to be steady by themselves.

    Returns:
        A reason code and a message; None when nothing speaks against the run.
    """
    if not is_valid(run):
        return INVALID
    if _parallel(run):
        workers = run.environment.state["xdist_workers"]
        return "time.parallel", f"{workers} test processes ran at once and slowed each other down."
    if traced_by := run.environment.state.get("traced_by"):
        return (
            "time.traced",
            f"The call was traced by {traced_by}, whose time is part of what was measured: time it without.",
        )
    unsteady = _unsteady(run, limits) if alone else None
    if unsteady is not None:
        return "time.unsteady", unsteady
    unattributed_s = run.stage_medians_s.get("unattributed")
    if unattributed_s is not None and len(run.stage_medians_s) > 1:
        allowed_s = max(limits.unattributed_rel * run.median_s, limits.unattributed_floor_s)
        if unattributed_s > allowed_s:
            message = (
                f"{seconds(unattributed_s)} of {seconds(run.median_s)} lie outside all stages,"
                f" {seconds(allowed_s)} allowed."
            )
            return "time.unattributed", message
    return None


def _unsteady(run: Run, limits: Limits) -> str | None:
    times_s = run.totals_s
    if run.warmup is not None and not run.warmup.steady:
        why = f": {run.warmup.doubt}" if run.warmup.doubt else ""
        return f"The rounds weren't steady after {plural(run.warmup.rounds, 'round')} of warm-up{why}."
    spread, drift = interquartile_rel(times_s), drift_rel(times_s)
    # Below the practical floor a spread is the interpreter's, however large its share of a tiny call.
    floor_rel = limits.time_floor_s / run.median_s
    if spread is not None and spread > max(limits.unsteady_rel, floor_rel):
        return (
            f"The rounds never were steady: interquartile range {100 * spread:.0f} % of the median,"
            f" {100 * limits.unsteady_rel:g} % allowed."
        )
    if drift is not None and abs(math.log1p(drift)) > math.log1p(max(limits.drift_rel, floor_rel)):
        return (
            f"The rounds drifted by {percent(drift)} from the first third to the last,"
            f" {100 * limits.drift_rel:g} % allowed."
        )
    return None


INVALID = ("time.invalid", "A round's time is missing, zero, negative or not finite.")


def is_valid(run: Run) -> bool:
    """Whether a run has rounds, all of them with a finite time above 0."""
    return bool(run.rounds) and all(math.isfinite(total_s) and total_s > 0 for total_s in run.totals_s)


def _parallel(run: Run) -> bool:
    workers = run.environment.state.get("xdist_workers")
    return isinstance(workers, int) and workers > 1


def sound(runs: Iterable[Run]) -> list[Run]:
    """Runs that may be a baseline: with times that are times, measured alone."""
    return [
        run for run in runs if is_valid(run) and not _parallel(run) and not run.environment.state.get("traced_by")
    ]


def alike(runs: list[Run], limits: Limits) -> list[Run]:
    """Leave out past runs that the machine's pace sets apart, by the rule that a new run has to pass too.

    The choice looks at the calibration only, never at the case's own times, so it doesn't flatter their spread.
    """
    paces_s = [pace_s for run in runs if (pace_s := calibration_s(run)) is not None]
    if not paces_s:
        return runs
    usual_s = statistics.median(paces_s)
    return [run for run in runs if (pace_s := calibration_s(run)) is None or not _off(pace_s / usual_s, limits)]


def _off(machine_ratio: float, limits: Limits) -> bool:
    """Whether a machine's pace moved by more than the limit, either way."""
    return abs(math.log(machine_ratio)) > math.log1p(limits.machine_rel)


def on_pace(now: list[Run], past: list[Run], limits: Limits) -> tuple[list[Run], float | None]:
    """Runs of this session at the machine's usual pace, and its pace over them, or over all where none is.

    The pace is None where too few runs were calibrated, and nothing is left out then.
    """
    paces_s = [pace_s for run in past if (pace_s := calibration_s(run)) is not None]
    mine = [pace_s for run in now if (pace_s := calibration_s(run)) is not None]
    if len(paces_s) < limits.time_min_runs or len(mine) < len(now):
        return now, None
    usual_s = statistics.median(paces_s)
    ratios = [pace_s / usual_s for pace_s in mine]
    paced = [run for run, ratio in zip(now, ratios, strict=True) if not _off(ratio, limits)]
    kept = [ratio for ratio in ratios if not _off(ratio, limits)]
    return paced, statistics.median(kept or ratios)


def total_floor_rel(limits: Limits, family: str, base_s: float) -> float:
    """The smallest change of a total that is worth a red test: a share, or so many milliseconds of it."""
    return max(_total_share(limits, family), limits.time_floor_s / base_s)


def _total_share(limits: Limits, family: str) -> float:
    return limits.time_floor_cpu_rel if family == "cpu" else limits.time_floor_rel


def floors_of(limits: Limits, family: str, names: Iterable[str], base_s: Mapping[str, float]) -> dict[str, float]:
    """The smallest change that is worth a red test, as a logarithm, of the total and of each part."""
    # whoever widens the floor of the whole doesn't want its parts held closer
    part_rel = max(
        _total_share(limits, family),
        limits.time_part_floor_cpu_rel if family == "cpu" else limits.time_part_floor_rel,
    )
    floors = {}
    for name in names:
        if name == TOTAL:
            floors[name] = math.log1p(total_floor_rel(limits, family, base_s[name]))
            continue
        least_s = max(limits.time_floor_s, limits.time_part_total_rel * base_s[TOTAL])
        floors[name] = math.log1p(max(part_rel, least_s / base_s[name]))
    return floors
