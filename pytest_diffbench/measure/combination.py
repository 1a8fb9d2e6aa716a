"""Reading how predictions are combined where they reach the scheduler in another form: by a linear fit.

Many pipelines do more between the denoiser and `scheduler.step` than mixing two predictions of the same shape: they
unpack tokens, drop the frames that are given, fold frames into the batch, mix three or four predictions, or turn a
velocity into a clean sample with the latents and back. All of that is linear in predictions and latents, and the same
for each element, so a handful of coefficients explains thousands of elements, or nothing does.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import msgspec

from pytest_diffbench.measure.predictions import cosine, double, norm, norm_ratios
from pytest_diffbench.records import GuidanceStep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from pytest_diffbench.records import Branch, JointOrder

    Array = NDArray[np.float64]
    Layout = Callable[[torch.Tensor, tuple[int, ...]], torch.Tensor | None]

_EXPLAINED_EPS = 8
"""A combination explains the scheduler's input but for so many roundings, or `_EXPLAINED_REL` of it."""

_EXPLAINED_REL = 1e-3
"""Turning a velocity into a clean sample at a large sigma takes the difference of large numbers."""

_DETERMINED = 1e-13
"""Least eigenvalue of the Gram matrix of unit columns: below it, coefficients can't be told apart."""

_NEGLIGIBLE_REL = 1e-5
"""A term with less of the scheduler's input than that, beyond rounding, takes no part in it."""

_VIDEO_NDIM = 5
"""Batch, channels, frames, height, width."""

_PATCHES = ((1, 1), (1, 2), (2, 1), (2, 2), (1, 4))
"""Frames and pixels of a patch's sides that a token stands for."""


_SINGLE_BRANCH_REL = 1e-4
"""A scale that is so near to 1 or to 0 uses one branch alone."""

_CANCELLED_REL = 1e-3
"""Coefficients whose sum is less than that, relative to the largest, mix differences alone."""


@dataclasses.dataclass(frozen=True, slots=True)
class Term:
    """A prediction, in the shape of the scheduler's input.

    Attributes:
        branch: of it; `unknown` where its call had others in its batch, and none says which.
        array: its values.
        coefficient: with which it enters the scheduler's input.
    """

    branch: Branch
    array: Array
    coefficient: float


@dataclasses.dataclass(frozen=True, slots=True)
class Combination:
    """What the scheduler's input o is: the sum of terms, and of the latents x: `o = sum of a_i p_i + b x`.

    Attributes:
        terms: predictions that differ, in the order of calls and within their batches.
        latents: b; 0 where latents take no part.
        residual_rel: norm of what is left over, over the norm of o.
        model_output: o.
    """

    terms: tuple[Term, ...]
    latents: float
    residual_rel: float
    model_output: Array

    @property
    def total(self) -> float:
        """The sum of the coefficients of predictions."""
        return sum(term.coefficient for term in self.terms)

    def of(self, branch: Branch) -> Term | None:
        """The only term of a branch; None where there is none, or several."""
        terms = [term for term in self.terms if term.branch == branch]
        return terms[0] if len(terms) == 1 else None


def combination_of(
    predictions: Sequence[tuple[Branch, torch.Tensor]],
    model_output: torch.Tensor,
    latents: torch.Tensor | None,
    order: JointOrder | None = None,
) -> Combination | None:
    """Fit the scheduler's input by predictions and latents, in whichever layout explains it.

    Args:
        predictions: branch and prediction of each denoiser call, in order.
        model_output: what the scheduler's `step` was handed, of at least one axis.
        latents: the sample that it was handed beside it; None where that isn't known.
        order: of the branches in a joint prediction.

    Returns:
        The combination, None where none explains the input but for rounding, or where several would.
    """
    import torch

    if not model_output.is_floating_point() or not bool(torch.isfinite(model_output).all()):
        return None
    output, beside = _halved(model_output, latents)
    eps = max(torch.finfo(tensor.dtype).eps for _, tensor in predictions if tensor.is_floating_point())
    allowed_rel = max(_EXPLAINED_EPS * max(eps, torch.finfo(output.dtype).eps), _EXPLAINED_REL)
    for layout in _layouts(output):
        terms = list(_terms(predictions, tuple(output.shape), layout, order))
        if (
            terms
            and (fitted := _fitted(terms, double(output), (None if beside is None else double(beside)), allowed_rel))
            is not None
        ):
            return fitted
        if terms and output.ndim == _VIDEO_NDIM:
            fitted = _behind_given_frames(
                terms, double(output), (None if beside is None else double(beside)), allowed_rel
            )
            if fitted is not None:
                return fitted
    return None


