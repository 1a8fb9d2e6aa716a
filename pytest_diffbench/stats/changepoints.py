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
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import bdtrc, stdtr

if TYPE_CHECKING:
    from collections.abc import Sequence

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

_LEAST_NOISE = 1e-12


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
            chance = _chance(abs(size) / error, count, 1)
            if chance <= alpha:
                early = self._series[: max(LEAST_BEFORE, count // 3)]
                chance = max(chance, _rarity(early, self._series[-LATEST:], anchor + size / 2, size > 0, 1))
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
        if _chance(float(scores[best]), len(self._series), _SPLITS) > alpha:
            return
        place = int(candidates[best])
        if self._change(begin, place, end).chance > alpha:
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
        rare = _rarity(self._series[begin:place], self._series[place:end], (before + after) / 2, size > 0, _SPLITS)
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


def _noise(gaps: NDArray[np.float64]) -> float:
    """Deviation of the noise, from differences of neighbours."""
    if len(gaps) < 2:
        return 0.0
    middle = 1.4826 * float(np.sort(np.abs(gaps))[len(gaps) // 2])
    if middle <= _LEAST_NOISE:
        return 0.0
    pulled = np.minimum(np.maximum(gaps, -_PULL * middle), _PULL * middle)
    return math.sqrt(float(pulled @ pulled) / len(gaps) / 2)


def _pulled_in(values: NDArray[np.float64], noise: float) -> NDArray[np.float64]:
    """The values, outliers moved towards the median of their neighbours."""
    if noise <= 0 or len(values) <= _REACH:
        return values
    # reflected at the ends, so that two nights of another level at the end are no outliers, and one night is
    padded = np.concatenate((values[_REACH:0:-1], values, values[-2 : -_REACH - 2 : -1]))
    windows = np.stack([padded[begin : begin + len(values)] for begin in range(2 * _REACH + 1)])
    middle = np.sort(windows, axis=0)[_REACH]
    pulled: NDArray[np.float64] = np.minimum(np.maximum(values, middle - _PULL * noise), middle + _PULL * noise)
    return pulled


def _rarity(
    before: NDArray[np.float64], after: NDArray[np.float64], middle: float, upward: bool, tests: int
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
        chances.append(float(bdtrc(there - 1, lengths[other], often)) if there else 1.0)
    return min(1.0, tests * max(chances))


def _chance(score: float, count: int, tests: int) -> float:
    """Probability that noise reaches a score, of either sign, its deviation known from two thirds of the values."""
    degrees = max(2 * count / 3, 1.0)
    return min(1.0, 2 * tests * float(stdtr(degrees, -score)))
