"""Whether a sequence of times is steady: does it still fall, does it drift, does it jump between two modes?

Beside other work every sequence looks unsteady to a keen eye. So each doubt needs an order or a gap that noise seldom
makes, and a size that matters.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import math
import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FALL_REL = 0.10
"""A call that is faster than the one before by more than this was still warming up. On a shared two-core machine
4 % of steady calls are, which costs one further call each."""

_SIZE_REL = 0.10
"""Drifts and gaps under this are left to the spread between runs."""

_LEAST_S = 0.001
"""Below this, a difference is the interpreter's, whatever its share."""

_DRIFT_CHANCE = 0.005
"""Chance, both ways together, that times in random order are as much in order as a drift must be."""

_EXACT_UP_TO = 60
"""Orders of so many times are counted, which takes a hundredth of a second and grows with their cube; the chance in
more of them is told by the normal distribution."""

_LAGS = 100
"""A slope spans a multiple of a hundredth of the sequence: so their number grows with it, not with its square."""

_FEWEST_FOR_MODES = 5


def still_falling(times_s: Sequence[float]) -> bool:
    """Whether the last call was so much faster than the one before that the next may be faster still."""
    if len(times_s) < 2:
        return False
    before_s, last_s = times_s[-2:]
    return before_s - last_s > max(FALL_REL * before_s, _LEAST_S)


def doubt_about(times_s: Sequence[float]) -> str | None:
    """Why a sequence of times isn't steady: `drift of +12 %`, `two modes, 21 % apart`; None where it may well be."""
    if not times_s or not all(math.isfinite(time_s_s) and time_s_s > 0 for time_s_s in times_s):
        return None
    middle_s = statistics.median(times_s)
    gap_s = gap_between_modes(times_s)
    if gap_s is not None and _matters(gap_s, middle_s):
        return f"two modes, {100 * gap_s / middle_s:.0f} % apart"
    change_rel = drift_rel(times_s)
    if change_rel is not None and _matters(change_rel * middle_s, middle_s):
        return f"drift of {100 * change_rel:+.0f} %"
    return None


def drift_rel(times_s: Sequence[float]) -> float | None:
    """Relative change from the first time to the last, where the times are too much in order for chance.

    Order by Mann (1945) and Kendall (1975), exact up to 60 times, so that outliers count no more than others; size by
    the median of slopes (Theil 1950, Sen 1968), of logarithms, all of them up to 199 times. Six times can be told,
    where all are in order; five never.
    """
    count = len(times_s)
    if _chance_of_order(count, abs(_score(times_s))) > _DRIFT_CHANCE:
        return None
    logs = [math.log(time_s_s) for time_s_s in times_s]
    slopes = [
        (logs[j] - logs[i]) / (j - i)
        for step in [max(1, count // _LAGS)]
        for i in range(count)
        for j in range(i + step, count, step)
    ]
    return math.expm1((count - 1) * statistics.median(slopes))


def gap_between_modes(times_s: Sequence[float]) -> float | None:
    """Width of the gap between two groups of times, in seconds, where noise of one kind seldom leaves such a gap.

    Each group holds a fifth of the times, and two at least: what is slow once is an outlier and no mode. The gap
    takes more of the whole range than that of 199 in 200 draws from a normal distribution; the formula lies above
    the quantiles of simulations from 5 to 30 times.
    """
    count = len(times_s)
    if count < _FEWEST_FOR_MODES:
        return None
    ordered = sorted(times_s)
    least = max(2, math.ceil(count / 5))
    gap_s = max(ordered[i] - ordered[i - 1] for i in range(least, count - least + 1))
    range_s = ordered[-1] - ordered[0]
    return gap_s if gap_s > 0.85 * (_FEWEST_FOR_MODES / count) ** 0.6 * range_s else None


def _matters(change_s: float, middle_s: float) -> bool:
    return abs(change_s) > max(_SIZE_REL * middle_s, _LEAST_S)


def _score(times_s: Sequence[float]) -> int:
    """Kendall's score: how many more pairs of times rise than fall."""
    before: list[float] = []
    score = 0
    for time_s in times_s:
        score += bisect.bisect_left(before, time_s) - (len(before) - bisect.bisect_right(before, time_s))
        bisect.insort(before, time_s)
    return score


def _chance_of_order(count: int, score: int) -> float:
    """Chance that the score of a random order of `count` times is as far from 0 as `score`."""
    return _counted_chance(count, score) if count <= _EXACT_UP_TO else _normal_chance(count, score)


def _counted_chance(count: int, score: int) -> float:
    ways = _orders_by_inversions(count)
    pairs = count * (count - 1) // 2
    far = sum(number for inversions, number in enumerate(ways) if abs(pairs - 2 * inversions) >= score)
    return far / math.factorial(count)


def _normal_chance(count: int, score: int) -> float:
    """The same by the normal distribution (Kendall 1975). Scores lie 2 apart, so that each reaches 1 down."""
    variance = count * (count - 1) * (2 * count + 5) / 18
    return math.erfc(max(score - 1, 0) / math.sqrt(2 * variance))


@functools.cache
def _orders_by_inversions(count: int) -> tuple[int, ...]:
    """How many orders of `count` things have 0, 1, 2 ... pairs the wrong way round."""
    ways = [1]
    for size in range(2, count + 1):
        # one more thing can be put before 0, 1 ... or all of the others: sums of `size` neighbours
        up_to = list(itertools.accumulate([*ways, *[0] * (size - 1)]))
        ways = [here - gone for here, gone in zip(up_to, [*[0] * size, *up_to], strict=False)]
    return tuple(ways)
