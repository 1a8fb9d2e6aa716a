"""What guidance did, step by step."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from pytest_diffbench.records.base import Branch, Fact, JointOrder, Record


class GuidanceStep(Record, frozen=True, kw_only=True):
    """What one step really did, derived from the denoiser's predictions and from what the scheduler was handed.

    With c and u the conditional and unconditional predictions and o the scheduler's input, every row along the last
    axis is fitted by least squares as `o = a (u + w (c - u))`.

    Attributes:
        branches: in the order of the calls.
        used: what the scheduler's input is made of.
        sign: of o against the prediction that it is made of; 0 where it isn't known.
        scale: median w.
        gain_min: least |a|, a twentieth of the rows aside; `gain_max` the greatest.
        norm_ratio_min: least norm of a row of o over that of the same row of c; `norm_ratio_max` the greatest.
        residual_rel: norm of what the fit leaves unexplained, over the norm of o.
        cosine: between c and u, over all of their elements.
        norm_ratio: norm of o over that of c, in the sample of the batch where it is furthest from 1.
        samples: of each sample the median |a|, and norm and standard deviation of o over those of c.
        joint_order: of the halves of a joint call, guessed from the sign of the scale; None where embeddings told it.
        timestep: the scheduler's.
    """

    branches: tuple[Branch, ...]
    used: Literal["guided", "cond", "uncond", "unknown"]
    sign: Literal[-1, 0, 1]
    scale: float | None = None
    gain_min: float | None = None
    gain_max: float | None = None
    norm_ratio_min: float | None = None
    norm_ratio_max: float | None = None
    residual_rel: float | None = None
    cosine: float | None = None
    norm_ratio: float | None = None
    samples: tuple[tuple[float, float, float], ...] = ()
    joint_order: JointOrder | None = None
    timestep: float | None = None


class Guidance(Record, frozen=True, kw_only=True):
    """What guidance did in the survey round, beside the arguments that should have decided it.

    `arguments` are the call's with the pipeline's defaults filled in (plain values only); `dtype_eps`, the machine
    epsilon of the predictions' dtype, is the unit of rounding; `call_class` is where `pipeline` has its call from.
    """

    pipeline: str
    arguments: dict[str, Fact]
    dtype_eps: Annotated[float, Meta(gt=0)]
    steps: tuple[GuidanceStep, ...]
    call_class: str | None = None

    @property
    def guided_steps(self) -> int:
        """Steps whose scheduler input mixes both branches."""
        return sum(step.used == "guided" for step in self.steps)
