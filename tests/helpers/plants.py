"""The ways to break a real pipeline for a while: replace a line of its call, a method, or some weights.

Each returns a plant: a function of the pipeline that gives a context manager, which puts everything back.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import operator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from broken_pipelines import broken_method
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fault_subjects import Plant
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Put something in the place of an attribute of an object, past what its class would make of it."""
    own = vars(owner)
    had, before = name in own, own.get(name)
    object.__setattr__(owner, name, value)
    try:
        yield
    finally:
        if had:
            object.__setattr__(owner, name, before)
        else:
            object.__delattr__(owner, name)


@contextlib.contextmanager
def replaced_in_class(owner: type, name: str, value: Any) -> Iterator[None]:
    """As `replaced`, of a class: whose attributes can't be set past its metaclass."""
    sound = vars(owner)[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, sound)


def line(*changes: tuple[str, str], method: str = "__call__") -> Plant:
    """Replace pieces of the source of a method of the pipeline, each of which must stand in it exactly once."""

    @contextlib.contextmanager
    def plant(pipeline: Any) -> Iterator[None]:
        sound = type(pipeline)
        broken = broken_method(sound, method, *changes)
        pipeline.__class__ = type(sound.__name__, (sound,), {method: broken, "__module__": sound.__module__})
        try:
            yield
        finally:
            pipeline.__class__ = sound

    return plant


def after(path: str, change: Callable[[torch.Tensor], torch.Tensor], *, call: int | None = None) -> Plant:
    """Change what a method returns.

    Args:
        path: from the pipeline, such as `vae.decode`.
        change: of its first tensor.
        call: which of its calls, from 0 in each call of the pipeline; None for all.
    """

    @contextlib.contextmanager
    def plant(pipeline: Any) -> Iterator[None]:
        owner, name = _owner(pipeline, path)
        sound, encode = getattr(owner, name), pipeline.encode_prompt
        number = -1

        @functools.wraps(encode)
        def beginning(*args: Any, **kwargs: Any) -> Any:  # each call of a pipeline encodes before all else
            nonlocal number
            number = -1
            return encode(*args, **kwargs)

        @functools.wraps(sound)
        def broken(*args: Any, **kwargs: Any) -> Any:
            nonlocal number
            number += 1
            output = sound(*args, **kwargs)
            return _with_first(output, change) if call in (None, number) else output

        with replaced(pipeline, "encode_prompt", beginning), replaced(owner, name, broken):
            yield

    return plant


