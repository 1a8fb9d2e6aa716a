"""What guidance did, step by step."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from msgspec import Meta

from pytest_diffbench.records.base import Branch, Fact, JointOrder, Record
from pytest_diffbench.records.work import format_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_SCALE_REL = 1e-3
"""Relative error of reading a scale, at least: what decides is whether it's another one."""


Used: TypeAlias = Literal["guided", "mixed", "reused", "cond", "uncond", "unknown"]
"""What the scheduler's input is made of: both branches; several predictions, of more or of other branches; the
conditional prediction and the difference of branches of an earlier step; one branch alone; or nothing that is
known."""


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
        scale_span: first and last scale, where it varies along an axis, as from frame to frame; `scale` is the mean.
        shares: of a mix, the coefficient of each prediction that differs from those before it, in the order of the
            calls and within their batches, over their sum; as they are where that is 0.
        converted: the latents enter the scheduler's input as well, as where it is a clean sample, or a velocity made
            of one. Gains and norms then say nothing, and are None.
        components: the denoisers that were called, where the pipeline has several.
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
    scale_span: tuple[float, float] | None = None
    shares: tuple[float, ...] = ()
    converted: bool = False
    components: tuple[str, ...] = ()


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
        scale_span: first and last scale along an axis, where it varies.
        shares: of each prediction in a mix.
        converted: the latents enter the scheduler's input as well.
        components: the denoisers that were called, where the pipeline has several.
    """

    steps: str
    branches: tuple[Branch, ...]
    used: Used
    sign: Literal[-1, 0, 1]
    scale: float | None = None
    renorm: Renorm = "unknown"
    scale_span: tuple[float, float] | None = None
    shares: tuple[float, ...] = ()
    converted: bool = False
    components: tuple[str, ...] = ()


_Scales: TypeAlias = GuidanceStep | GuidanceGroup


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
        """Steps whose scheduler input mixes both branches, or several predictions."""
        return sum(step.used in ("guided", "mixed") for step in self.steps)

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
                scale_span=first.scale_span,
                shares=first.shares,
                converted=first.converted,
                components=first.components,
            )
            for first, numbers in grouped
        )

    def scale_tolerance(self, scale: float) -> float:
        """By how much two readings of one scale may differ."""
        return max(_ALIKE_EPS * self.dtype_eps, _SCALE_REL) * max(1.0, abs(scale))

    def _did_alike(self, left: GuidanceStep, right: GuidanceStep) -> bool:
        kinds = [
            (step.branches, step.used, step.sign, self._renorm_of(step), step.converted, step.components)
            for step in (left, right)
        ]
        return kinds[0] == kinds[1] and alike(left, right, self.scale_tolerance)

    def _renorm_of(self, step: GuidanceStep) -> Renorm:
        if step.used != "guided" or step.gain_min is None or step.gain_max is None:
            return "unknown"
        allowed_rel = max(_ALIKE_EPS * self.dtype_eps, _SCALE_REL)
        ratios = [ratio for ratio in (step.norm_ratio_min, step.norm_ratio_max) if ratio is not None]
        if all(abs(gain - 1) <= allowed_rel for gain in (step.gain_min, step.gain_max)):
            return "none"
        return "rows" if ratios and all(abs(ratio - 1) <= allowed_rel for ratio in ratios) else "other"


def alike(left: _Scales, right: _Scales, tolerance: Callable[[float], float]) -> bool:
    """Whether the scales, spans and shares of two steps or groups differ by no more than reading them does.

    Args:
        left: a step or a group.
        right: another.
        tolerance: by how much two readings of a scale may differ.
    """
    pairs = [(left.scale, right.scale)]
    pairs += zip(left.scale_span or (None, None), right.scale_span or (None, None), strict=True)
    if len(left.shares) != len(right.shares):
        return False
    pairs += zip(left.shares, right.shares, strict=True)
    return all(
        before is after if before is None or after is None else abs(before - after) <= tolerance(before)
        for before, after in pairs
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
