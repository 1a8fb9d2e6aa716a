"""How much faster one variant is than another, from rounds that were interleaved: the interval of a ratio of times.

A block is one round of every variant, and the unit of evidence: pace that changes from block to block drops out of
the logarithm of a block's ratio. Two blocks make a pair, the second in the reversed order of the first, so that pace
which changes steadily drops out as well; and each pair's first order is drawn by lot, so that other changes fall on
either side alike. So the logarithms lie on both sides of the truth alike, whatever the machine does. The intervals
rest on that:

- after the first look's few blocks Student's, `mean ± t(blocks - 1) e`, where e is the larger of the standard errors
  that blocks and pairs give: what two neighbouring blocks have in common widens it;
- later that of Wilcoxon's signed ranks around the Hodges-Lehmann estimate, the median of the means of any two blocks
  (Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, 3rd edition, 3.2 and 3.3). Single rounds that
  another process held up hardly move it.

It speaks of the two variants in this process. Another process may lay out its memory otherwise; nothing here knows
how much that changes.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics
from typing import TYPE_CHECKING

from pytest_diffbench.records import Speedup

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_BLOCKS = 6
"""Three pairs. With fewer, a t quantile at 99 % makes any interval useless."""

_SHARES = (0.5, 0.25, 0.25)
"""How the probability of missing the truth is spread over the looks: half of it on the first."""

_EXACT_UP_TO = 100
"""Signed ranks of so many blocks are counted, which grows with their cube; of more they are as good as normal."""

_LISTED_UP_TO = 200
"""The means of any two of so many blocks are listed; of more, those that are asked for are searched for."""

_CLOSE_LOG = 1e-12
"""Ratios nearer to each other than this are one."""

_MOST_LOG = 100.0
"""Beyond this no ratio of times means anything, and its exponential stays a number that JSON has."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LogRatio:
    """The logarithm of a speed-up, estimated from blocks.

    Attributes:
        blocks: number of them.
        centre_log: the estimate.
        low_log: end of its interval; `high_log` is the other one.
        standard_error_log: of the estimate; of a rank interval, that of a normal one as wide.
    """

    blocks: int
    centre_log: float
    low_log: float
    high_log: float
    standard_error_log: float

    @property
    def half_width_rel(self) -> float:
        """How far the interval reaches from the estimate, as a share of it."""
        return math.expm1(min(max(self.high_log - self.centre_log, self.centre_log - self.low_log), _MOST_LOG))

    def speedup(self) -> Speedup:
        """As a ratio."""
        return Speedup(value=_exp(self.centre_log), low=_exp(self.low_log), high=_exp(self.high_log))


def looks(rounds: int) -> tuple[int, ...]:
    """Numbers of blocks after which intervals are looked at: an even number, at least six, then twice and again."""
    first = max(LEAST_BLOCKS, rounds + rounds % 2)
    return tuple(first * 2**look for look in range(len(_SHARES)))


def log_ratios(reference_s: Sequence[float], variant_s: Sequence[float]) -> tuple[float, ...]:
    """The logarithm of reference over variant, block by block.

    Raises:
        ValueError: a different number of rounds, or a time that isn't above 0.
    """
    return tuple(math.log(base / variant) for base, variant in zip(reference_s, variant_s, strict=True))


def estimate(logs: Sequence[float], confidence: float, look: int = 0) -> LogRatio:
    """Estimate a ratio with its interval.

    Whoever measures on while the interval is wide looks several times, and would be wrong more often than once in
    `1 / (1 - confidence)`. So each look has a share of that: the chance that any of the intervals misses is at most
    `1 - confidence`, whatever makes one stop.

    Args:
        logs: of each block, in the order in which they were measured.
        confidence: of all looks together, between 0 and 1.
        look: which look this is, counted from 0.

    Raises:
        ValueError: fewer than two blocks.
    """
    count = len(logs)
    if count < 2:
        raise ValueError(f"an interval needs two blocks or more, not {count}")
    miss = (1 - confidence) * _SHARES[look]
    if look:
        ranked = _by_ranks(logs, miss)
        if ranked is not None:
            return ranked
    return _by_student(logs, miss)


