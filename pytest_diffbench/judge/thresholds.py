"""The limits of one case: the defaults, and what its test asks for in their place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_diffbench.judge.limits import Limits
from pytest_diffbench.judge.output.loosening import limit_fields

if TYPE_CHECKING:
    from pytest_diffbench.records import Thresholds


def limits_with(thresholds: Thresholds) -> Limits:
    """The limits of a case.

    Raises:
        OptionError: a threshold is outside the range of its kind.
    """
    usual = Limits()
    changed: dict[str, Any] = limit_fields(tuple(thresholds.tolerance.items()), thresholds.reason)
    if thresholds.memory_rel is not None:
        changed |= {"memory_rel": thresholds.memory_rel, "memory_rss_rel": thresholds.memory_rel}
    if thresholds.time_floor_rel is not None:
        changed |= {"time_floor_rel": thresholds.time_floor_rel, "time_floor_cpu_rel": thresholds.time_floor_rel}
    if thresholds.time_floor_s is not None:
        changed["time_floor_s"] = thresholds.time_floor_s
    if thresholds.confirmations is not None:
        # The first run alone decides where nothing may confirm it.
        changed |= {
            "time_confirmations": min(usual.time_confirmations, thresholds.confirmations),
            "time_max_runs": 1 + thresholds.confirmations,
        }
    if thresholds.pairs is not None:
        changed["time_max_pairs"] = max(usual.time_max_pairs, thresholds.pairs)
    return Limits(**changed)
