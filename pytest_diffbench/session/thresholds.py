"""From a test's settings to the limits that its cases are judged by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.records import Thresholds

if TYPE_CHECKING:
    from pytest_diffbench.judge import Limits
    from pytest_diffbench.settings.options import Settings


def thresholds_of(settings: Settings) -> Thresholds:
    """What a test's marker, the ini file or the command line ask for in place of the default limits."""
    return Thresholds(
        tolerance=dict(settings.tolerance or ()),
        reason=settings.reason,
        memory_rel=settings.memory_limit_rel,
        time_floor_rel=settings.time_floor_rel,
        time_floor_s=settings.time_floor_s,
        confirmations=settings.confirm,
        pairs=settings.pairs,
    )


def limits_of(settings: Settings) -> Limits:
    """The limits of a test's cases."""
    from pytest_diffbench.judge import limits_with

    return limits_with(thresholds_of(settings))
