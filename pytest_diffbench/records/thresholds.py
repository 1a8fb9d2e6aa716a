"""What a test asks for in place of the default limits."""

from __future__ import annotations

from pytest_diffbench.records.base import Count, NotNegative, Record


class Thresholds(Record, frozen=True, kw_only=True):
    """Limits that a test's marker or the ini file changes; None, or no entry, is the default."""

    tolerance: dict[str, float] = {}
    """Of output, by the name of the figure: `psnr_db`, `latents_rel` ..."""

    reason: str | None = None
    """Why thresholds of output are looser than by default."""

    memory_rel: NotNegative | None = None
    time_floor_rel: NotNegative | None = None
    time_floor_s: NotNegative | None = None
    confirmations: Count | None = None
    """Fresh processes that may confirm a time, at most."""

    pairs: Count | None = None
    """Pairs of processes, one of each environment, that are made of all cases."""
