"""The plain data that flows from measuring to judging to reporting.

Every record is frozen and slotted, is written to and read from JSON as it stands, and refuses unknown fields.
Units stand in names: seconds `_s`, bytes `_bytes`, decibels `_db`, shares and relative differences `_rel`.
Arrays never stand in a record; they travel beside it, see `artifacts`.
"""

from __future__ import annotations

from pytest_diffbench.records.acceptance import MOST_ACCEPTANCES, Acceptance
from pytest_diffbench.records.base import (
    DECISIONS,
    GATES,
    STAGES,
    Branch,
    Bytes,
    Compile,
    Count,
    Decision,
    Distance,
    Fact,
    Gate,
    JointOrder,
    Offload,
    PositiveCount,
    PositiveSeconds,
    Record,
    Seconds,
    Stage,
    Weights,
)
from pytest_diffbench.records.case import Case, Definition, Environment, PipelineSpec, Tuning
from pytest_diffbench.records.comparison import (
    Comparison,
    ImageDifference,
    PromptFigures,
    Ratio,
    RatioRun,
    Speedup,
    Tier,
    VariantReport,
)
from pytest_diffbench.records.engagement import Engagement, EngagementKind
from pytest_diffbench.records.guidance import Guidance, GuidanceGroup, GuidanceStep
from pytest_diffbench.records.origin import (
    MOST_FIRST_TIMES,
    FirstTime,
    ImageSketch,
    Origin,
    OriginDistance,
    PartSketch,
)
from pytest_diffbench.records.output import (
    ImageFacts,
    Memory,
    Output,
    RerunNoise,
    StageMemory,
    TensorFacts,
    ToleranceChange,
)
from pytest_diffbench.records.parts import ArrayFacts, PartDefect, PartFacts, PartNoise
from pytest_diffbench.records.plan import PLAN_SCHEMA, PartPlan, PipelinePlan, Roofline
from pytest_diffbench.records.probe import WRONG, Probe, Suspicion
from pytest_diffbench.records.profile import Operator, Profile
from pytest_diffbench.records.reports import (
    BASELINE_SCHEMA,
    SESSION_SCHEMA,
    Baseline,
    CaseReport,
    Observation,
    SaveOutcome,
    SessionReport,
    Skipped,
    Verdict,
    baseline_of,
)
from pytest_diffbench.records.run import Efficiency, LayerTimes, Round, Run
from pytest_diffbench.records.telemetry import Telemetry, Warmup
from pytest_diffbench.records.thresholds import Thresholds
from pytest_diffbench.records.verification import Check, OutputDistance, Verification
from pytest_diffbench.records.work import ATTENTION, MASKED_ATTENTION, CallGroup, Work, format_steps, parse_steps

__all__ = [
    "ATTENTION",
    "BASELINE_SCHEMA",
    "DECISIONS",
    "GATES",
    "MASKED_ATTENTION",
    "MOST_ACCEPTANCES",
    "MOST_FIRST_TIMES",
    "PLAN_SCHEMA",
    "SESSION_SCHEMA",
    "STAGES",
    "WRONG",
    "Acceptance",
    "ArrayFacts",
    "Baseline",
    "Branch",
    "Bytes",
    "CallGroup",
    "Case",
    "CaseReport",
    "Check",
    "Comparison",
    "Compile",
    "Count",
    "Decision",
    "Definition",
    "Distance",
    "Efficiency",
    "Engagement",
    "EngagementKind",
    "Environment",
    "Fact",
    "FirstTime",
    "Gate",
    "Guidance",
    "GuidanceGroup",
    "GuidanceStep",
    "ImageDifference",
    "ImageFacts",
    "ImageSketch",
    "JointOrder",
    "LayerTimes",
    "Memory",
    "Observation",
    "Offload",
    "Operator",
    "Origin",
    "OriginDistance",
    "Output",
    "OutputDistance",
    "PartDefect",
    "PartFacts",
    "PartNoise",
    "PartPlan",
    "PartSketch",
    "PipelinePlan",
    "PipelineSpec",
    "PositiveCount",
    "PositiveSeconds",
    "Probe",
    "Profile",
    "PromptFigures",
    "Ratio",
    "RatioRun",
    "Record",
    "RerunNoise",
    "Roofline",
    "Round",
    "Run",
    "SaveOutcome",
    "Seconds",
    "SessionReport",
    "Skipped",
    "Speedup",
    "Stage",
    "StageMemory",
    "Suspicion",
    "Telemetry",
    "TensorFacts",
    "Thresholds",
    "Tier",
    "ToleranceChange",
    "Tuning",
    "VariantReport",
    "Verdict",
    "Verification",
    "Warmup",
    "Weights",
    "Work",
    "baseline_of",
    "format_steps",
    "parse_steps",
]
