"""Which runs are evidence about time, and what the machine's pace explains of them."""

from __future__ import annotations

import dataclasses
import datetime
import math
import statistics
from typing import TYPE_CHECKING

from pytest_diffbench.judge.definition import environment_changes
from pytest_diffbench.judge.time.figures import (
    TOTAL,
    computing_share,
    net_share,
    paces_s,
    share_of_log,
    times_of,
    waiting_share,
)
from pytest_diffbench.judge.time.spread import Experience
from pytest_diffbench.records import MOST_FIRST_TIMES, FirstTime
from pytest_diffbench.records.details import Doubt
from pytest_diffbench.stats.variance import Variance, drift_rel, interquartile_rel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.records import Environment, Run


@dataclasses.dataclass(frozen=True, slots=True)
class Pace:
    """How long a machine takes for reference work, against how long it usually takes.

    Attributes:
        usual: whether it keeps its usual pace, as far as that moves the time.
        low_log: what it explains of a case's change at most, to be taken off before the case is called slower.
        high_log: what it explains at least, to be taken off before the case is called faster.
        middle_log: mean over the kinds of work, for a person.
    """

    usual: bool
    low_log: float
    high_log: float
    middle_log: float


def pace_of(changes_log: Sequence[float], limits: Limits, share: float = 1.0) -> Pace:
    """Sum up how reference work changed, and what that explains of a time.

    At its usual pace a machine moves each case as it moves the reference work. Off it, cases may move further, by
    `Limits.machine_explains`, or not at all.

    Args:
        changes_log: logarithms of the time of each kind of work over its usual one; at least one.
        limits: thresholds.
        share: of the time that the processor computed; waiting isn't moved by its pace.
    """
    middle_log = math.fsum(changes_log) / len(changes_log)
    off_log = math.log1p(limits.machine_rel)
    moved_log = share_of_log(middle_log, share)
    most, least = (share_of_log(change_log, share) for change_log in (max(changes_log), min(changes_log)))
    if abs(moved_log) <= off_log and max(most, -least) <= 2 * off_log:
        return Pace(True, moved_log, moved_log, middle_log)
    most, least = (
        share_of_log(limits.machine_explains * change_log, share)
        for change_log in (max(changes_log), min(changes_log))
    )
    return Pace(False, max(0.0, most), min(0.0, least), middle_log)


def unknown_pace(past_runs: int, limits: Limits) -> Pace:
    """What a machine may have done whose pace nobody knows."""
    allowed_log = math.log1p(limits.machine_unknown_rel) if past_runs < limits.machine_known_runs else 0.0
    return Pace(True, allowed_log, -allowed_log, 0.0)


def experience_of(limits: Limits, family: str, *, part: bool = False) -> Experience:
    """What is known of a kind of device before a run was recorded; parts of a call spread by more than the whole."""
    on_cpu = family == "cpu"
    wider = limits.time_part_spread if part else 1.0
    day_rel = limits.time_day_spread_cpu_rel if on_cpu else limits.time_day_spread_rel
    run_rel = limits.time_run_spread_cpu_rel if on_cpu else limits.time_run_spread_rel
    return Experience(
        between=Variance((wider * day_rel) ** 2, limits.time_expected_dof),
        within=Variance((wider * run_rel) ** 2, limits.time_expected_dof),
        least_log=limits.time_spread_cpu_rel if on_cpu else limits.time_spread_rel,
        most_dof=limits.time_prior_max_dof,
    )


