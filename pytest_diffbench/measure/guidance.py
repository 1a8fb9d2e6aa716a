"""What a step really did: deriving guidance from predictions and from what the scheduler was handed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

import msgspec

from pytest_diffbench.measure.combination import combination_of, step_of
from pytest_diffbench.measure.predictions import cosine, double, finite, norm, norm_ratios
from pytest_diffbench.measure.trace import first_tensor
from pytest_diffbench.records import Branch, GuidanceStep

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from pytest_diffbench.records import JointOrder

_EXPLAINED_EPS = 2
"""A prediction explains the scheduler's input when they differ by no more roundings than this: a copy or a cast."""

_FITTED_REL = 0.5
"""Share of the scheduler's input that a fit of both branches may leave unexplained. Rounding leaves up to .004, a
rescaling along another axis about .2; an unrelated tensor leaves at least .9 on rows of 16."""

_ROUNDED_EPS = 4
"""Where a step has calls of which the branch isn't known, a mix of the known ones must explain the scheduler's input
but for so many roundings: what else went into it would leave more."""

_SPAN_REL = 1e-2
"""Scales along an axis vary where they differ by more than that, and those at one place of it by no more."""

_PARALLEL_EPS = 1e-9
"""Below this determinant, relative to the norms, a row can't tell the branches apart."""


def derive_step(
    predictions: Sequence[tuple[Branch, torch.Tensor]],
    model_output: torch.Tensor,
    *,
    order: JointOrder | None = None,
    timestep: float | None = None,
    latents: torch.Tensor | None = None,
) -> GuidanceStep:
    """Find out which predictions the scheduler's input is made of, and how.

    With c and u the conditional and unconditional prediction and o the scheduler's input, every row along the last
    axis is fitted by least squares with o = a (u + w (c - u)): w is the guidance scale, a what renormalisation or
    any other rescaling did to the row. A row-wise gain leaves w untouched, so the scale is found with renorm on too.

    A joint prediction holds both branches one after the other in its batch. Where `order` doesn't say which is
    first, it is the unconditional one, as in most of diffusers, unless only the other order gives a positive scale;
    `joint_order` of the step then tells what was guessed. Of a prediction with twice the channels (a learned variance
    behind it) the first half is the prediction, and where the scheduler's input has them too, behind it, its second
    half is the conditional variance as it is. Of a prediction with more tokens (of a text, of other pictures) those
    at its beginning or at its end are the prediction, whichever explains the scheduler's input. Axes of length 1 that
    only one of the tensors has don't matter.

    Where that explains nothing, or leaves more than rounding, predictions and latents are fitted as a whole
    (`combination`): of two branches the scale is read, of more the share of each.

    Of several calls of a branch that predict something else the first counts, and the others' branch is `unknown`;
    where that explains nothing, the newest counts instead, if it leaves no more than rounding.

    Args:
        predictions: branch and prediction of each denoiser call of the step, in order; shapes as `model_output`, a
            `joint` one with twice the batch. Others, and those of an `unknown` branch, can't be part of the answer;
            where there are any, a mix that leaves more than rounding unexplained is `unknown`.
        model_output: what the scheduler's `step` was handed.
        order: of the branches in a joint prediction, as far as the embeddings of the call tell.
        timestep: what the scheduler's `step` was handed beside it.
        latents: the sample that it was handed as well.
    """
    step = _derive_from(predictions, model_output, order, tokens_last=False)
    if step.used == "unknown" and any(_has_more_tokens(tensor, model_output) for _, tensor in predictions):
        other = _derive_from(predictions, model_output, order, tokens_last=True)
        step = step if other.used == "unknown" else other
    allowed = _rounding(predictions, model_output)
    if step.used == "unknown" and "unknown" in step.branches:
        # What steers the latents by gradients calls a branch anew with each, and takes the newest.
        newest = _derive_from(predictions[::-1], model_output, order, tokens_last=False)
        if newest.used != "unknown" and (newest.residual_rel or 0) <= allowed:
            step = msgspec.structs.replace(newest, branches=newest.branches[::-1])
    if step.used == "unknown" or (step.residual_rel or 0) > allowed:
        fitted = combination_of(predictions, model_output, latents, order)
        if fitted is not None:
            step = step_of(fitted, step.branches, order)
    return msgspec.structs.replace(step, timestep=timestep)


