"""Numbers and tensors that components are handed, by name."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_diffbench.measure.branches import sample_name

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


def tokens_of(module: Any, arguments: Mapping[str, torch.Tensor]) -> int:
    """Positions of one sample that a call of a denoiser computes.

    Of latents (batch, channels, [frames,] height, width) that is the product of the sides, over those of a patch
    where the module's configuration has one; frames may stand before the channels. Of tokens (batch, tokens,
    features) it is their number.

    Args:
        module: the denoiser.
        arguments: its tensor arguments, by name; a list of samples stands as `x.0`, `x.1`, without a batch.

    Returns:
        The number; 0 where no argument is named as a sample.
    """
    name = sample_name(arguments)
    tensor = arguments.get(name, arguments.get(f"{name}.0"))
    if not name or tensor is None:
        return 0
    sides = list(tensor.shape if name not in arguments else tensor.shape[1:])
    if len(sides) < 3:
        return sides[0] if len(sides) == 2 else 1
    config = getattr(getattr(module, "_orig_mod", module), "config", None)
    channels = _setting(config, "in_channels")
    sides.pop(1 if channels in sides[1:2] and channels not in sides[:1] and len(sides) == 4 else 0)
    patch = _patch(config, len(sides))
    return math.prod(-(-side // length) for side, length in zip(sides, patch, strict=True))


def _patch(config: Any, axes: int) -> tuple[int, ...]:
    """Sides of a patch, frames first where there are any; 1 where a configuration has none."""
    patch = _setting(config, "patch_size")
    if isinstance(patch, int):
        deep = _setting(config, "patch_size_t")
        sides: tuple[int, ...] = (deep if isinstance(deep, int) else 1, patch, patch)
    else:
        sides = tuple(patch) if isinstance(patch, (list, tuple)) else ()
    sides = (1,) * (axes - len(sides)) + sides
    return sides[-axes:]


def _setting(config: Any, name: str) -> Any:
    return config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)
