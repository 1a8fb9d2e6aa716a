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

PRECISION_REL = 0.02
"""Standard error of the median at which it is known well enough: changes that matter are more than twice as large.

Runs differ by more. Of 60 recorded processes of one call, whose rounds spread by 3.8 %, medians of three rounds
differed from one process to the next by 4.5 %, of five by 3.9 %, and of fifteen by 3.8 %."""

BUDGET_S = 2.0
"""What rounds beyond the least number may bring the time of all to, up to `USUAL_ROUNDS` of them."""

SHORT_BUDGET_S = 1.0
"""The same for rounds beyond the usual number, up to `MOST_ROUNDS`: no number makes up for a restless machine."""

_OF_MEDIAN = math.sqrt(math.pi / 2)
"""Of normal times the median's standard error is so many times the mean's."""


def are_enough(times_s: Sequence[float]) -> bool:
    """Whether the median of these times of rounds is known well enough, or not worth another round.

    A median isn't known from times that are far apart, so that a restless machine gets more rounds than a quiet one,
    within the budgets.
    """
    import statistics  # ten milliseconds that idle sessions don't need

    count = len(times_s)
    if count < LEAST_ROUNDS:
        return False
    budget_s = BUDGET_S if count < USUAL_ROUNDS else SHORT_BUDGET_S
    if count >= MOST_ROUNDS or sum(times_s) >= budget_s:
        return True
    error_s = _OF_MEDIAN * statistics.stdev(times_s) / math.sqrt(count)
    return error_s <= PRECISION_REL * statistics.median(times_s)