def doubts(run: Run, limits: Limits, *, alone: bool = True) -> Doubt | None:
    """What speaks against a run's time, whatever it is compared with; None when nothing does.

    One that stands `alone` has to have steady rounds by itself.
    """
    if not is_valid(run):
        return Doubt(kind="invalid")
    if _parallel(run):
        return Doubt(kind="parallel", workers=int(run.environment.state["xdist_workers"] or 0))
    if traced_by := run.environment.state.get("traced_by"):
        return Doubt(kind="traced", names=(str(traced_by),))
    if alone and (doubt := unsteady(run, limits)) is not None:
        return doubt
    unattributed_s = run.stage_medians_s.get("unattributed")
    if unattributed_s is not None and len(run.stage_medians_s) > 1:
        allowed_s = max(limits.unattributed_rel * run.median_s, limits.unattributed_floor_s)
        if unattributed_s > allowed_s:
            return Doubt(kind="unattributed", seconds=(unattributed_s, run.median_s, allowed_s))
    return None


def reason_of_doubt(doubt: Doubt) -> str:
    """The reason code of a verdict that a doubt decides."""
    unsteady_kinds = ("warmup", "spread", "drift", "throttled")
    return "time.unsteady" if doubt.kind in unsteady_kinds else f"time.{doubt.kind}"


def unsteady(run: Run, limits: Limits) -> Doubt | None:
    """Why a run's rounds aren't steady, waiting for a processor left aside; None where they are."""
    times_s = [timed.total_s * net_share(run, timed) for timed in run.rounds]
    if run.warmup is not None and not run.warmup.steady:
        names = (run.warmup.doubt,) if run.warmup.doubt else ()
        return Doubt(kind="warmup", rounds=(run.warmup.rounds, run.warmup.rounds), names=names)
    spread, drift = interquartile_rel(times_s), drift_rel(times_s)
    # Below the practical floor a spread is the interpreter's, however large its share of a tiny call.
    floor_rel = limits.time_floor_s / run.median_s
    if spread is not None and spread > max(limits.unsteady_rel, floor_rel):
        return Doubt(kind="spread", found_rel=spread, allowed_rel=limits.unsteady_rel)
    if drift is not None and abs(math.log1p(drift)) > math.log1p(max(limits.drift_rel, floor_rel)):
        return Doubt(kind="drift", found_rel=drift, allowed_rel=limits.drift_rel)
    return None


def crowded_rel(run: Run, limits: Limits) -> float:
    """Share of a run that its threads waited for a processor, 0 where it is no more than a machine's background."""
    share = waiting_share(run)
    # below the practical floor, waiting is the reading's own
    least_rel = limits.time_floor_s / run.median_s if is_valid(run) else 0.0
    return share if share > max(limits.machine_crowded_rel, least_rel) else 0.0


def is_valid(run: Run) -> bool:
    """Whether a run has rounds, all of them with a finite time above 0."""
    return bool(run.rounds) and all(math.isfinite(total_s) and total_s > 0 for total_s in run.totals_s)


def _parallel(run: Run) -> bool:
    workers = run.environment.state.get("xdist_workers")
    return isinstance(workers, int) and workers > 1


def comparable(runs: Iterable[Run], environment: Environment) -> list[Run]:
    """Runs whose times may be compared with those of an environment."""
    return [run for run in runs if environment_changes(run.environment, environment) is None]


def sound(runs: Iterable[Run]) -> list[Run]:
    """Runs that may be a baseline: with times that are times, measured alone."""
    return [
        run for run in runs if is_valid(run) and not _parallel(run) and not run.environment.state.get("traced_by")
    ]


def usual_paces_s(runs: Iterable[Run]) -> dict[str, float]:
    """Median time of each kind of reference work over runs that have it."""
    paces_by_name_s: dict[str, list[float]] = {}
    for run in runs:
        for name, pace_s in paces_s(run).items():
            paces_by_name_s.setdefault(name, []).append(pace_s)
    return {name: statistics.median(values) for name, values in paces_by_name_s.items()}


def pace_against(run: Run, usual_s: Mapping[str, float], limits: Limits, time_s: float | None = None) -> Pace | None:
    """A run's pace against the usual one, as far as it moves a time of the run; None where nothing of both is known.

    `time_s` is the median of the whole by default.
    """
    changes_log = pace_changes_log(run, usual_s)
    if not changes_log:
        return None
    return pace_of(changes_log, limits, computing_share(run, run.median_s if time_s is None else time_s))


