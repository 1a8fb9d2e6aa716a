"""What a step really did: deriving guidance from predictions and from what the scheduler was handed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pytest_diffbench.records import Branch, GuidanceStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray

_EXPLAINED_EPS = 2
"""A prediction explains the scheduler's input when they differ by no more roundings than this: a copy or a cast."""

_FITTED_REL = 0.5
"""Share of the scheduler's input that a fit of both branches may leave unexplained. Rounding leaves up to .004, a
rescaling along another axis about .2; an unrelated tensor leaves at least .9 on rows of 16."""

_PARALLEL_EPS = 1e-9
"""Below this determinant, relative to the norms, a row can't tell the branches apart."""


def derive_step(predictions: Sequence[tuple[Branch, torch.Tensor]], model_output: torch.Tensor) -> GuidanceStep:
    """Find out which predictions the scheduler's input is made of, and how.

    With c and u the conditional and unconditional prediction and o the scheduler's input, every row along the last
    axis is fitted by least squares with o = a (u + w (c - u)): w is the guidance scale, a what renormalisation or
    any other rescaling did to the row. A row-wise gain leaves w untouched, so the scale is found with renorm on too.

    A joint prediction holds both branches one after the other in its batch, the unconditional first as in diffusers;
    where only the other order gives a positive scale, it is taken the other way round. Of a prediction with twice the
    channels (a learned variance behind it) the first half is the prediction.

    Args:
        predictions: branch and prediction of each denoiser call of the step, in order; shapes as `model_output`, a
            `joint` one with twice the batch.
        model_output: what the scheduler's `step` was handed.
    """
    branches = tuple(branch for branch, _ in predictions)
    tolerance = _EXPLAINED_EPS * _eps(model_output)
    o = _double(model_output)
    known: dict[Branch, NDArray[np.float64]] = {}
    for branch, tensor in predictions:
        batch = len(model_output) * (2 if branch == "joint" else 1)
        prediction = _without_variance(tensor, model_output)
        if prediction.shape == (batch, *model_output.shape[1:]):
            known[branch] = _double(prediction)
    if "joint" not in known:
        return _derive(branches, o, known.get("cond"), known.get("uncond"), tolerance)
    first, second = known["joint"][: len(o)], known["joint"][len(o) :]
    step = _derive(branches, o, second, first, tolerance)
    if step.scale is not None and step.scale < 0:
        swapped = _derive(branches, o, first, second, tolerance)
        return swapped if swapped.scale is not None and swapped.scale > 0 else step
    return step


def _derive(
    branches: tuple[Branch, ...],
    o: NDArray[np.float64],
    c: NDArray[np.float64] | None,
    u: NDArray[np.float64] | None,
    tolerance: float,
) -> GuidanceStep:
    norm_o = _norm(o)
    if norm_o == 0 or not _finite(o):
        return GuidanceStep(branches=branches, used="unknown", sign=0)
    ratios = _norm_ratios(o, c)
    for used, prediction in (("cond", c), ("uncond", u)):
        if prediction is None:
            continue
        for sign in (-1, 1):
            residual = _norm(o - sign * prediction) / norm_o
            if residual <= tolerance:
                return _step(branches, used, sign, ratios, scale=None, gains=(1.0, 1.0), residual=residual)  # type: ignore[arg-type]  # literals, from the tuples above
    if c is None or u is None or not _finite(c) or not _finite(u):
        return GuidanceStep(branches=branches, used="unknown", sign=0)
    return _fit(branches, o, c, u, ratios)


def _fit(
    branches: tuple[Branch, ...],
    o: NDArray[np.float64],
    c: NDArray[np.float64],
    u: NDArray[np.float64],
    ratios: tuple[float, float] | None,
) -> GuidanceStep:
    import numpy as np

    d = c - u
    uu, dd, ud = (np.sum(x * y, axis=-1) for x, y in ((u, u), (d, d), (u, d)))
    uo, do = np.sum(u * o, axis=-1), np.sum(d * o, axis=-1)
    determinant = uu * dd - ud * ud
    sound = determinant > _PARALLEL_EPS * uu * dd
    if not sound.any():
        return GuidanceStep(branches=branches, used="unknown", sign=0)
    safe = np.where(sound, determinant, 1.0)
    a = (uo * dd - do * ud) / safe
    b = (do * uu - uo * ud) / safe
    residual = _norm((o - a[..., None] * u - b[..., None] * d)[sound]) / _norm(o[sound])
    usable = sound & (np.abs(a) > 1e-6 * np.abs(b))
    if residual > _FITTED_REL or not usable.any():
        return GuidanceStep(branches=branches, used="unknown", sign=0, residual_rel=residual)
    gains = np.abs(a[usable])
    sign: Literal[-1, 0, 1] = -1 if np.median(a[usable]) < 0 else 1
    # The rows with the most to say decide: weak rows are all rounding.
    strong = usable & (dd >= np.median(dd[usable]))
    scale = float(np.median(b[strong] / a[strong]))
    low, high = (float(x) for x in np.quantile(gains, (0.05, 0.95)))
    return _step(branches, "guided", sign, ratios, scale=scale, gains=(low, high), residual=residual)


def _step(
    branches: tuple[Branch, ...],
    used: Literal["guided", "cond", "uncond"],
    sign: Literal[-1, 0, 1],
    ratios: tuple[float, float] | None,
    *,
    scale: float | None,
    gains: tuple[float, float],
    residual: float,
) -> GuidanceStep:
    return GuidanceStep(
        branches=branches,
        used=used,
        sign=sign,
        scale=scale,
        gain_min=gains[0],
        gain_max=gains[1],
        norm_ratio_min=ratios[0] if ratios else None,
        norm_ratio_max=ratios[1] if ratios else None,
        residual_rel=residual,
    )


def _norm_ratios(o: NDArray[np.float64], c: NDArray[np.float64] | None) -> tuple[float, float] | None:
    import numpy as np

    if c is None:
        return None
    of_o, of_c = np.linalg.norm(o, axis=-1), np.linalg.norm(c, axis=-1)
    if not (of_c > 0).all():
        return None
    ratios = of_o / of_c
    return float(ratios.min()), float(ratios.max())


def _without_variance(prediction: torch.Tensor, model_output: torch.Tensor) -> torch.Tensor:
    if prediction.ndim == model_output.ndim > 1 and prediction.shape[1] == 2 * model_output.shape[1]:
        return prediction[:, : model_output.shape[1]]
    return prediction


def _eps(tensor: torch.Tensor) -> float:
    import torch

    return torch.finfo(tensor.dtype).eps if tensor.is_floating_point() else 1.0


def _double(tensor: torch.Tensor) -> NDArray[np.float64]:
    import torch

    # Widened on the host: the device's memory is being watched.
    array: NDArray[np.float64] = tensor.detach().to("cpu").to(torch.float64).numpy()
    return array


def _norm(array: NDArray[np.float64]) -> float:
    import numpy as np

    return float(np.linalg.norm(array.ravel()))


def _finite(array: NDArray[np.float64]) -> bool:
    import numpy as np

    return bool(np.isfinite(array).all())