def step_of(fitted: Combination, branches: tuple[Branch, ...], order: JointOrder | None) -> GuidanceStep:
    """The step as a combination tells it: by branches where there are both or one, else by shares.

    Args:
        fitted: the combination.
        branches: of the calls, in order.
        order: of the branches in a joint prediction; where it isn't known, the one that gives a positive scale.
    """
    total, largest = fitted.total, max(abs(term.coefficient) for term in fitted.terms)
    cond, uncond = fitted.of("cond"), fitted.of("uncond")
    known = {term.branch for term in fitted.terms} <= {"cond", "uncond"} and len(fitted.terms) <= 2
    step = GuidanceStep(
        branches=branches,
        used="unknown",
        sign=-1 if total < 0 else 1,
        residual_rel=fitted.residual_rel,
        converted=bool(fitted.latents),
    )
    if abs(total) <= _CANCELLED_REL * largest:
        shares = tuple(term.coefficient for term in fitted.terms)
        return msgspec.structs.replace(step, used="mixed", sign=0, shares=shares)
    if not known or (cond is None and uncond is None):
        shares = tuple(term.coefficient / total for term in fitted.terms)
        if len(shares) == 1:
            return msgspec.structs.replace(step, sign=0)
        return msgspec.structs.replace(step, used="mixed", shares=shares)
    if cond is None or uncond is None:
        return msgspec.structs.replace(step, used="uncond" if cond is None else "cond")
    scale = cond.coefficient / total
    if abs(scale - 1) <= _SINGLE_BRANCH_REL or abs(scale) <= _SINGLE_BRANCH_REL:
        return msgspec.structs.replace(step, used="uncond" if abs(scale) < 0.5 else "cond")
    guessed: JointOrder | None = None
    if "joint" in branches and order is None:
        guessed = "cond_uncond" if scale < 0 else "uncond_cond"
        scale = 1 - scale if scale < 0 else scale
    gain = None if fitted.latents else abs(total)
    c = (cond if guessed != "cond_uncond" else uncond).array
    ratios = norm_ratios(fitted.model_output, c) if gain is not None else None
    return msgspec.structs.replace(
        step,
        used="guided",
        scale=scale,
        gain_min=gain,
        gain_max=gain,
        norm_ratio_min=ratios[0] if ratios else None,
        norm_ratio_max=ratios[1] if ratios else None,
        cosine=cosine(cond.array, uncond.array),
        joint_order=guessed,
    )


def handed_apart(predictions: Sequence[tuple[Branch, torch.Tensor]], model_output: torch.Tensor) -> bool:
    """Whether the scheduler was handed the predictions of several calls in one batch, unmixed.

    So do pipelines that let it turn both branches into clean samples, and mix those.
    """
    tensors = [tensor for _, tensor in predictions]
    if len(tensors) < 2 or sum(map(len, tensors)) != len(model_output):
        return False
    if any(tensor.shape[1:] != model_output.shape[1:] for tensor in tensors):
        return False
    import torch

    return any(torch.cat(some).equal(model_output) for some in itertools.permutations(tensors[:3]))