def pace_changes_log(run: Run, usual_s: Mapping[str, float]) -> list[float]:
    """Logarithm of the time of each kind of reference work over its usual one, where it is known of both."""
    return [math.log(pace_s / usual_s[name]) for name, pace_s in paces_s(run).items() if name in usual_s]


def alike(runs: list[Run], limits: Limits) -> list[Run]:
    """Leave out past runs that the machine's pace sets apart.

    The choice looks at the pace only, never at the case's own times, so it doesn't flatter their spread. Where none
    is left, all are.
    """
    usual_s = usual_paces_s(runs)
    kept = [run for run in runs if (pace := pace_against(run, usual_s, limits)) is None or pace.usual]
    return kept or runs


def days_of(started: Sequence[str]) -> list[int]:
    """Number the days on which runs began (ISO 8601): runs that follow each other closely share one.

    A day ends where nothing was begun for `_QUIET_S`, or after `_LONGEST_DAY_S`. Runs without a time that can be read
    have a day of their own, -1.
    """
    moments = [_moment_s(start) for start in started]
    days = [-1] * len(started)
    day, begin_s, last_s = 0, None, None
    for moment_s, n in sorted((moment_s, n) for n, moment_s in enumerate(moments) if moment_s is not None):
        if last_s is not None and (moment_s - last_s > _QUIET_S or moment_s - (begin_s or 0) > _LONGEST_DAY_S):
            day += 1
            begin_s = moment_s
        begin_s = moment_s if begin_s is None else begin_s
        last_s = moment_s
        days[n] = day
    return days


_QUIET_S = 3 * 3600.0
_LONGEST_DAY_S = 12 * 3600.0


def _moment_s(started: str) -> float | None:
    try:
        moment = datetime.datetime.fromisoformat(started)
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or datetime.UTC).timestamp()


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


_SCORE = 3.0
"""Deviations of the noise that a creep has to exceed before anything is said."""


def first_time(run: Run) -> FirstTime | None:
    """What is kept of one of the first runs; None for one without times."""
    if not run.rounds:
        return None
    median_s = times_of([run], net=True)[TOTAL][0]
    return FirstTime(median_s=median_s, pace_s=paces_s(run), computing_rel=computing_share(run, median_s))


def creep_rel(first: Sequence[FirstTime], latest: Sequence[Run], limits: Limits, family: str) -> float | None:
    """How much longer the latest runs take than the first ones; None where that isn't beyond noise and floor.

    `latest` holds all timed runs since, oldest first, of which the last few count.
    """
    runs = [time for run in latest[-MOST_FIRST_TIMES:] if (time := first_time(run)) is not None]
    if not first or len(latest) < len(first) + len(runs):
        return None
    kinds = set.intersection(*(set(time.pace_s) for time in (*first, *runs)))
    usual_log = statistics.median(_pace_log(time, kinds) for time in first)
    before_log, after_log = (
        statistics.median(
            math.log(time.median_s) - share_of_log(_pace_log(time, kinds) - usual_log, time.computing_rel)
            for time in times
        )
        for times in (first, runs)
    )
    change_log = after_log - before_log
    noise_log = experience_of(limits, family).between.deviation * math.sqrt(1 / len(first) + 1 / len(runs))
    before_s = statistics.median(time.median_s for time in first)
    if change_log <= max(_SCORE * noise_log, math.log1p(total_floor_rel(limits, family, before_s))):
        return None
    return math.expm1(change_log)


def _pace_log(time: FirstTime, kinds: set[str]) -> float:
    """Mean logarithm of the reference work that all sides know; 0 where there is none."""
    return math.fsum(math.log(time.pace_s[kind]) for kind in kinds) / len(kinds) if kinds else 0.0