def _by_student(logs: Sequence[float], miss: float) -> LogRatio:
    # imported late: loading the judges must not cost what scipy costs
    from scipy.special import stdtrit

    count, centre = len(logs), statistics.fmean(logs)
    error = statistics.stdev(logs) / math.sqrt(count)
    pairs = [(first + second) / 2 for first, second in zip(logs[0::2], logs[1::2], strict=False)]
    if len(pairs) > 1:
        error = max(error, statistics.stdev(pairs) / math.sqrt(len(pairs)))
    half = float(stdtrit(count - 1, 1 - miss / 2)) * error
    return LogRatio(
        blocks=count, centre_log=centre, low_log=centre - half, high_log=centre + half, standard_error_log=error
    )


def _by_ranks(logs: Sequence[float], miss: float) -> LogRatio | None:
    """Wilcoxon's interval; None where so few blocks can't promise that much."""
    left_out = _ranks_left_out(len(logs), miss)
    if not left_out:
        return None
    means = _Means(logs)
    low, high = means.at(left_out), means.at(len(means) + 1 - left_out)
    return LogRatio(
        blocks=len(logs),
        centre_log=(means.at((len(means) + 1) // 2) + means.at(len(means) // 2 + 1)) / 2,
        low_log=low,
        high_log=high,
        standard_error_log=(high - low) / 2 / statistics.NormalDist().inv_cdf(1 - miss / 2),
    )


class _Means:
    """The means of any two blocks, and each block itself, in order. Eight thousand blocks have 32 million."""

    def __init__(self, logs: Sequence[float]) -> None:
        self._logs = sorted(logs)
        self._listed: list[float] | None = None
        if len(logs) <= _LISTED_UP_TO:
            self._listed = sorted((first + second) / 2 for at, first in enumerate(logs) for second in logs[at:])

    def __len__(self) -> int:
        return len(self._logs) * (len(self._logs) + 1) // 2

    def at(self, rank: int) -> float:
        """The mean with this rank, counted from 1: halve the range that it lies in, and count the means below."""
        if self._listed is not None:
            return self._listed[rank - 1]
        low, high = self._logs[0], self._logs[-1]
        if self._divided(low)[0] >= rank:
            return low
        while high - low > _CLOSE_LOG:
            middle = (low + high) / 2
            low, high = (low, middle) if self._divided(middle)[0] >= rank else (middle, high)
        return self._divided(low)[1]

    def _divided(self, bound: float) -> tuple[int, float]:
        """How many means are no larger, and the least that is: the larger one block, the smaller the other may be."""
        logs, count, above, end = self._logs, 0, math.inf, len(self._logs)
        for at, log in enumerate(logs):
            while end > at and (log + logs[end - 1]) / 2 > bound:
                end -= 1
            if end < len(logs):
                above = min(above, (log + logs[max(end, at)]) / 2)
            if end <= at:
                break
            count += end - at
        return count, above


def _ranks_left_out(count: int, miss: float) -> int:
    """How many values of the signed-rank statistic, from 0 on, are together no likelier than half of `miss`."""
    return _counted_ranks(count, miss) if count <= _EXACT_UP_TO else _normal_ranks(count, miss)


@functools.cache
def _counted_ranks(count: int, miss: float) -> int:
    ways = [1]  # of getting each sum from the ranks so far
    for rank in range(1, count + 1):
        longer = [*ways, *([0] * rank)]
        for total, number in enumerate(ways):
            longer[total + rank] += number
        ways = longer
    so_far = values = 0
    for number in ways:
        so_far += number
        if so_far > miss / 2 * 2**count:
            break
        values += 1
    return values


def _normal_ranks(count: int, miss: float) -> int:
    """The same by the normal distribution with the statistic's mean and variance; a value reaches half a one up."""
    middle = count * (count + 1) / 4
    deviation = math.sqrt(count * (count + 1) * (2 * count + 1) / 24)
    return max(0, math.floor(middle + statistics.NormalDist().inv_cdf(miss / 2) * deviation - 0.5) + 1)


def _exp(value_log: float) -> float:
    return math.exp(max(-_MOST_LOG, min(value_log, _MOST_LOG)))