def _behind_given_frames(
    terms: Sequence[tuple[Branch, Array]], output: Array, latents: Array | None, allowed_rel: float
) -> Combination | None:
    """The same for a video without its first frames: what is given there takes the place of predictions."""
    for first in range(1, output.shape[2] // 2 + 1):
        behind = [(branch, array[:, :, first:]) for branch, array in terms]
        beside = latents[:, :, first:] if latents is not None else None
        if (fitted := _fitted(behind, output[:, :, first:], beside, allowed_rel)) is not None:
            return fitted
    return None


def _halved(output: torch.Tensor, latents: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Both without their second half, where the halves are copies of each other."""
    half = len(output) // 2
    copies = half > 0 and len(output) % 2 == 0 and output[:half].equal(output[half:])
    beside = latents if latents is not None and latents.shape == output.shape else None
    if not copies:
        return output, beside
    return output[:half], None if beside is None else beside[:half]


def _layouts(output: torch.Tensor) -> Iterator[Layout]:
    """Ways from a prediction of one batch to the shape of the scheduler's input, the simplest first."""
    yield _unchanged
    yield _folded
    for last in (False, True):
        yield lambda tensor, shape, last=last: _sliced(tensor, shape, last=last)  # type: ignore[misc]  # mypy reads no defaults
    if output.ndim in (4, 5):
        for patch in _PATCHES:
            for last in (True, False):
                yield lambda tensor, shape, patch=patch, last=last: _unpacked(tensor, shape, patch, last=last)  # type: ignore[misc]  # as above
    if output.ndim == 4:
        for frame in range(64):  # frames that have a scheduler each; the first that isn't there ends it
            yield lambda tensor, shape, frame=frame: _frame(tensor, shape, frame)  # type: ignore[misc]  # as above


def _unchanged(tensor: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor | None:
    """The same but for axes of length 1, and for further channels behind."""
    if tensor.ndim == len(shape) > 1 and tensor.shape[1] > shape[1] and tensor.shape[2:] == shape[2:]:
        tensor = tensor[:, : shape[1]]
    own_sides, sides = ([side for side in of if side != 1] for of in (tensor.shape, shape))
    return tensor.reshape(shape) if own_sides == sides else None


def _folded(tensor: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor | None:
    """Frames that stand in the batch: (1, C, F, H, W) as (F, C, H, W)."""
    if tensor.ndim != 5 or len(shape) != 4 or tensor.shape[0] * tensor.shape[2] != shape[0]:
        return None
    moved = tensor.movedim(2, 1).flatten(0, 1)
    return moved if tuple(moved.shape) == shape else None


def _sliced(tensor: torch.Tensor, shape: tuple[int, ...], *, last: bool) -> torch.Tensor | None:
    """With fewer entries along one axis behind the batch: those at its beginning or end."""
    if tensor.ndim != len(shape):
        return None
    axes = [axis for axis in range(len(shape)) if tensor.shape[axis] != shape[axis]]
    if len(axes) != 1 or axes[0] == 0 or tensor.shape[axes[0]] < shape[axes[0]]:
        return None
    whole, kept = tensor.shape[axes[0]], shape[axes[0]]
    return tensor.narrow(axes[0], whole - kept if last else 0, kept)


def _unpacked(
    tensor: torch.Tensor, shape: tuple[int, ...], patch: tuple[int, int], *, last: bool
) -> torch.Tensor | None:
    """Tokens (B, F H W, C) as (B, C, F, H, W), with all frames or those at an end; each stands for a patch."""
    if tensor.ndim != 3 or len(tensor) != shape[0]:
        return None
    channels, height, width = shape[1], shape[-2], shape[-1]
    frames = shape[2] if len(shape) == 5 else 1
    deep, side = patch
    if height % side or width % side or tensor.shape[2] != channels * deep * side * side:
        return None
    area = (height // side) * (width // side)
    if tensor.shape[1] % area or tensor.shape[1] // area * deep < frames:
        return None
    grid = tensor.reshape(len(tensor), -1, height // side, width // side, channels, deep, side, side)
    video = grid.permute(0, 4, 1, 5, 2, 6, 3, 7).reshape(len(tensor), channels, -1, height, width)
    video = video[:, :, -frames:] if last else video[:, :, :frames]
    return video.reshape(shape)


def _frame(tensor: torch.Tensor, shape: tuple[int, ...], frame: int) -> torch.Tensor | None:
    """A single frame of (B, C, F, H, W)."""
    if tensor.ndim != 5 or frame >= tensor.shape[2]:
        return None
    return tensor[:, :, frame] if tuple(tensor[:, :, frame].shape) == shape else None


def _terms(
    predictions: Sequence[tuple[Branch, torch.Tensor]],
    shape: tuple[int, ...],
    layout: Layout,
    order: JointOrder | None,
) -> Iterator[tuple[Branch, Array]]:
    """The predictions that can take part, each sample's apart, without those that repeat another."""
    kept: list[torch.Tensor] = []
    for branch, tensor in predictions:
        for size in dict.fromkeys((shape[0], 1)):
            if len(tensor) % size:
                continue
            arrays = [layout(part, shape) for part in tensor.split(size)]
            if any(array is None for array in arrays):
                continue
            for name, array in zip(_branches(branch, len(arrays), order), arrays, strict=True):
                assert array is not None  # checked above
                if not any(other.equal(array) for other in kept):
                    kept.append(array)
                    yield name, double(array)
            break


def _branches(branch: Branch, count: int, order: JointOrder | None) -> tuple[Branch, ...]:
    """Of each sample in a call's batch."""
    if branch == "joint" and count == 2:
        return ("cond", "uncond") if order == "cond_uncond" else ("uncond", "cond")
    return (branch if count == 1 else "unknown",) * count


def _fitted(
    terms: Sequence[tuple[Branch, Array]], output: Array, latents: Array | None, allowed_rel: float
) -> Combination | None:
    """Fit the first prediction, the differences of the others from it, and, where those fail, the latents too."""
    first = terms[0][1]
    columns = [first, *(array - first for _, array in terms[1:])]
    for beside in [None] if latents is None else [None, latents]:
        fit = _least_squares(columns if beside is None else [*columns, beside], output)
        if fit is None or fit[1] > allowed_rel:
            continue
        numbers, residual_rel = fit
        own = numbers[: len(columns)]
        coefficients = [own[0] - sum(own[1:]), *own[1:]]
        if not any(
            abs(number) * norm(array) > _NEGLIGIBLE_REL * norm(output)
            for number, array in zip(coefficients, (array for _, array in terms), strict=True)
        ):
            return None
        return Combination(
            terms=tuple(
                Term(branch, array, number) for (branch, array), number in zip(terms, coefficients, strict=True)
            ),
            latents=0.0 if beside is None else numbers[-1],
            residual_rel=residual_rel,
            model_output=output,
        )
    return None


def _least_squares(columns: Sequence[Array], output: Array) -> tuple[list[float], float] | None:
    """Coefficients and residual, relative; None where they aren't determined."""
    import numpy as np

    norms = [norm(column) for column in columns]
    size = norm(output)
    if not size > 0 or not all(norm > 0 and np.isfinite(norm) for norm in norms) or output.size < 2 * len(columns):
        return None
    units = [column.ravel() / norm for column, norm in zip(columns, norms, strict=True)]
    gram = np.array([[left @ right for right in units] for left in units])
    values, vectors = np.linalg.eigh(gram)
    if values[0] < _DETERMINED:
        return None
    right = np.array([unit @ output.ravel() for unit in units])
    solved = vectors @ ((vectors.T @ right) / values)
    residual = norm(output.ravel() - sum(number * unit for number, unit in zip(solved, units, strict=True)))
    return [float(number / norm) for number, norm in zip(solved, norms, strict=True)], residual / size
