"""The figures behind verdicts: one struct a gate, and those of gates that had nothing to judge.

No words stand in them: `report.sentences` makes messages from these.
"""

from __future__ import annotations

from pytest_diffbench.records.details.common import FieldChange, Incomparable, Unjudged
from pytest_diffbench.records.details.guidance import (
    Contradiction,
    FaultKind,
    GroupChange,
    GuidanceDetails,
    GuidanceFault,
    InertArgument,
    InertCause,
    ObservedGuidance,
    RenormKind,
    UnreadQuantity,
    UnrecordedArgument,
)
from pytest_diffbench.records.details.memory import MemoryDetails, StageMemoryChange
from pytest_diffbench.records.details.work import (
    CountChange,
    Direction,
    InputChange,
    WorkDetails,
    WorkDifference,
    WorkKind,
)

__all__ = [
    "Contradiction",
    "CountChange",
    "Direction",
    "FaultKind",
    "FieldChange",
    "GroupChange",
    "GuidanceDetails",
    "GuidanceFault",
    "Incomparable",
    "InertArgument",
    "InertCause",
    "InputChange",
    "MemoryDetails",
    "ObservedGuidance",
    "RenormKind",
    "StageMemoryChange",
    "Unjudged",
    "UnreadQuantity",
    "UnrecordedArgument",
    "WorkDetails",
    "WorkDifference",
    "WorkKind",
]
