"""How many timed rounds a case needs, where nobody asked for a number. Imports nothing heavy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

AUTO = "auto"
"""The value of the setting that leaves it to the times themselves."""

USUAL_ROUNDS = 5
"""Where the number has to be known before: in a process whose rounds are held against another's, and of variants."""

LEAST_ROUNDS = 3
MOST_ROUNDS = 10

PRECISION_REL = 0.01
"""Standard error of the median at which it is known well enough: changes that matter are five times as large."""

BUDGET_S = 2.0
"""Timed rounds of a case go on up to `MOST_ROUNDS` within it; beyond it, up to `USUAL_ROUNDS`."""

_OF_MEDIAN = math.sqrt(math.pi / 2)
"""Of normal times the median's standard error is so many times the mean's."""


def are_enough(times_s: Sequence[float]) -> bool:
    """Whether the median of these times of rounds is known well enough, or not worth another round.

    A median isn't known from times among which one is far off, so that a restless machine gets more rounds than a
    quiet one; from `USUAL_ROUNDS` on, only as long as they fit into `BUDGET_S`.
    """
    import statistics  # ten milliseconds that idle sessions don't need

    count = len(times_s)
    if count < LEAST_ROUNDS:
        return False
    if count >= MOST_ROUNDS or (count >= USUAL_ROUNDS and sum(times_s) >= BUDGET_S):
        return True
    error_s = _OF_MEDIAN * statistics.stdev(times_s) / math.sqrt(count)
    return error_s <= PRECISION_REL * statistics.median(times_s)
