"""The plain data that flows from measuring to judging to reporting.

Every record is frozen and slotted, is written to and read from JSON as it stands, and refuses unknown fields.
Units stand in names: seconds `_s`, bytes `_bytes`, decibels `_db`, shares and relative differences `_rel`.
Arrays never stand in a record; they travel beside it, see `artifacts`.
"""

from __future__ import annotations

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
    as_json,
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
    ArrayFacts,
    ImageFacts,
    Memory,
    Output,
    PartDefect,
    PartFacts,
    PartNoise,
    RerunNoise,
    StageMemory,
    TensorFacts,
    ToleranceChange,
)
from pytest_diffbench.records.plan import PLAN_SCHEMA, PartPlan, PipelinePlan, Roofline
from pytest_diffbench.records.probe import WRONG, Probe, Suspicion
from pytest_diffbench.records.reports import (
    BASELINE_SCHEMA,
    MOST_ACCEPTANCES,
    SESSION_SCHEMA,
    Acceptance,
    Baseline,
    CaseReport,
    Observation,
    SaveOutcome,
    SessionReport,
    Skipped,
    Thresholds,
    Verdict,
    baseline_of,
)
from pytest_diffbench.records.run import Efficiency, LayerTimes, Operator, Profile, Round, Run, Telemetry, Warmup
from pytest_diffbench.records.verification import Check, OutputDistance, Verification
from pytest_diffbench.records.work import (
    ATTENTION,
    MASKED_ATTENTION,
    CallGroup,
    Engagement,
    EngagementKind,
    Work,
    format_steps,
    parse_steps,
)
