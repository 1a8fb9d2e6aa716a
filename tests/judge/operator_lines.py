"""Operators that carry a difference, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_diffbench.judge.time.kernels import explain
from pytest_diffbench.records.details import TimeDetails
from pytest_diffbench.report.sentences.time import operator_lines

if TYPE_CHECKING:
    from pytest_diffbench.records import Profile


def explained(base: Profile, now: Profile, **options: Any) -> tuple[str, ...]:
    """What a verdict on time says of two profiles."""
    operators = explain(base, now, **options)
    details = TimeDetails(
        operators=operators.changes, further_operators=operators.further, operators_pace_rel=operators.pace_rel
    )
    return tuple(operator_lines(details))
