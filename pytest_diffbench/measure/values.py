"""What a call returned as plain arrays on the host, each at its place; and the rates that are stated beside them."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from pytest_diffbench.outputs.kinds import Rates, Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

_VIDEO_RATES = ("fps", "frame_rate", "frames_per_second")
_AUDIO_RATES = ("sampling_rate", "sample_rate", "audio_sample_rate", "output_sampling_rate")
_AUDIO_COMPONENTS = ("vocoder", "vae", "audio_vae", "unet", "mel", "audio_encoder")
"""Components of pipelines that know the rate of the audio that comes out, the last stage first."""

_DEEPEST = 8
"""Levels of what is returned that are looked into: a structure that holds itself has no end."""


def values_in(
    output: Any, *, latents: bool = False, rates: Rates | None = None, without: str | None = None
) -> Iterator[Value]:
    """The arrays, tensors and pictures in what was returned, in order.

    A list whose innermost elements are all arrays or pictures is one value; of dicts, tuples and objects each field
    is looked at by itself.

    Args:
        output: what a call returned. Tensors are copied to the host, which synchronises.
        latents: the call was asked for latents.
        rates: that the call or its target states; those beside a value go first.
        without: name of what is left out, such as images that were read already; the empty one leaves out all.
    """
    if without != "":
        at = Value(name="", content=(), latents=latents, rates=rates or Rates())
        yield from _walk(output, at, _DEEPEST, without)


def arrays_in(value: Value) -> Iterator[tuple[str, NDArray[Any]]]:
    """The arrays of a value, each with the path to it."""
    if value.array is not None:
        yield value.name or "0", value.array
    for element in value.elements:
        yield from arrays_in(element)


def rates_of(target: Any, arguments: Mapping[str, Any]) -> Rates:
    """What a pipeline's arguments and components state of the rates of what it returns."""
    components = getattr(target, "components", None)
    parts = components if isinstance(components, dict) else {}
    audio_hz = None
    for name in _AUDIO_COMPONENTS:
        part = parts.get(name)
        config = getattr(part, "config", None)
        for attribute in _AUDIO_RATES:
            audio_hz = audio_hz or _hertz(getattr(config, attribute, None)) or _hertz(getattr(part, attribute, None))
    return Rates(video_hz=_first_rate(arguments, _VIDEO_RATES), audio_hz=audio_hz)


def leaf_value(output: Any, name: str) -> Value | None:
    """A single array, tensor or picture as a value; None for anything else."""
    leaf = _leaf(output)
    if leaf is None:
        return None
    array, is_tensor, is_picture = leaf
    return Value(name=name, content=array, channels_first=is_tensor, pictures=is_picture)


def types_in(output: Any) -> str | None:
    """The types in what was returned, for a message: `list of 3 str`; None where nothing was returned."""
    if output is None:
        return None
    if isinstance(output, list | tuple) and type(output) in (list, tuple):
        inner = sorted({type(element).__name__ for element in output})
        return f"{type(output).__name__} of {len(output)} {' and '.join(inner[:3])}".rstrip()
    fields = _fields(output) or _attributes(output)
    if fields:
        return (
            f"{type(output).__name__} of {', '.join(f'{name}: {type(held).__name__}' for name, held in fields[:4])}"
        )
    return type(output).__name__


def _walk(output: Any, at: Value, levels: int, without: str | None) -> Iterator[Value]:
    leaf = _leaf(output)
    if leaf is not None:
        array, is_tensor, is_picture = leaf
        yield dataclasses.replace(
            at, name=at.name or "0", content=array, channels_first=is_tensor, pictures=is_picture
        )
        return
    if levels == 0:
        return
    if isinstance(output, list) and (nested := _nested(output)) is not None:
        content, is_tensor, is_picture = nested
        yield dataclasses.replace(at, content=content, channels_first=is_tensor, pictures=is_picture)
        return
    # the attributes of what is deep inside are nobody's result
    named = _fields(output) or (_attributes(output) if levels == _DEEPEST else [])
    if named:
        stated = dict(named)
        rates = Rates(
            video_hz=_first_rate(stated, _VIDEO_RATES) or at.rates.video_hz,
            audio_hz=_first_rate(stated, _AUDIO_RATES) or at.rates.audio_hz,
        )
        at = dataclasses.replace(at, rates=rates)
    elif isinstance(output, list | tuple):
        named = [(str(number), inner) for number, inner in enumerate(output)]
    for name, inner in named:
        path = f"{at.name}.{name}" if at.name else name
        if path != without:
            yield from _walk(inner, dataclasses.replace(at, name=path), levels - 1, without)


def _fields(output: Any) -> list[tuple[str, Any]]:
    """Fields of a dict, a dataclass or a named tuple."""
    if isinstance(output, dict):
        return [(str(key), inner) for key, inner in output.items()]
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return [(field.name, getattr(output, field.name)) for field in dataclasses.fields(output)]
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return list(zip(output._fields, output, strict=True))
    return []


def _attributes(output: Any) -> list[tuple[str, Any]]:
    """Attributes of an object that holds what it was given."""
    if isinstance(output, list | tuple | type) or callable(output):
        return []
    return [(name, inner) for name, inner in getattr(output, "__dict__", {}).items() if not name.startswith("_")]


def _leaf(output: Any) -> tuple[NDArray[Any], bool, bool] | None:
    """An array, whether it was a tensor, and whether it was a picture; None for what holds others, or no numbers."""
    import numpy as np
    import torch
    from PIL import Image

    if isinstance(output, torch.Tensor):
        host = output.detach().to("cpu").resolve_conj()
        # bfloat16 and smaller have no counterpart in numpy, and complex numbers none in a sketch.
        host = torch.view_as_real(host) if host.is_complex() else host
        host = host.float() if host.is_floating_point() and host.itemsize < 4 else host
        return host.resolve_neg().numpy(), True, False
    if isinstance(output, np.ndarray):
        return (output, False, False) if output.dtype.kind in "fiub" else None
    if isinstance(output, Image.Image):
        deep = output.mode.startswith(("I", "F"))
        plain = output if deep or output.mode in ("L", "RGB", "RGBA") else output.convert("RGB")
        return np.asarray(plain), False, True
    return None


def _nested(output: list[Any]) -> tuple[list[Any], bool, bool] | None:
    """A list of arrays, nested at will; None where anything else is in it, or arrays and pictures are mixed."""
    content: list[Any] = []
    kinds: set[tuple[bool, bool]] = set()
    for element in output:
        inner = _nested(list(element)) if isinstance(element, list | tuple) else _leaf(element)
        if inner is None:
            return None
        content.append(inner[0])
        kinds.add(inner[1:])
    if len(kinds) != 1:
        return None
    is_tensor, is_picture = kinds.pop()
    return content, is_tensor, is_picture


def _first_rate(stated: Mapping[str, Any], names: tuple[str, ...]) -> float | None:
    return next((rate for name in names if (rate := _hertz(stated.get(name))) is not None), None)


def _hertz(rate: Any) -> float | None:
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not math.isfinite(rate):
        return None
    return float(rate) if 0 < rate <= 1e9 else None
