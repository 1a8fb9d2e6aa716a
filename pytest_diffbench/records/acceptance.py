"""What was accepted without measuring again, and why: a part of a baseline's history."""

from __future__ import annotations

from typing import Literal

from pytest_diffbench.records.base import PositiveCount, Record

MOST_ACCEPTANCES = 20
"""That a baseline keeps; the oldest go first."""


class Acceptance(Record, frozen=True, kw_only=True):
    """One result of a session that `diffbench accept` put into a baseline."""

    accepted: str
    """When: UTC, ISO 8601."""

    what: Literal["created", "added", "new_generation", "kept"]
    """What it did to the baseline; `kept`: nothing had changed, and there were no times to add."""

    generation: PositiveCount
    """That it made or added to."""

    run: str
    """Id of the run that was accepted."""

    reason: str | None = None
    """Why, where one was given."""

    command: str
    """That accepted it, as it was typed."""
