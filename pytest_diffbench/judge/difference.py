"""Which way a figure went."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_diffbench.records.details import Direction


def direction(before: int, after: int) -> Direction:
    """Which way a count went."""
    return "more" if after > before else "less" if after < before else "other"


def direction_within(before: int, after: int, allowed_rel: float) -> Direction | None:
    """Which way a count went, None when it stayed within a share of the larger of the two."""
    if abs(after - before) <= allowed_rel * max(before, after):
        return None
    return direction(before, after)
