"""The figures behind verdicts: one struct a gate, and those of gates that had nothing to judge.

No words stand in them: `report.sentences` makes messages from these.
"""

from __future__ import annotations

from typing import TypeAlias

from pytest_diffbench.records.details.common import (
    FieldChange,
    Incomparable,
    Returned,
    ReturnedPart,
    ReturnedTensor,
    Unjudged,
)
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
from pytest_diffbench.records.details.output import (
    Course,
    ImageLine,
    ImageTile,
    MetricFigure,
    MetricLimit,
    OutputDetails,
    PartFinding,
    PartPlace,
    TensorChange,
    TraceDetails,
    TraceExcess,
    UnmatchedPlace,
)
from pytest_diffbench.records.details.time import (
    Clocks,
    Doubt,
    LeftOut,
    MachineReadings,
    OperatorChange,
    PartTime,
    RatioDetails,
    TimeDetails,
)
from pytest_diffbench.records.details.work import (
    CountChange,
    Direction,
    InertDetails,
    InputChange,
    WorkDetails,
    WorkDifference,
    WorkKind,
)

Details: TypeAlias = (
    GuidanceDetails
    | Incomparable
    | InertDetails
    | MemoryDetails
    | ObservedGuidance
    | OutputDetails
    | RatioDetails
    | TimeDetails
    | Unjudged
    | UnrecordedArgument
    | WorkDetails
)
"""What a verdict holds, told apart by its field `kind`."""
