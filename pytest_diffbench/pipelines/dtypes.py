"""Names of the dtypes that a pipeline can run in."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import PipelineError, did_you_mean

if TYPE_CHECKING:
    import torch

_NAMES = MappingProxyType(
    {
        "float32": "float32",
        "fp32": "float32",
        "bfloat16": "bfloat16",
        "bf16": "bfloat16",
        "float16": "float16",
        "fp16": "float16",
    }
)


def parse_dtype(name: str) -> torch.dtype:
    """Read a dtype's name, long or short.

    Raises:
        PipelineError: no such dtype; the message names those there are, and the nearest.
    """
    import torch

    dtype: torch.dtype = getattr(torch, check_dtype(name))
    return dtype


def check_dtype(name: str) -> str:
    """torch's own name of a dtype. Raises as `parse_dtype` does, and needs no torch."""
    key = name.lower().removeprefix("torch.")
    if key not in _NAMES:
        raise PipelineError(
            f"dtype={name!r} isn't known{did_you_mean(key, _NAMES)}. The dtypes are: {', '.join(_NAMES)}."
        )
    return _NAMES[key]


def dtype_argument(name: str) -> dict[str, Any]:
    """A dtype as the argument of diffusers' loaders.

    The argument's old name is the only one that all versions before 1.0 know; the later ones warn of it.
    """
    import diffusers

    return {"torch_dtype" if diffusers.__version__.startswith("0.") else "dtype": parse_dtype(name)}