def _with_first(output: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if isinstance(output, torch.Tensor):
        return change(output)
    if isinstance(output, tuple):
        return (change(output[0]), *output[1:])
    name = next(iter(output.keys()))
    output[name] = change(output[name])
    return output


def _owner(pipeline: Any, path: str) -> tuple[Any, str]:
    before, _, name = path.rpartition(".")
    return (operator.attrgetter(before)(pipeline) if before else pipeline), name


def image(change: Callable[[Pixels], Pixels]) -> Plant:
    """Change the finished pictures, behind the decoder."""

    @contextlib.contextmanager
    def plant(pipeline: Any) -> Iterator[None]:
        sound = pipeline.image_processor.postprocess

        def broken(*args: Any, **kwargs: Any) -> Any:
            return [Image.fromarray(change(np.asarray(image))) for image in sound(*args, **kwargs)]

        with replaced(pipeline.image_processor, "postprocess", broken):
            yield

    return plant


def argument(path: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Plant:
    """Change the keyword arguments of a method."""

    @contextlib.contextmanager
    def plant(pipeline: Any) -> Iterator[None]:
        owner, name = _owner(pipeline, path)
        sound = getattr(owner, name)

        @functools.wraps(sound)
        def broken(*args: Any, **kwargs: Any) -> Any:
            return sound(*args, **change(kwargs))

        with replaced(owner, name, broken):
            yield

    return plant


def embedding(number: int, change: Callable[[torch.Tensor], torch.Tensor]) -> Plant:
    """Change one of the tensors that `encode_prompt` returns, by its place among them."""

    @contextlib.contextmanager
    def plant(pipeline: Any) -> Iterator[None]:
        sound = pipeline.encode_prompt

        @functools.wraps(sound)
        def broken(*args: Any, **kwargs: Any) -> Any:
            outputs = list(sound(*args, **kwargs))
            outputs[number] = change(outputs[number])
            return tuple(outputs)

        with replaced(pipeline, "encode_prompt", broken):
            yield

    return plant


def prompt(change: Callable[[str], str]) -> Plant:
    """Change the prompt before it is encoded; the pipeline's arguments stay as they are."""

    @contextlib.contextmanager
    def plant(pipeline: Any) -> Iterator[None]:
        sound = pipeline.encode_prompt

        @functools.wraps(sound)
        def broken(*args: Any, **kwargs: Any) -> Any:
            if args:
                args = (change(args[0]), *args[1:])
            else:
                kwargs |= {"prompt": change(kwargs["prompt"])}
            return sound(*args, **kwargs)

        with replaced(pipeline, "encode_prompt", broken):
            yield

    return plant


def weights(path: str, change: Callable[[torch.Tensor], object]) -> Plant:
    """Change a parameter in place; `change` is called without gradients, and its result isn't used."""

    @contextlib.contextmanager
    def plant(pipeline: Any) -> Iterator[None]:
        parameter = operator.attrgetter(path)(pipeline)
        kept = parameter.detach().clone()
        with torch.no_grad():
            change(parameter)
        try:
            yield
        finally:
            with torch.no_grad():
                parameter.copy_(kept)

    return plant


def head_zeroed(path: str, heads: int) -> Plant:
    """Lose the first head of an attention: the columns of its output projection that read it become 0."""

    def zero(weight: torch.Tensor) -> object:
        return weight[:, : weight.shape[1] // heads].zero_()

    return weights(path, zero)


def skipped(path: str) -> Plant:
    """Let a layer hand on what it is given."""

    @contextlib.contextmanager
    def plant(pipeline: Any) -> Iterator[None]:
        layer = operator.attrgetter(path)(pipeline)
        with replaced(layer, "forward", lambda hidden_states, *_args, **_kwargs: hidden_states):
            yield

    return plant


def rounded(component: str, dtype: torch.dtype) -> Plant:
    """Run a component in another precision: its weights and buffers, what it is handed, and what it computes."""

    @contextlib.contextmanager
    def plant(pipeline: Any) -> Iterator[None]:
        sound = getattr(pipeline, component)
        before = next(sound.parameters()).dtype
        lower = copy.deepcopy(sound).to(dtype)
        forward = lower.forward

        @functools.wraps(forward)
        def cast_forward(*args: Any, **kwargs: Any) -> Any:
            output = forward(*_cast(args, dtype), **{name: _cast(value, dtype) for name, value in kwargs.items()})
            return _cast(output, before)

        # what the pipeline asks a text encoder for, to cast its embeddings
        kind = type(sound)
        lower.__class__ = type(kind.__name__, (kind,), {"dtype": before, "__module__": kind.__module__})
        setattr(pipeline, component, lower)
        try:
            with replaced(lower, "forward", cast_forward):
                yield
        finally:
            setattr(pipeline, component, sound)

    return plant


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, tuple):
        return tuple(_cast(item, dtype) for item in value)
    if isinstance(value, dict):
        for key in list(value):
            value[key] = _cast(value[key], dtype)
    return value


def scheduler(**settings: Any) -> Plant:
    """Give the pipeline a scheduler with other settings."""

    @contextlib.contextmanager
    def plant(pipeline: Any) -> Iterator[None]:
        sound = pipeline.scheduler
        pipeline.scheduler = type(sound).from_config(sound.config, **settings)
        try:
            yield
        finally:
            pipeline.scheduler = sound

    return plant


def schedule(change: Callable[[Any], object]) -> Plant:
    """Change the scheduler once its steps are set; `change` is handed the scheduler."""

    @contextlib.contextmanager
    def plant(pipeline: Any) -> Iterator[None]:
        sound = pipeline.scheduler.set_timesteps

        @functools.wraps(sound)
        def broken(*args: Any, **kwargs: Any) -> None:
            sound(*args, **kwargs)
            change(pipeline.scheduler)

        with replaced(pipeline.scheduler, "set_timesteps", broken):
            yield

    return plant


def tiled(tile_px: int) -> Plant:
    """Decode in tiles that don't overlap."""

    @contextlib.contextmanager
    def plant(pipeline: Any) -> Iterator[None]:
        vae = pipeline.vae
        names = ("tile_sample_min_size", "tile_latent_min_size", "tile_overlap_factor", "use_tiling")
        with contextlib.ExitStack() as undo:
            for name, value in zip(names, (tile_px, tile_px // 8, 0.0, True), strict=True):
                undo.enter_context(replaced(vae, name, value))
            yield

    return plant


def sloppy_generator() -> Plant:
    """Draw the initial noise from a generator that nobody seeded."""
    seeds = iter(range(1000, 2000))
    return argument_of_noise(lambda: torch.Generator().manual_seed(next(seeds)))


def argument_of_noise(make: Callable[[], torch.Generator]) -> Plant:
    """Draw the initial noise from another generator."""

    @contextlib.contextmanager
    def plant(pipeline: Any) -> Iterator[None]:
        sound = pipeline.prepare_latents

        @functools.wraps(sound)
        def broken(*args: Any, **kwargs: Any) -> Any:
            other = make()
            args = tuple(other if isinstance(argument, torch.Generator) else argument for argument in args)
            return sound(*args, **{k: other if isinstance(v, torch.Generator) else v for k, v in kwargs.items()})

        with replaced(pipeline, "prepare_latents", broken):
            yield

    return plant


def levels(pixels: Pixels, change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Pixels:
    """Compute on a picture in floating point."""
    return np.clip(np.rint(change(pixels.astype(np.float64))), 0, 255).astype(np.uint8)


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    """Send a picture through JPEG."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))
