"""All sentences about verdicts, made from their reasons and figures: what, how much, where, and the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pytest_diffbench.records.details import (
    GuidanceDetails,
    Incomparable,
    InertDetails,
    MemoryDetails,
    ObservedGuidance,
    OutputDetails,
    RatioDetails,
    TimeDetails,
    Unjudged,
    UnrecordedArgument,
    WorkDetails,
)
from pytest_diffbench.report.sentences import common, guidance, memory, output, time, work

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_diffbench.records import Verdict


def worded(verdict: Verdict) -> Verdict:
    """A verdict with its message, and with a line for each change that the message doesn't name."""
    match verdict.details:
        case Unjudged() as details:
            message, changes = common.unjudged(verdict, details)
        case Incomparable() as details:
            message, changes = common.incomparable(verdict, details), []
        case InertDetails() | WorkDetails() as details:
            message, changes = work.message(verdict.reason, details), work.changes(verdict.reason, details)
        case GuidanceDetails() as details:
            message, changes = guidance.message(verdict.reason, details), guidance.changes(verdict.reason, details)
        case ObservedGuidance() as details:
            message, changes = guidance.observed(verdict.reason, details)
        case UnrecordedArgument() as details:
            message, changes = guidance.unrecorded(details), []
        case MemoryDetails() as details:
            message, changes = memory.message(verdict.reason, details), memory.changes(details)
        case TimeDetails() as details:
            message, changes = time.message(verdict.reason, details), time.changes(verdict.reason, details)
        case RatioDetails() as details:
            message, changes = (
                time.ratio_message(verdict.reason, details),
                time.ratio_changes(verdict.reason, details),
            )
        case OutputDetails() as details:
            message, changes = output.message(verdict.reason, details), output.changes(verdict.reason, details)
        case _:
            message, changes = verdict.message, list(verdict.changes)
    if verdict.baseline_fault:
        message = f"{message} {guidance.faults_of_baseline(verdict.baseline_fault)}"
    return msgspec.structs.replace(verdict, message=message, changes=tuple(changes))


def all_worded(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """Several verdicts with their messages."""
    return tuple(map(worded, verdicts))
