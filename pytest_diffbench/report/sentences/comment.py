"""Sentences of the comment on a pull request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.records import DECISIONS
from pytest_diffbench.report.figures import status_of
from pytest_diffbench.report.units import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.records import CaseReport, SessionReport

AGAIN = "Measure again"
IF_INTENDED = "if the change is intended, this accepts it:"
TOO_LONG = "The rest is too long for a comment; see the report."


def verdict(session: SessionReport, failing: Sequence[CaseReport]) -> str:
    """The verdict in a line, gravest first; `resolved` where all is well."""
    statuses = [status_of(report) for report in failing]
    parts = []
    if worse := statuses.count("worse"):
        parts.append(f"{format_count(worse, 'case')} got worse")
    if errors := statuses.count("error"):
        parts.append(f"{format_count(errors, 'case')} broke off")
    if refused := statuses.count("refused"):
        parts.append(f"{format_count(refused, 'case')} refused as a baseline")
    if session.interrupted:
        parts.append("the session was interrupted")
    if not session.cases:
        parts.append("nothing was measured")
    return ", ".join(parts) or "resolved, nothing is worse"


def counts(session: SessionReport) -> str:
    """Verdicts by decision: `9 cases: 4 worse, 23 same`."""
    counted = [f"{session.counts[decision]} {decision}" for decision in DECISIONS if session.counts.get(decision)]
    skipped = f", {len(session.skipped)} skipped" if session.skipped else ""
    return f"{format_count(len(session.cases), 'case')}{skipped}; verdicts: {', '.join(counted) or 'none'}"


def more_rows(count: int) -> str:
    """That rows were left out."""
    return f"... and {format_count(count, 'row')} more: see the report."


def more_lines(count: int) -> str:
    """That lines were left out."""
    return f"... and {count} more"


def more_sections(count: int) -> str:
    """That sections were left out."""
    return f"Left out for room: {format_count(count, 'section')}. The session's file has all."
