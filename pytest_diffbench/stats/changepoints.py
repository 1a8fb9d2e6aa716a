"""Change points and drift of a series of noisy values.

Binary segmentation by the difference of means (Scott and Knott 1974; Vostrikova 1981), of values whose outliers are
pulled in, in units of the noise between neighbours (von Neumann 1941), which a step hardly touches. A split counts
where its t value is beyond what chance would reach in all nights and series together, and where as many values lie
beyond the middle between the means as rarely lay there before: busy nights come in twos and threes, so a mean that
they moved proves nothing.
"""

from __future__ import annotations

import dataclasses
import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

LEAST_BEFORE = 5
"""Values before a change, and of an anchor."""

LEAST_AFTER = 2
"""Values after a change: one night alone may be an outlier. A series without noise needs one."""

LATEST = 7
"""Values that a drift is read from: the newest ones."""

_PULL = 3.0
"""Deviations from the median of its neighbours to which a value is pulled in."""

_REACH = 2
"""Neighbours on each side."""

_SPLITS = 5
"""Places of a change that are as good as independent tests in one night: those in its last nights. Older ones were
tested by the nights before. `benchmarks/trend_study.py` counts what that leaves of false alarms."""

_MIDDLE = 1.4826
"""Deviation of normal values by the median of their sizes."""

_LEAST_NOISE = 1e-12

_ROUNDING_REL = 1e-6
"""Noise beside the values, below which it matters that sums of many series are rounded in another order."""

_MARGIN = 1.000001
"""What rounding may do to a score or a probability that is had in two ways."""


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """A place where the mean of a series moves.

    Attributes:
        index: of the first value after it.
        earliest: first index that explains the values almost as well; `latest` the last one.
        size: mean after it, until the next change, less the mean before it.
        error: standard error of `size`.
        chance: probability that noise alone looks like that in one night; 0 in a series without noise.
    """

    index: int
    earliest: int
    latest: int
    size: float
    error: float
    chance: float


@dataclasses.dataclass(frozen=True, slots=True)
class Drift:
    """How far the newest values are from the first ones.

    Attributes:
        size: mean of the newest values less that of the anchor.
        error: standard error of `size`.
        chance: probability that noise alone gets so far.
        per_value: slope of a line through all values since the anchor.
    """

    size: float
    error: float
    chance: float
    per_value: float


