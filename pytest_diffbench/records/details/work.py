"""The figures behind verdicts on work."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pytest_diffbench.records.base import Count, Record
from pytest_diffbench.records.details.common import FieldChange
from pytest_diffbench.records.details.guidance import GuidanceFault
from pytest_diffbench.records.work import Engagement

Direction: TypeAlias = Literal["more", "less", "other"]
"""Which way something went; `other` is a change that is neither more nor less, such as shapes with equal FLOPs."""

WorkKind: TypeAlias = Literal[
    "steps",
    "schedule",
    "branches",
    "denoiser_calls",
    "component_calls",
    "shapes",
    "parameters",
    "uncounted",
    "flops",
    "attention_mask",
    "compiled",
    "operators",
    "python_calls",
    "attention_parameters",
]
"""What of the work differs; but for the last, which isn't judged, the second half of a reason code."""


class CountChange(Record, frozen=True, kw_only=True):
    """How often something was done in the baseline, and now."""

    name: str
    before: Count
    after: Count


class InputChange(Record, frozen=True, kw_only=True):
    """A tensor argument of the denoiser's calls that differs; None stands for one that wasn't handed over."""

    name: str
    """Of the argument; `batch` for the size of the batch."""

    what: Literal["batch", "shape", "dtype"]
    before: int | str | tuple[int, ...] | None = None
    after: int | str | tuple[int, ...] | None = None


class WorkDifference(Record, frozen=True, kw_only=True):
    """One thing that differs between two records of work."""

    kind: WorkKind
    direction: Direction
    component: str = ""
    branch: str = ""
    steps: str = ""
    """Steps that it concerns, as ranges."""

    name: str = ""
    """What is counted, where the kind alone doesn't say it: `timesteps`, `graph breaks`."""

    before: float = 0
    """Of calls: at each of the steps; of FLOPs at steps: of each call."""

    after: float = 0
    of_calls: Count = 0
    """Of masks: calls of attention in all."""

    inputs: tuple[InputChange, ...] = ()
    counts: tuple[CountChange, ...] = ()
    """What moved most within it."""

    further_counts: Count = 0
    """Names that moved besides."""


class WorkDetails(Record, frozen=True, kw_only=True, tag="work", tag_field="kind"):
    """Of the work gate; pairs are the baseline's figure and this run's."""

    steps: tuple[int, int]
    denoiser_calls: tuple[int, int]
    flops: tuple[int, int]
    operators: tuple[int, int] = (0, 0)
    python_calls: tuple[int, int] = (0, 0)
    flops_allowed_rel: float
    flops_allowed_for: tuple[FieldChange, ...] = ()
    """Why FLOPs are allowed to differ: another type of device, another torch."""

    operators_allowed_rel: float | None = None
    """None where operators weren't compared."""

    operators_counted: bool = True
    """The baseline has operators; False where it was saved before they were counted."""

    python_calls_allowed_rel: float | None = None
    differences: tuple[WorkDifference, ...] = ()
    """Causes before consequences; those that aren't judged last."""

    baseline_fault: tuple[GuidanceFault, ...] = ()
    """How the baseline's guidance wasn't as requested, where it now is."""


class InertDetails(Record, frozen=True, kw_only=True, tag="inert", tag_field="kind"):
    """Of the work gate, where an optimisation is on that had no part in the call."""

    engagements: tuple[Engagement, ...]
    """Those alone."""

    steps: Count
    """Of the scheduler, in the call."""
