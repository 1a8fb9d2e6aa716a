"""Compact, comparable traces of the tensors that flow through a pipeline."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

SKETCH_SIZE = 256
WHOLE_TENSOR_LIMIT_BYTES = 1 << 20
"""Final latents up to this size (as float32) are kept whole."""


def sketch(tensor: torch.Tensor) -> NDArray[np.float32]:
    """Project a tensor to `SKETCH_SIZE` numbers such that distances survive.

    A count sketch (Charikar, Chen, Farach-Colton 2002): each element is added, with a fixed pseudo-random sign, to
    one fixed pseudo-random bucket. The squared norm of a sketch is an unbiased estimate of the tensor's, with a
    relative standard deviation of about sqrt(2 / SKETCH_SIZE); the map is linear, so the same holds for differences.
    Position in the flattened tensor decides sign and bucket, the same on every machine.

    Args:
        tensor: any shape, any real dtype, any device (copied to the host: this synchronises).

    Returns:
        float32 array of shape (SKETCH_SIZE,).
    """
    import numpy as np

    flat = to_numpy(tensor).ravel().astype(np.float64)
    buckets, signs = _buckets_and_signs(flat.size)
    return np.bincount(buckets, weights=signs * flat, minlength=SKETCH_SIZE).astype(np.float32)


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
            found = first_tensor(part)
            if found is not None:
                return found
        return None
    # Model outputs that aren't dicts keep their tensor under one of these names.
    for name in ("prev_sample", "sample", "latent_dist"):
        if isinstance(getattr(value, name, None), torch.Tensor):
            tensor: torch.Tensor = getattr(value, name)
            return tensor
    return None


def tensors_in(value: Any) -> list[torch.Tensor]:
    """All tensors in a tuple, list, dict or model output, in order."""
    import torch

    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else ()
    return [tensor for part in parts for tensor in tensors_in(part)]


@lru_cache(maxsize=8)
def _buckets_and_signs(size: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    import numpy as np

    # splitmix64's finaliser: plain integer arithmetic, so that no library's generator can change it.
    with np.errstate(over="ignore"):
        mixed = (np.arange(size, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    buckets = (mixed % np.uint64(SKETCH_SIZE)).astype(np.int64)
    signs = np.where(mixed >> np.uint64(63), 1.0, -1.0)
    return buckets, signs
