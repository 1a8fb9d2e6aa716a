"""What guidance did, step by step."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from msgspec import Meta

from pytest_diffbench.records.base import Branch, Fact, JointOrder, Record
from pytest_diffbench.records.work import format_steps

if TYPE_CHECKING:
    from collections.abc import Iterable

_SCALE_REL = 1e-3
"""Relative error of reading a scale, at least: what decides is whether it's another one."""


Used: TypeAlias = Literal["guided", "reused", "cond", "uncond", "unknown"]
"""What the scheduler's input is made of: both branches; the conditional prediction and the difference of branches of
an earlier step; one branch alone; or nothing that is known."""


class GuidanceStep(Record, frozen=True, kw_only=True):
    """What one step really did, derived from the denoiser's predictions and from what the scheduler was handed.

    With c and u the conditional and unconditional predictions and o the scheduler's input, every row along the last
    axis is fitted by least squares as `o = a (u + w (c - u))`.

    Attributes:
        branches: in the order of the calls.
        used: what the scheduler's input is made of.
        sign: of o against the prediction that it is made of; 0 where it isn't known.
        scale: median w; of a step that reused the difference d of an earlier one, `o = c + (w - 1) d`.
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
    used: Used
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


Renorm: TypeAlias = Literal["none", "rows", "other", "unknown"]
"""What became of the norms: none are touched, each row has the conditional prediction's, or something else."""

_ALIKE_EPS = 64
"""Norms and gains count as 1 within so many roundings of the predictions."""


class GuidanceGroup(Record, frozen=True, kw_only=True):
    """Steps that did the same: what is kept of guidance in a baseline.

    Attributes:
        steps: as ranges, `0-14,20`.
        branches: in the order of the calls.
        used: what the scheduler's input is made of.
        sign: of the scheduler's input against it; 0 where it isn't known.
        scale: median over the steps; None where it couldn't be read.
        renorm: of guided steps.
    """

    steps: str
    branches: tuple[Branch, ...]
    used: Used
    sign: Literal[-1, 0, 1]
    scale: float | None = None
    renorm: Renorm = "unknown"


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

    def groups(self) -> tuple[GuidanceGroup, ...]:
        """The steps by what they did; scales that differ by more than rounding part them."""
        grouped: list[tuple[GuidanceStep, list[int]]] = []
        for number, step in enumerate(self.steps):
            alike = next((numbers for first, numbers in grouped if self._did_alike(first, step)), None)
            if alike is None:
                grouped.append((step, [number]))
            else:
                alike.append(number)
        return tuple(
            GuidanceGroup(
                steps=format_steps(numbers),
                branches=first.branches,
                used=first.used,
                sign=first.sign,
                scale=_median(self.steps[number].scale for number in numbers),
                renorm=self._renorm_of(first),
            )
            for first, numbers in grouped
        )

    def scale_tolerance(self, scale: float) -> float:
        """By how much two readings of one scale may differ."""
        return max(_ALIKE_EPS * self.dtype_eps, _SCALE_REL) * max(1.0, abs(scale))

    def _did_alike(self, left: GuidanceStep, right: GuidanceStep) -> bool:
        kinds = [(step.branches, step.used, step.sign, self._renorm_of(step)) for step in (left, right)]
        if kinds[0] != kinds[1] or (left.scale is None) != (right.scale is None):
            return False
        if left.scale is None or right.scale is None:
            return True
        return abs(left.scale - right.scale) <= self.scale_tolerance(left.scale)

    def _renorm_of(self, step: GuidanceStep) -> Renorm:
        if step.used != "guided" or step.gain_min is None or step.gain_max is None:
            return "unknown"
        allowed_rel = max(_ALIKE_EPS * self.dtype_eps, _SCALE_REL)
        ratios = [ratio for ratio in (step.norm_ratio_min, step.norm_ratio_max) if ratio is not None]
        if all(abs(gain - 1) <= allowed_rel for gain in (step.gain_min, step.gain_max)):
            return "none"
        return "rows" if ratios and all(abs(ratio - 1) <= allowed_rel for ratio in ratios) else "other"


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
