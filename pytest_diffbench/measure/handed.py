"""Numbers and tensors that components are handed, by name."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_MOST_SIGMAS = 1001
"""A schedule of training has that many, and isn't the call's."""


def number(value: Any) -> float | None:
    """A number, or a tensor of one; None of anything else."""
    import torch

    single = isinstance(value, torch.Tensor) and value.numel() == 1
    return float(value) if single or isinstance(value, (int, float)) else None


def numbers(values: list[float | None]) -> tuple[float, ...]:
    """All of them, or none where one is missing or isn't finite."""
    usable = tuple(value for value in values if value is not None and math.isfinite(value))
    return usable if len(usable) == len(values) else ()


def sigmas_of(scheduler: Any) -> list[float | None]:
    """The schedule of a scheduler; empty where it has none for the call."""
    import torch

    sigmas = getattr(scheduler, "sigmas", None)
    if type(sigmas) is not torch.Tensor or sigmas.ndim != 1 or len(sigmas) > _MOST_SIGMAS:
        return []
    return list(sigmas.tolist())


def tokens_read(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> frozenset[int]:
    """Distinct tokens of the one text that a text encoder is handed; none where there are several texts."""
    tokens = tensor_arguments(module, args, kwargs).get("input_ids")
    if tokens is None or tokens.ndim != 2 or len(tokens) != 1:
        return frozenset()
    return frozenset(tokens.flatten().tolist())


def tensor_arguments(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Tensor arguments by name, one level into dicts and lists."""
    import torch

    plain = getattr(module, "_orig_mod", module)  # inside what torch.compile(module) returned
    names = [name for name in inspect.signature(type(plain).forward).parameters if name != "self"]
    named = {names[i] if i < len(names) else f"argument_{i}": value for i, value in enumerate(args)}
    flat: dict[str, Any] = {}
    for name, value in (named | kwargs).items():
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": inner for key, inner in value.items()}
        elif isinstance(value, (list, tuple)):
            flat |= {f"{name}.{i}": inner for i, inner in enumerate(value)}
        else:
            flat[name] = value
    return {name: value for name, value in flat.items() if isinstance(value, torch.Tensor)}
