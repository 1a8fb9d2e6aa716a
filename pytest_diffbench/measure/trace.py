"""Compact, comparable traces of the tensors that flow through a pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_diffbench.outputs.projection import CHUNK, SKETCH_SIZE, signed_buckets

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

WHOLE_TENSOR_LIMIT_BYTES = 1 << 19
"""Final latents up to this size (as float32) are kept whole; with 150 sketches the trace is then 0.7 MB."""


def sketch(tensor: torch.Tensor) -> NDArray[np.float32]:
    """The sketch of `digest` alone."""
    return digest(tensor)[0]


def digest(tensor: torch.Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Project a tensor to `SKETCH_SIZE` numbers such that distances survive, and take its moments.

    As `outputs.projection.project` does, but without a copy of the whole: what is watched is the pipeline's memory,
    not that of watching it. Position in the flattened tensor decides sign and bucket, the same on every machine.

    Moments of the parts are put together as in Chan, Golub, LeVeque 1979, so that a mean far from 0 costs no digits.

    Args:
        tensor: any shape, any real dtype, any device (copied to the host: this synchronises).

    Returns:
        A float32 array of shape (SKETCH_SIZE,), in which values that aren't finite count as 0, and one of shape
        (len(MOMENT_NAMES),) in the order of `artifacts.MOMENT_NAMES`. Both are finite: sizes beyond float32 are
        cut to its largest.
    """
    import numpy as np
    import torch

    flat = tensor.detach().to("cpu").reshape(-1)
    sums = np.zeros(2 * SKETCH_SIZE)
    count, mean, squares, scatter = 0, 0.0, 0.0, 0.0
    low, high = np.inf, -np.inf
    for number, begin in enumerate(range(0, flat.numel(), CHUNK)):
        values = flat[begin : begin + CHUNK].to(torch.float64).numpy()
        finite = np.isfinite(values)
        kept = values[finite]
        sums += np.bincount(
            signed_buckets(number)[: values.size], weights=np.where(finite, values, 0.0), minlength=2 * SKETCH_SIZE
        )
        if not kept.size:
            continue
        gap = float(kept.mean()) - mean
        total = count + kept.size
        scatter += float(np.square(kept - kept.mean()).sum()) + gap * gap * count * kept.size / total
        mean += gap * kept.size / total
        count = total
        squares += float(np.square(kept).sum())
        low, high = min(low, float(kept.min())), max(high, float(kept.max()))
    spread = scatter / count if count else 0.0
    moments = [squares**0.5, mean, spread**0.5, *((low, high) if count else (0.0, 0.0)), flat.numel() - count]
    return _as_float32(sums[:SKETCH_SIZE] - sums[SKETCH_SIZE:]), _as_float32(np.array(moments))


def to_numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    """Copy a tensor to the host as float32 of the same shape. Synchronises."""
    import torch

    # Widened on the host: the device's memory is being watched.
    array: NDArray[np.float32] = tensor.detach().to("cpu").to(torch.float32).numpy()
    return array


def first_tensor(value: Any) -> torch.Tensor | None:
    """The first tensor in what a module or method returned: itself, in a tuple, or in a model output."""
    import torch

    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        for part in value:
            inner = first_tensor(part)
            if inner is not None:
                return inner
        return None
    # Model outputs that aren't dicts keep their tensor under one of these names.
    for name in ("prev_sample", "sample", "latent_dist"):
        if isinstance(getattr(value, name, None), torch.Tensor):
            tensor: torch.Tensor = getattr(value, name)
            return tensor
    return None


def outer_tensors(value: Any) -> list[torch.Tensor]:
    """The tensors that stand in a tuple, list or model output themselves, not in one within: no layers' states."""
    import torch

    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else ()
    return [part for part in parts if isinstance(part, torch.Tensor)]


def tensors_in(value: Any) -> list[torch.Tensor]:
    """All tensors in a tuple, list, dict or model output, in order."""
    import torch

    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else ()
    return [tensor for part in parts for tensor in tensors_in(part)]


def _as_float32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    import numpy as np

    most = np.finfo(np.float32).max
    return np.clip(values, -most, most).astype(np.float32)