class Values:
    """A series, with its noise.

    Args:
        values: oldest first, finite.

    Attributes:
        noise: standard deviation from one value to the next, whatever steps there are; 0 where most neighbours are
            equal.
    """

    def __init__(self, values: Sequence[float] | NDArray[np.float64]) -> None:
        self._raw = np.asarray(values, dtype=np.float64)
        self._gaps = self._raw[1:] - self._raw[:-1]
        self.noise = _noise(self._gaps)
        self._series = _pulled_in(self._raw, self.noise)
        self._sums = np.concatenate(([0.0], np.cumsum(self._series)))

    def changes(self, alpha: float, floor: float = 0.0) -> list[Change]:
        """The places where the series moves, in the order of time.

        Args:
            alpha: a change is one whose probability by chance is no more.
            floor: a change is larger.
        """
        if len(self._raw) <= LEAST_BEFORE:
            return []  # how noisy it is isn't known yet
        if self.noise <= 0:
            moves = self._jumps()
        else:
            places: list[int] = []
            self._split(0, len(self._series), alpha, places)
            places.sort()
            ends = [0, *places, len(self._series)]
            moves = [
                self._change(begin, place, end)
                for begin, place, end in zip(ends[:-2], ends[1:-1], ends[2:], strict=True)
            ]
        return [change for change in moves if abs(change.size) > floor]

    def drift(self, alpha: float, floor: float = 0.0) -> Drift | None:
        """How far the newest values are from the first ones, the anchor; None where that may be chance.

        Args:
            alpha: probability by chance up to which a drift is one.
            floor: a drift is larger.
        """
        count = len(self._series)
        if count < LEAST_BEFORE + LATEST:
            return None
        anchor = self._mean(0, LEAST_BEFORE)
        size = self._mean(count - LATEST, count) - anchor
        if abs(size) <= floor:
            return None
        error = self.noise * math.sqrt(1 / LEAST_BEFORE + 1 / LATEST)
        chance = 0.0
        if self.noise > 0:
            if abs(size) / error < _least_score(alpha, count, 1):
                return None
            parts = self._series[: max(LEAST_BEFORE, count // 3)], self._series[-LATEST:]
            middle, upward = anchor + size / 2, size > 0
            if _rarity(*parts, middle, upward, 1, _least_tail) > alpha:
                return None
            chance = max(_chance(abs(size) / error, count, 1), _rarity(*parts, middle, upward, 1, _tail))
        if chance > alpha:
            return None
        times = np.arange(count) - (count - 1) / 2
        return Drift(size, error, chance, float(times @ self._series / (times @ times)))

    def _jumps(self) -> list[Change]:
        """Every other value of a series without noise."""
        places = [int(place) + 1 for place in np.flatnonzero(self._gaps)]
        return [Change(place, place, place, float(self._gaps[place - 1]), 0.0, 0.0) for place in places]

    def _split(self, begin: int, end: int, alpha: float, places: list[int]) -> None:
        """Add the places where a segment splits to `places`."""
        if end - begin < LEAST_BEFORE + LEAST_AFTER:
            return
        candidates, scores = self._scores(begin, end)
        best = int(scores.argmax())
        score, place = float(scores[best]), int(candidates[best])
        if score < _least_score(alpha, len(self._series), _SPLITS):
            return
        parts = self._series[begin:place], self._series[place:end]
        before, after = self._mean(begin, place), self._mean(place, end)
        if _rarity(*parts, (before + after) / 2, after > before, _SPLITS, _least_tail) > alpha:
            return
        if _chance(score, len(self._series), _SPLITS) > alpha or self._change(begin, place, end).chance > alpha:
            return
        places.append(place)
        self._split(begin, place, alpha, places)
        self._split(place, end, alpha, places)

    def _change(self, begin: int, place: int, end: int) -> Change:
        """The change at a place between two others."""
        before, after = self._mean(begin, place), self._mean(place, end)
        size = after - before
        error = self.noise * math.sqrt(1 / (place - begin) + 1 / (end - place))
        chance = _chance(abs(size) / error, len(self._series), _SPLITS)
        rare = _rarity(
            self._series[begin:place], self._series[place:end], (before + after) / 2, size > 0, _SPLITS, _tail
        )
        candidates, scores = self._scores(begin, end)
        # a fall of the log likelihood by 2 is about two standard deviations
        likely = [place, *candidates[scores**2 >= scores.max(initial=0.0) ** 2 - 4].tolist()]
        return Change(place, min(likely), max(likely), size, error, max(chance, rare))

    def _mean(self, begin: int, end: int) -> float:
        return float((self._sums[end] - self._sums[begin]) / (end - begin))

    def _scores(self, begin: int, end: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Where a segment may be split, and how far apart the means are there, in standard errors."""
        sums = self._sums
        places = np.arange(begin + LEAST_BEFORE, end - LEAST_AFTER + 1)
        before, after = places - begin, end - places
        gap = (sums[end] - sums[places]) / after - (sums[places] - sums[begin]) / before
        return places, np.abs(gap) / (self.noise * np.sqrt(1 / before + 1 / after))


def may_move(rows: NDArray[np.float64], alpha: float) -> NDArray[np.bool_]:
    """Which of many series may have changes or a drift; of the others `Values` finds neither, whatever the floor.

    Takes a hundredth of the time of one after the other.

    Args:
        rows: series of one length, of shape (series, values), finite.
        alpha: as `Values` takes it.

    Returns:
        Of shape (series,).
    """
    count = rows.shape[1]
    if count <= LEAST_BEFORE:
        return np.zeros(len(rows), dtype=bool)
    gaps = rows[:, 1:] - rows[:, :-1]
    middle = _MIDDLE * np.sort(np.abs(gaps), axis=1)[:, (count - 1) // 2, None]
    pulled = np.minimum(np.maximum(gaps, -_PULL * middle), _PULL * middle)
    noise = np.sqrt(np.square(pulled).mean(axis=1, keepdims=True) / 2)
    noisy = middle[:, 0] > np.maximum(_LEAST_NOISE, _ROUNDING_REL * np.abs(rows).max(axis=1))
    noise[~noisy] = 1.0
    series = _pulled_in(rows, noise)
    sums = np.concatenate((np.zeros((len(rows), 1)), np.cumsum(series, axis=1)), axis=1)
    places = np.arange(LEAST_BEFORE, count - LEAST_AFTER + 1)
    after = count - places
    means = sums[:, places] / places
    gap = (sums[:, -1:] - sums[:, places]) / after - means
    scores = np.abs(gap) / (noise * np.sqrt(1 / places + 1 / after))
    moves: NDArray[np.bool_] = scores.max(axis=1, initial=0.0) >= _least_score(alpha, count, _SPLITS)
    if count >= LEAST_BEFORE + LATEST:
        away = np.abs(series[:, -LATEST:].mean(axis=1) - series[:, :LEAST_BEFORE].mean(axis=1)) / noise[:, 0]
        error = math.sqrt(1 / LEAST_BEFORE + 1 / LATEST)
        moves |= away / error >= _least_score(alpha, count, 1)
    moves |= ~noisy
    return moves


def _least_score(alpha: float, count: int, tests: int) -> float:
    """A score below which `_chance` is above alpha, hardly smaller than the least where it isn't.

    By Wallace (1959), t with n degrees of freedom exceeds a value at least as often as a normal one exceeds
    sqrt(n log(1 + t^2 / n)).
    """
    degrees = _degrees(count)
    normal = max(-NormalDist().inv_cdf(min(alpha / (2 * tests), 0.5)), 0.0)
    return math.sqrt(degrees * math.expm1(normal**2 / degrees)) / _MARGIN


def _noise(gaps: NDArray[np.float64]) -> float:
    """Deviation of the noise, from differences of neighbours."""
    if len(gaps) < 2:
        return 0.0
    middle = _MIDDLE * float(np.sort(np.abs(gaps))[len(gaps) // 2])
    if middle <= _LEAST_NOISE:
        return 0.0
    pulled = np.minimum(np.maximum(gaps, -_PULL * middle), _PULL * middle)
    return math.sqrt(float(pulled @ pulled) / len(gaps) / 2)


def _pulled_in(values: NDArray[np.float64], noise: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """The values, outliers moved towards the median of their neighbours; of many series along the last axis."""
    count = values.shape[-1]
    if count <= _REACH or (isinstance(noise, float) and noise <= 0):
        return values
    # reflected at the ends, so that two nights of another level at the end are no outliers, and one night is
    padded = np.concatenate((values[..., _REACH:0:-1], values, values[..., -2 : -_REACH - 2 : -1]), axis=-1)
    middle = _median_of_5([padded[..., begin : begin + count] for begin in range(2 * _REACH + 1)])
    pulled: NDArray[np.float64] = np.minimum(np.maximum(values, middle - _PULL * noise), middle + _PULL * noise)
    return pulled


def _median_of_5(values: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Element by element, by comparisons alone, which takes a tenth of the time of sorting along so short an axis."""
    first, second, third, fourth, last = values
    low = np.maximum(np.minimum(first, second), np.minimum(third, fourth))
    high = np.minimum(np.maximum(first, second), np.maximum(third, fourth))
    median: NDArray[np.float64] = np.maximum(np.minimum(low, high), np.minimum(np.maximum(low, high), last))
    return median


def _rarity(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    middle: float,
    upward: bool,
    tests: int,
    tail: Callable[[int, int, float], float],
) -> float:
    """How likely it is that so many values of one side lie beyond the middle if they do as often as the other side's.

    Both sides are asked, and the likelier answer counts: a few outliers among few values are as suspicious at the
    beginning as at the end. How often is counted with one more either way (Laplace), so few values prove little.
    """
    sides = before - middle, middle - after
    if not upward:
        sides = -sides[0], -sides[1]
    # the far side of each: values of `before` on the side of `after`, and the other way round
    crossed = [int(np.count_nonzero(side > 0)) for side in sides]
    lengths = len(before), len(after)
    chances = []
    for asked, other in ((0, 1), (1, 0)):
        often = (crossed[asked] + 1) / (lengths[asked] + 2)
        there = lengths[other] - crossed[other]
        chances.append(tail(there, lengths[other], often) if there else 1.0)
    return min(1.0, tests * max(chances))


def _tail(least: int, count: int, often: float) -> float:
    """Probability of at least so many of `count`, each as often as that."""
    from scipy.special import bdtrc  # imported late, since that takes as long as looking at a whole history

    return float(bdtrc(least - 1, count, often))


def _least_tail(least: int, count: int, often: float) -> float:
    """At most `_tail`, and near it where that is small, without the import: most that is looked at is no change."""
    least = max(least, int(often * count))  # from the likeliest on, so that no term is too small to be a number
    term = math.exp(
        math.lgamma(count + 1)
        - math.lgamma(least + 1)
        - math.lgamma(count - least + 1)
        + least * math.log(often)
        + (count - least) * math.log1p(-often)
    )
    total = term
    for reached in range(least, count):
        term *= (count - reached) / (reached + 1) * often / (1 - often)
        total += term
    return total / _MARGIN


def _chance(score: float, count: int, tests: int) -> float:
    """Probability that noise reaches a score, of either sign, its deviation known from two thirds of the values."""
    from scipy.special import stdtr

    return min(1.0, 2 * tests * float(stdtr(_degrees(count), -score)))


def _degrees(count: int) -> float:
    return max(2 * count / 3, 1.0)
