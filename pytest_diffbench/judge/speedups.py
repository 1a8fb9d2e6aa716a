"""How much faster one variant is than another, from rounds that were interleaved: the interval of a ratio of times.

A block is one round of every variant, and the unit of evidence: pace that changes from block to block drops out of
the logarithm of a block's ratio. Two blocks make a pair, the second in the reversed order of the first, so that pace
which changes steadily drops out as well; and each pair's first order is drawn by lot, so that other changes fall on
either side alike. The interval is Student's over the blocks, `mean ± t(blocks - 1) e`, where e is the larger of the
standard errors that blocks and pairs give: what two neighbouring blocks have in common widens it.

It speaks of the two variants in this process. Another process may lay out its memory otherwise; nothing here knows
how much that changes.
"""

from __future__ import annotations

import dataclasses
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

_MOST_LOG = 100.0
"""Beyond this no ratio of times means anything, and its exponential stays a number that JSON has."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LogRatio:
    """The logarithm of a speed-up, estimated from blocks.

    Attributes:
        blocks: number of them.
        mean_log: over the blocks.
        standard_error_log: of the mean.
        half_width_log: of the interval.
    """

    blocks: int
    mean_log: float
    standard_error_log: float
    half_width_log: float

    @property
    def half_width_rel(self) -> float:
        """How far the upper end of the interval lies above the value, as a share of it."""
        return math.expm1(min(self.half_width_log, _MOST_LOG))

    def speedup(self) -> Speedup:
        """As a ratio."""
        return Speedup(
            value=_exp(self.mean_log),
            low=_exp(self.mean_log - self.half_width_log),
            high=_exp(self.mean_log + self.half_width_log),
        )


def looks(rounds: int) -> tuple[int, ...]:
    """Numbers of blocks after which the intervals are looked at: at least six, an even number, then twice and again.

    Args:
        rounds: that were asked for.
    """
    first = max(LEAST_BLOCKS, rounds + rounds % 2)
    return tuple(first * 2**look for look in range(len(_SHARES)))


def log_ratios(reference_s: Sequence[float], variant_s: Sequence[float]) -> tuple[float, ...]:
    """The logarithm of reference over variant, block by block.

    Raises:
        ValueError: a different number of rounds, or a time that isn't above 0.
    """
    return tuple(math.log(base / one) for base, one in zip(reference_s, variant_s, strict=True))


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
    # imported late: loading the judges must not cost what scipy costs
    from scipy.special import stdtrit

    error = statistics.stdev(logs) / math.sqrt(count)
    pairs = [(one + other) / 2 for one, other in zip(logs[0::2], logs[1::2], strict=False)]
    if len(pairs) > 1:
        error = max(error, statistics.stdev(pairs) / math.sqrt(len(pairs)))
    miss = (1 - confidence) * _SHARES[look]
    return LogRatio(
        blocks=count,
        mean_log=statistics.fmean(logs),
        standard_error_log=error,
        half_width_log=float(stdtrit(count - 1, 1 - miss / 2)) * error,
    )


def _exp(value_log: float) -> float:
    return math.exp(max(-_MOST_LOG, min(value_log, _MOST_LOG)))