def _rounding(predictions: Sequence[tuple[Branch, torch.Tensor]], model_output: torch.Tensor) -> float:
    """What rounding may leave unexplained, relative."""
    return _ROUNDED_EPS * max(_eps(tensor) for tensor in (model_output, *(tensor for _, tensor in predictions)))


def _derive_from(
    predictions: Sequence[tuple[Branch, torch.Tensor]],
    model_output: torch.Tensor,
    order: JointOrder | None,
    *,
    tokens_last: bool,
) -> GuidanceStep:
    known, branches, all_known = _by_branch(predictions, model_output, tokens_last=tokens_last)
    tolerance = _EXPLAINED_EPS * _eps(model_output)
    o = double(model_output)
    guessed: JointOrder | None = None
    if "joint" not in known:
        step = _derive(branches, o, known.get("cond"), known.get("uncond"), tolerance)
    else:
        halves = known["joint"][: len(o)], known["joint"][len(o) :]
        first, second = halves if order != "cond_uncond" else halves[::-1]
        step = _derive(branches, o, second, first, tolerance)
        if order is None and step.used == "guided":
            guessed = "uncond_cond"
            if step.scale is not None and step.scale < 0:
                swapped = _derive(branches, o, first, second, tolerance)
                if swapped.scale is not None and swapped.scale > 0:
                    step, guessed = swapped, "cond_uncond"
    rounded = _rounding(predictions, model_output)
    if not all_known and step.used == "guided" and not (step.residual_rel or 0) <= rounded:
        step = GuidanceStep(branches=branches, used="unknown", sign=0, residual_rel=step.residual_rel)
    return msgspec.structs.replace(step, joint_order=guessed)


def difference_of(
    predictions: Sequence[tuple[Branch, torch.Tensor]], model_output: torch.Tensor, order: JointOrder | None = None
) -> NDArray[np.float64] | None:
    """What the conditional prediction of a step has beyond the unconditional one; None where it lacks one of them."""
    known, _, _ = _by_branch(predictions, model_output, tokens_last=False)
    if "joint" in known:
        first, second = known["joint"][: len(model_output)], known["joint"][len(model_output) :]
        return first - second if order == "cond_uncond" else second - first
    return known["cond"] - known["uncond"] if {"cond", "uncond"} <= known.keys() else None


def reused_step(
    step: GuidanceStep,
    predictions: Sequence[tuple[Branch, torch.Tensor]],
    model_output: torch.Tensor,
    difference: NDArray[np.float64],
) -> GuidanceStep:
    """Look whether a step that nothing else explains reused the difference d of an earlier one: o = c + (w - 1) d.

    Args:
        step: what was derived from its own predictions.
        predictions: of the step, by branch.
        model_output: what the scheduler's `step` was handed.
        difference: of the conditional and the unconditional prediction of an earlier step.

    Returns:
        The step, or the answer, where o is explained but for rounding.
    """
    known, _, _ = _by_branch(predictions, model_output, tokens_last=False)
    c, o = known.get("cond"), double(model_output)
    size = float((difference * difference).sum())
    if c is None or set(known) != {"cond"} or difference.shape != o.shape or not size > 0 or not finite(o):
        return step
    allowed = _rounding(predictions, model_output)
    for sign in (-1, 1):
        moved = float(((sign * o - c) * difference).sum()) / size
        residual = norm(sign * o - c - moved * difference) / (norm(o) or 1.0)
        if residual <= allowed:
            return msgspec.structs.replace(step, used="reused", sign=sign, scale=1 + moved, residual_rel=residual)
    return step


def prediction_in(output: Any) -> torch.Tensor | None:
    """The prediction in what a denoiser returned; of one that returns its samples as a list, the batch of them."""
    import torch

    first = next(iter(output.values()), None) if isinstance(output, dict) else output
    if isinstance(first, tuple) and first:
        first = first[0]
    if isinstance(first, list) and first and all(isinstance(sample, torch.Tensor) for sample in first):
        return torch.stack(first) if len({sample.shape for sample in first}) == 1 else None
    return first_tensor(output)


def call_class_of(target: object) -> str:
    """Name of the class that a target has its call from: its own, or an ancestor's where it inherits the call."""
    return next(kind.__name__ for kind in type(target).__mro__ if "__call__" in vars(kind))


