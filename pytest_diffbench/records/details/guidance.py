"""The figures behind verdicts on guidance."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pytest_diffbench.records.base import Count, Fact, Record
from pytest_diffbench.records.guidance import GuidanceGroup

RenormKind: TypeAlias = Literal["none", "rows", "clamp", "std"]

FaultKind: TypeAlias = Literal[
    "step_count",
    "extra_steps",
    "missing_steps",
    "unconditional_used",
    "branch_not_called",
    "branches_swapped",
    "unused_call",
    "sign",
    "scale",
    "renorm_missing",
    "renorm_wrong",
    "renorm_by_row",
    "renorm_uneven",
    "renorm_unasked",
    "gain",
    "gain_uneven",
]

InertCause: TypeAlias = Literal["not_guided", "truncates_no_step", "no_negative_prompt", "not_a_model_input"]


class GuidanceFault(Record, frozen=True, kw_only=True):
    """Steps that do not do what the arguments of the call ask for."""

    kind: FaultKind
    steps: str = ""
    """As ranges, `0-2,5`; empty where their number is the fault."""

    observed: tuple[float, float] | None = None
    """Lowest and highest: of the scale, of ratios of norms or deviations, of gains, of the residual, or a number of
    steps. None where it is not finite, and for faults without a figure."""

    expected: float | None = None
    tolerance: float | None = None
    """Absolute, in the unit of `observed`."""

    renorm: RenormKind = "none"
    """Requested, of a fault of norms."""

    rule: str = ""
    """Why some steps are not to be guided, as the formula writes it: `cfg_trunc_ratio 0.5`."""

    expected_prediction: Literal["guided", "cond"] | None = None
    """Where the unconditional prediction was used instead."""


class UnreadQuantity(Record, frozen=True, kw_only=True):
    """What could not be read of some steps."""

    quantity: Literal["prediction", "scale", "norms", "sign"]
    steps: str


class InertArgument(Record, frozen=True, kw_only=True):
    """An argument that was passed and has no effect."""

    name: str
    value: Fact = None
    """None where only the name matters, as of a prompt."""

    cause: InertCause
    rule: str = ""
    """Why steps are not guided, as the formula writes it."""


class GuidanceDetails(Record, frozen=True, kw_only=True, tag="guidance", tag_field="kind"):
    """Of guidance beside the formula of its pipeline."""

    steps: Count
    guided_steps: Count
    expected_steps: Count
    expected_guided_steps: Count
    denoiser_calls: Count
    predicted_saved_calls_rel: float
    """Share of denoiser calls, against guidance at every step."""

    renorm: bool
    renorm_kind: RenormKind
    renorm_factor: float = 1.0
    norm_ratio: tuple[float, float] | None = None
    """Of guided steps, lowest and highest."""

    norm_ratio_tolerance: float | None = None
    scale: float
    """Requested."""

    scale_tolerance: float | None = None
    dtype_eps: float
    inert: tuple[InertArgument, ...] = ()
    references: dict[str, str] = {}
    """What other implementations would do with the same arguments, by name, as the formula writes it."""

    truncation: str = ""
    """Why some steps are not to be guided, as the formula writes it."""

    faults: tuple[GuidanceFault, ...] = ()
    """The one that names the verdict first."""

    unread: tuple[UnreadQuantity, ...] = ()


class UnrecordedArgument(Record, frozen=True, kw_only=True, tag="guidance_argument", tag_field="kind"):
    """Of a call whose formula needs an argument that was not recorded."""

    argument: str


class GroupChange(Record, frozen=True, kw_only=True):
    """Steps that did something else in the baseline; None on the side where they did not run."""

    steps: str
    before: GuidanceGroup | None = None
    after: GuidanceGroup | None = None


class Contradiction(Record, frozen=True, kw_only=True):
    """Guidance that contradicts the scale passed to the call, whatever the pipeline."""

    kind: Literal["no_guided_step", "unused_branch", "other_scale"]
    """The scale and a negative prompt ask for guidance, and there is none; the scale switches it off, and both
    branches were called; or all steps mix at another scale, or those of a denoiser that has a scale of its own."""

    argument: str
    value: float
    steps: Count = 0
    """In which both branches were called, or another scale was read."""

    component: str = ""
    """The denoiser of such steps, where the pipeline has several."""

    observed: float | None = None
    """Scale of the first of such steps."""


class ObservedGuidance(Record, frozen=True, kw_only=True, tag="guidance_observed", tag_field="kind"):
    """Of guidance that no formula decides, beside the baseline's."""

    groups: tuple[GuidanceGroup, ...] = ()
    changes: tuple[GroupChange, ...] = ()
    contradictions: tuple[Contradiction, ...] = ()
    pipeline: str = ""
    not_covered: str | None = None
    """What the pipeline's formula does not cover, as it writes it."""

    callback: str | None = None
    """Argument through which the caller's own code takes part in each step."""

    faults: tuple[GuidanceFault, ...] = ()
    """How the call differs from the formula, in consequence of the callback."""

    reused_steps: str = ""
    """Steps that reused the difference of branches of an earlier one, as ranges."""

    unread: tuple[UnreadQuantity, ...] = ()
    """Why the pipeline's formula cannot decide, of steps that were read in the baseline."""
