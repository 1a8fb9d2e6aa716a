"""Since when a figure is another one: steps and drifts of the series of a history."""

from __future__ import annotations

import itertools
import json
import math
import operator
import statistics
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from pytest_diffbench.records.case import is_changed
from pytest_diffbench.records.history import NO_DIFFERENCE_DB, PACES, TIMES, TOTAL_BY_PACE, Series, Trend
from pytest_diffbench.stats import changepoints

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FALSE_ALARMS = 0.5
"""False alarms that noise may raise in `NIGHTS` nights, over all series together."""

NIGHTS = 30

LEAST_SERIES = 20
"""Series that share the false alarms where there are fewer: a history of one case isn't to raise all of them."""

LEAST_POOL = 5
"""Cases of a model whose times are looked at together."""

_FLOORS = ((TIMES, 0.01), ("memory.", 0.005), ("work.", 1e-9))
"""Smallest relative change that counts, by what the name of the figure begins with; others are absolute."""

_FLOOR_ABSOLUTE = 0.5
"""Smallest change of a distance that counts: decibels, levels of 255."""

_FLOOR_DRIFT_REL = 0.02
_FACTS = ("started", "commits", "software")
_QUANTILE = 1.96


def trends(series: Sequence[Series], *, beside: int = 0, newest_only: bool = False) -> list[Trend]:
    """Steps and drifts of all series, and of times of all cases of a model together, the newest first.

    Args:
        series: of a history. Times are looked at by the machine's pace, where that is known.
        beside: number of further series with noise in the history, which share the false alarms.
        newest_only: of a series the last step alone.
    """
    paced = by_pace(series)
    of_models = pooled(paced)
    alphas = alpha_of(sum(is_noisy(item.figure) for item in paced) + beside), alpha_of(len(of_models))
    moving = [
        (item, alpha)
        for items, alpha in zip((paced, of_models), alphas, strict=True)
        for item in _moving(items, alpha)
    ]
    result: list[Trend] = []
    for item, alpha in moving:
        numbers, floor = _scaled(item), _floor(item)
        values = changepoints.Values(numbers)
        steps = values.changes(alpha, floor)
        result += [_step(item, numbers, step, steps) for step in (steps[-1:] if newest_only else steps)]
        drift = values.drift(alpha, max(floor, _FLOOR_DRIFT_REL if _is_relative(item) else 0.0))
        if drift is not None and len(steps) != 1:  # one step alone is no drift
            result.append(_drift(item, numbers, drift))
    return sorted(result, key=lambda trend: (trend.since, not trend.worse, -abs(trend.change)), reverse=True)


def _moving(series: Sequence[Series], alpha: float) -> list[Series]:
    """Those that may have steps or drifts; most have none, and are seen through together."""
    by_length: dict[int, list[int]] = {}
    for place, item in enumerate(series):
        by_length.setdefault(len(item.values), []).append(place)
    kept: list[int] = []
    for places in by_length.values():
        rows = np.array([series[place].values for place in places])
        relative = np.array([_is_relative(series[place]) for place in places])
        rows = np.where(
            relative[:, None], np.log(np.where(relative[:, None], rows, 1.0)), np.minimum(rows, NO_DIFFERENCE_DB)
        )
        moves = (rows.min(axis=1) != rows.max(axis=1)) & changepoints.may_move(rows, alpha)
        kept += [place for place, moved in zip(places, moves, strict=True) if moved]
    return [series[place] for place in sorted(kept)]


def alpha_of(count: int) -> float:
    """The probability by chance below which a change counts.

    Args:
        count: of noisy series of a kind: single cases, or models. Each kind has half of the false alarms, and of that
            steps and drifts have one half each.
    """
    return FALSE_ALARMS / NIGHTS / max(count, LEAST_SERIES) / 4


def is_noisy(figure: str) -> bool:
    """Whether a figure varies from run to run of one code, by its name."""
    return figure.startswith((TIMES, "memory.")) and figure != TOTAL_BY_PACE


def by_pace(series: Sequence[Series]) -> list[Series]:
    """The series without those of the machine's pace, times divided by it, so that they are those of a usual night.

    A busy or throttled machine slows all that it does. Where a run's pace isn't known, its time stays as it is.
    """
    paces: dict[tuple[str, str], dict[str, list[float]]] = {}
    for item in series:
        if item.figure.startswith(PACES):
            middle = statistics.median_low(item.values)
            kept = paces.setdefault((item.case, item.machine), {})
            for started, value in zip(item.started, item.values, strict=True):
                kept.setdefault(started, []).append(math.log(value / middle))
    usual = {
        case: {started: math.exp(math.fsum(logs) / len(logs)) for started, logs in kept.items()}
        for case, kept in paces.items()
    }
    result = []
    # Times of a case were mostly measured in the same runs.
    divisors: dict[tuple[str, str, tuple[str, ...]], list[float]] = {}
    for item in series:
        if item.figure.startswith(PACES) or item.figure == TOTAL_BY_PACE:
            continue
        known = usual.get((item.case, item.machine))
        if known and item.figure.startswith(TIMES):
            key = item.case, item.machine, item.started
            if key not in divisors:
                divisors[key] = [known.get(started, 1.0) for started in item.started]
            values = tuple(map(operator.truediv, item.values, divisors[key]))
            result.append(msgspec.structs.replace(item, values=values))
        else:
            result.append(item)
    return result