def _by_branch(
    predictions: Sequence[tuple[Branch, torch.Tensor]], model_output: torch.Tensor, *, tokens_last: bool
) -> tuple[dict[Branch, NDArray[np.float64]], tuple[Branch, ...], bool]:
    """Predictions that can be part of the scheduler's input, the branches as borne out, and whether that is all."""
    known: dict[Branch, NDArray[np.float64]] = {}
    branches: list[Branch] = []
    all_known = True
    for branch, tensor in predictions:
        batch = len(model_output) * (2 if branch == "joint" else 1)
        prediction = _in_shape_of(model_output, tensor, tokens_last=tokens_last)
        if branch == "unknown" or prediction is None or len(prediction) != batch:
            branches.append(branch)
            all_known = False
            continue
        array = double(prediction)
        # A further call of a branch that predicts something else is perturbed in some way, and so no such call.
        alike = branch not in known or bool((known[branch] == array).all())
        branches.append(branch if alike else "unknown")
        all_known &= alike
        if alike:
            known[branch] = array
    return known, tuple(branches), all_known


def _derive(
    branches: tuple[Branch, ...],
    o: NDArray[np.float64],
    c: NDArray[np.float64] | None,
    u: NDArray[np.float64] | None,
    tolerance: float,
) -> GuidanceStep:
    import numpy as np

    if c is not None and u is not None and _has_variance(o, c):
        o, c, u = (array[:, : array.shape[1] // 2] for array in (o, c, u))
    norm_o = norm(o)
    if norm_o == 0 or not finite(o):
        return GuidanceStep(branches=branches, used="unknown", sign=0)
    vectors = _StepVectors(branches, o, c, u)
    for used, prediction in (("cond", c), ("uncond", u)):
        if prediction is None:
            continue
        for sign in (-1, 1):
            residual = norm(o - sign * prediction) / norm_o
            if residual <= tolerance:
                return vectors.step(used, sign, scale=None, gains=np.ones(o.shape[:-1]), residual=residual)  # type: ignore[arg-type]  # literals, from the tuples above
    if c is None or u is None or not finite(c) or not finite(u):
        return GuidanceStep(branches=branches, used="unknown", sign=0)
    return _fit(vectors, o, c, u)


def _has_variance(o: NDArray[np.float64], c: NDArray[np.float64]) -> bool:
    """Whether the second half of the scheduler's input is the conditional prediction's as it is, and the first isn't.

    So do pipelines whose model predicts a variance beside the noise: they guide the noise alone.
    """
    if o.ndim < 3 or o.shape[1] % 2:
        return False
    half = o.shape[1] // 2
    return bool((o[:, half:] == c[:, half:]).all()) and not bool((o[:, :half] == c[:, :half]).all())


def _fit(
    vectors: _StepVectors, o: NDArray[np.float64], c: NDArray[np.float64], u: NDArray[np.float64]
) -> GuidanceStep:
    import numpy as np

    d = c - u
    uu, dd, ud = (np.sum(x * y, axis=-1) for x, y in ((u, u), (d, d), (u, d)))
    uo, do = np.sum(u * o, axis=-1), np.sum(d * o, axis=-1)
    determinant = uu * dd - ud * ud
    sound = determinant > _PARALLEL_EPS * uu * dd
    if not sound.any():
        return GuidanceStep(branches=vectors.branches, used="unknown", sign=0)
    safe = np.where(sound, determinant, 1.0)
    a = (uo * dd - do * ud) / safe
    b = (do * uu - uo * ud) / safe
    residual = norm((o - a[..., None] * u - b[..., None] * d)[sound]) / norm(o[sound])
    usable = sound & (np.abs(a) > 1e-6 * np.abs(b))
    if residual > _FITTED_REL or not usable.any():
        return GuidanceStep(branches=vectors.branches, used="unknown", sign=0, residual_rel=residual)
    sign: Literal[-1, 0, 1] = -1 if np.median(a[usable]) < 0 else 1
    # The rows with the most to say decide: weak rows are all rounding.
    strong = usable & (dd >= np.median(dd[usable]))
    scales = np.where(strong, b, np.nan) / np.where(strong, a, 1.0)
    span = _span(np.where(usable, b, np.nan) / np.where(usable, a, 1.0)) if residual < _SPAN_REL else None
    scale = float(np.nanmedian(scales)) if span is None else (span[0] + span[1]) / 2
    step = vectors.step("guided", sign, scale=scale, gains=np.where(usable, np.abs(a), np.nan), residual=residual)
    return step if span is None else msgspec.structs.replace(step, scale_span=span)


def _span(scales: NDArray[np.float64]) -> tuple[float, float] | None:
    """First and last scale along the axis by which the scales of rows vary, such as frames; None where they don't.

    Args:
        scales: of each row, NaN where it can't be read.
    """
    import numpy as np

    def varies(values: NDArray[np.float64]) -> bool:
        low, high = np.nanquantile(values, (0.05, 0.95))
        return bool(high - low > _SPAN_REL * max(1.0, abs(high)))

    if not varies(scales):
        return None
    for axis in range(scales.ndim):
        others = tuple(other for other in range(scales.ndim) if other != axis)
        if scales.shape[axis] < 2 or np.isnan(scales).all(axis=others).any():
            continue
        along = np.nanmedian(scales, axis=others, keepdims=True)
        if not varies(scales - along):
            return float(along.flat[0]), float(along.flat[-1])
    return None


@dataclasses.dataclass(frozen=True, slots=True)
class _StepVectors:
    """What the answers about a step have in common."""

    branches: tuple[Branch, ...]
    o: NDArray[np.float64]
    c: NDArray[np.float64] | None
    u: NDArray[np.float64] | None

    def step(
        self,
        used: Literal["guided", "cond", "uncond"],
        sign: Literal[-1, 0, 1],
        *,
        scale: float | None,
        gains: NDArray[np.float64],
        residual: float,
    ) -> GuidanceStep:
        """Write the answer. `gains` is |a| of each row, NaN where it couldn't be told."""
        import numpy as np

        ratios = norm_ratios(self.o, self.c)
        samples = self._samples(gains)
        low, high = (float(x) for x in np.nanquantile(gains, (0.05, 0.95)))
        return GuidanceStep(
            branches=self.branches,
            used=used,
            sign=sign,
            scale=scale,
            gain_min=low,
            gain_max=high,
            norm_ratio_min=ratios[0] if ratios else None,
            norm_ratio_max=ratios[1] if ratios else None,
            residual_rel=residual,
            cosine=cosine(self.c, self.u),
            norm_ratio=max((ratio for _, ratio, _ in samples), key=lambda ratio: abs(ratio - 1), default=None),
            samples=samples,
        )

    def _samples(self, gains: NDArray[np.float64]) -> tuple[tuple[float, float, float], ...]:
        import numpy as np

        if self.c is None:
            return ()
        samples = []
        for o, c, gain in zip(self.o, self.c, gains, strict=True):
            if not c.std() > 0 or np.isnan(gain).all():
                return ()
            samples.append((float(np.nanmedian(gain)), norm(o) / norm(c), float(o.std() / c.std())))
        return tuple(samples)


def _has_more_tokens(prediction: torch.Tensor, model_output: torch.Tensor) -> bool:
    """Whether a prediction of shape (batch, tokens, features) has more tokens than the scheduler's input."""
    alike = prediction.ndim == model_output.ndim == 3 and prediction.shape[2] == model_output.shape[2]
    return alike and prediction.shape[1] > model_output.shape[1]


def _in_shape_of(model_output: torch.Tensor, prediction: torch.Tensor, *, tokens_last: bool) -> torch.Tensor | None:
    """A prediction with the shape of the scheduler's input but for its batch; None where it has another."""
    shape = model_output.shape[1:]
    if _has_more_tokens(prediction, model_output):
        tokens = model_output.shape[1]
        prediction = prediction[:, -tokens:] if tokens_last else prediction[:, :tokens]
    elif prediction.ndim == model_output.ndim > 1 and prediction.shape[1] == 2 * model_output.shape[1]:
        prediction = prediction[:, : model_output.shape[1]]
    own_sides, output_sides = ([side for side in sides if side != 1] for sides in (prediction.shape[1:], shape))
    return prediction.reshape(len(prediction), *shape) if own_sides == output_sides else None


def _eps(tensor: torch.Tensor) -> float:
    import torch

    return torch.finfo(tensor.dtype).eps if tensor.is_floating_point() else 1.0
