"""What a call of a full-size pipeline would compute, without its weights."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from pytest_diffbench.records.base import Bytes, Count, Fact, Record, Seconds
from pytest_diffbench.records.guidance import Guidance
from pytest_diffbench.records.work import Work

PLAN_SCHEMA = 1
"""Version of what `diffbench plan --json` writes."""


class Roofline(Record, frozen=True, kw_only=True):
    """The published peaks that times are derived from.

    Each operation is taken to run alone, to read its arguments and write its results once, and to reach the peak of
    its arithmetic or of the memory, whichever takes longer. Nothing else takes time. It's a bound, not a prediction.
    """

    device: str
    flops_per_s_16: Annotated[float, Meta(gt=0)]
    """Dense bfloat16 and float16."""

    flops_per_s_32: Annotated[float, Meta(gt=0)]
    bytes_per_s: Annotated[float, Meta(gt=0)]
    memory_bytes: Bytes
    source: str


class PartPlan(Record, frozen=True, kw_only=True):
    """A component over the whole call; `pipeline` is what lies between the components.

    Attributes:
        name: of the component, as in `Work.component_calls`.
        calls: of it.
        flops: as counted by torch's formulas.
        attention_flops: of them, those within attention layers, projections included.
        parameters: None for what has none of its own, or none that another part hasn't told.
        weights_bytes: of the parameters in their dtype.
        activations_peak_bytes: an estimate: the most bytes of large tensors that were alive at once while it ran,
            those of its callers included, weights not. Without the allocator's rounding and kernels' workspaces.
        text_tokens: of a text encoder, the most tokens that one text had.
        roofline_s: None where no device was named.
    """

    name: str
    calls: Count
    flops: Count
    attention_flops: Count
    parameters: Count | None
    weights_bytes: Bytes | None
    activations_peak_bytes: Bytes
    text_tokens: Count | None = None
    roofline_s: Seconds | None = None


class PipelinePlan(Record, frozen=True, kw_only=True):
    """A planned call.

    Attributes:
        source: name of the model, or the folder that its configuration was read from.
        pipeline: class of the pipeline.
        dtype: of the parameters.
        arguments: those of the call that were given or recommended.
        tokens: by component and branch, as `transformer cond`: the longest sequence that an attention looked at.
        software: versions of the libraries whose code ran.
        notes: what wasn't planned, and why.
    """

    schema: int = PLAN_SCHEMA
    source: str
    pipeline: str
    dtype: str
    arguments: dict[str, Any]
    work: Work
    guidance: Guidance | None
    parts: tuple[PartPlan, ...]
    tokens: dict[str, Count]
    roofline: Roofline | None = None
    software: dict[str, Fact]
    notes: tuple[str, ...] = ()

    @property
    def weights_bytes(self) -> int:
        """Of all components."""
        return sum(part.weights_bytes or 0 for part in self.parts)

    @property
    def roofline_s(self) -> float | None:
        """Least time of the whole call."""
        times = [part.roofline_s for part in self.parts]
        known = [time_s for time_s in times if time_s is not None]
        return sum(known) if known and len(known) == len(times) else None