def pooled(series: Iterable[Series]) -> list[Series]:
    """Times of all cases of a model on a machine, as one series of what they have in common.

    A night's value is the median over the cases of each one's time over its own median, so a change that all of them
    have stands out of the noise that each has for itself.
    """
    groups: dict[tuple[str, str, str], list[Series]] = {}
    for item in series:
        if item.figure.startswith(TIMES) and len(item.values) >= changepoints.LEAST_BEFORE:
            groups.setdefault((item.model, item.machine, item.figure), []).append(item)
    groups = {key: members for key, members in groups.items() if len({item.case for item in members}) >= LEAST_POOL}
    runs = {item.started for members in groups.values() for item in members}
    nights = sorted({started[:10] for run in runs for started in run})
    number = {night: place for place, night in enumerate(nights)}
    nights_of = {run: [number[started[:10]] for started in run] for run in runs}
    result = []
    for (model, machine, figure), members in groups.items():
        own = [(np.array(item.values), statistics.median(item.values)) for item in members]
        values = np.concatenate([numbers / middle if middle > 0 else 0 * numbers for numbers, middle in own])
        places = np.concatenate([nights_of[item.started] for item in members])
        known = np.flatnonzero(values > 0)
        values, places = values[known], places[known]
        counts = np.bincount(places, minlength=len(nights))
        kept = np.flatnonzero(2 * counts >= len(members))
        ranked = values[np.lexsort((values, places))]
        begin = (np.cumsum(counts) - counts)[kept]
        medians = (ranked[begin + (counts[kept] - 1) // 2] + ranked[begin + counts[kept] // 2]) / 2
        newest = np.zeros(len(nights), dtype=np.int64)
        np.maximum.at(newest, places, known)
        facts = [tuple(itertools.chain.from_iterable(getattr(item, name) for item in members)) for name in _FACTS]
        started, commits, software = (tuple(fact[place] for place in newest[kept].tolist()) for fact in facts)
        result.append(
            Series(
                case="",
                machine=machine,
                figure=figure,
                model=model,
                started=started,
                commits=commits,
                software=software,
                saved=("",) * len(kept),
                values=tuple(medians.tolist()),
                cases=len(members),
            )
        )
    return result


def is_worse(figure: str, change: float) -> bool:
    """Whether a figure moved to its bad side: longer, larger, more, or less alike."""
    higher_is_better = figure.endswith(("psnr_db", "ssim"))
    return change < 0 if higher_is_better else change > 0


def _is_relative(series: Series) -> bool:
    return series.figure.startswith(tuple(prefix for prefix, _ in _FLOORS)) and min(series.values) > 0


def _floor(series: Series) -> float:
    if not _is_relative(series):
        return 1e-3 if series.figure.endswith(("ssim", "_rel")) else _FLOOR_ABSOLUTE
    return next(floor for prefix, floor in _FLOORS if series.figure.startswith(prefix))


def _scaled(series: Series) -> list[float]:
    """Logarithms of times, sizes and counts; distances as they are."""
    if _is_relative(series):
        return [math.log(value) for value in series.values]
    return [min(value, NO_DIFFERENCE_DB) for value in series.values]


def _step(
    series: Series, values: Sequence[float], step: changepoints.Change, steps: Sequence[changepoints.Change]
) -> Trend:
    after = next((other.index for other in steps if other.index > step.index), len(values))
    before = max((other.index for other in steps if other.index < step.index), default=0)
    return _trend(
        series,
        "step",
        step.size,
        step.error,
        step.chance,
        step.index,
        (step.earliest, step.latest),
        (statistics.fmean(values[before : step.index]), statistics.fmean(values[step.index : after])),
        after - step.index,
    )


def _drift(series: Series, values: Sequence[float], drift: changepoints.Drift) -> Trend:
    first = statistics.fmean(values[: changepoints.LEAST_BEFORE])
    # the newest value on the near side of the middle: since then it was never again what it was at first
    halfway = [
        n for n, value in enumerate(values) if (value - first) * math.copysign(1, drift.size) < abs(drift.size) / 2
    ]
    index = min(max(halfway, default=0) + 1, len(values) - 1)
    newest = statistics.fmean(values[-changepoints.LATEST :])
    return _trend(
        series,
        "drift",
        drift.size,
        drift.error,
        drift.chance,
        index,
        (0, index),
        (first, newest),
        len(values),
    )


def _trend(
    series: Series,
    kind: Literal["step", "drift"],
    size: float,
    error: float,
    chance: float,
    index: int,
    reach: tuple[int, int],
    means: tuple[float, float],
    runs: int,
) -> Trend:
    relative = _is_relative(series)
    low, high = (size + sign * _QUANTILE * error for sign in (-1, 1))
    start = 0 if kind == "drift" else max(index - 1, 0)
    return Trend(
        kind=kind,
        case=series.case,
        cases=series.cases,
        model=series.model,
        machine=series.machine,
        figure=series.figure,
        worse=is_worse(series.figure, size),
        change=math.expm1(size) if relative else size,
        relative=relative,
        low=math.expm1(low) if relative else low,
        high=math.expm1(high) if relative else high,
        before=None if not series.case else math.exp(means[0]) if relative else means[0],
        after=None if not series.case else math.exp(means[1]) if relative else means[1],
        since=series.started[index],
        earliest=series.started[reach[0]],
        latest=series.started[reach[1]],
        runs=runs,
        chance=chance,
        commits=(series.commits[start], series.commits[index]),
        changed_since=_changed(series.software[start], series.software[index]),
    )


def _changed(before: str, after: str) -> tuple[str, ...]:
    """Versions in which two runs differ, the project's commit apart."""
    if before == after:
        return ()
    old, new = (json.loads(text) if text else {} for text in (before, after))
    return tuple(
        f"{name} {old.get(name, 'absent')} -> {new.get(name, 'absent')}"
        for name in sorted({*old, *new} - {"git_commit"})
        if is_changed(name, old, new)
    )
