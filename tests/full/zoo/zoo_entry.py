"""What the table of the zoo is made of: a line for each class, and what its call is handed."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
from typing import TYPE_CHECKING, Any

import torch
from tiny_parts import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import PIL.Image

STEPS = 2
SIDE_PX = 64
SCALE = 4.0

VIDEO_TOKENS = 16
"""Of a prompt for a video: the classes' own limits are hundreds, padded."""

LEFT_OUT = ...
"""In place of the value of an argument that a call isn't to get."""


def multiply_argument(pipeline: Any, scale: str, by: float) -> None:
    """Let a pipeline mix with a multiple of the scale that it is asked for, unseen from outside of its call."""
    sound = type(pipeline)

    @functools.wraps(sound.__call__)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return sound.__call__(self, *args, **kwargs | {scale: kwargs[scale] * by})

    pipeline.__class__ = type(sound.__name__, (sound,), {"__call__": call, "__module__": sound.__module__})


def multiply_attribute_of_guider(pipeline: Any, scale: str, by: float) -> None:
    """The same of a pipeline that has its scale from a guider, and not from the call."""
    setattr(pipeline.guider, scale, getattr(pipeline.guider, scale) * by)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A class of the zoo.

    Attributes:
        build: makes a pipeline with random weights.
        call: arguments beside those that every call of a class with such parameters gets, or functions that make
            them; `LEFT_OUT` for one that it would get.
        scales: arguments that say how strong guidance is. Each must turn the guidance gate red where it isn't what
            the call asked for; empty where predictions aren't mixed.
        kind: of the output: `image`, or the name of a kind.
        no_guidance: why there are no scales.
        draws: what of a call draws from torch's global generator, although it is handed one: a second run differs.
        no_steps: no scheduler steps, so that nothing is known of guidance.
        break_scale: lets a pipeline use a multiple of a scale, by its name, unseen from outside.
    """

    build: Callable[[], Any]
    call: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    scales: tuple[str, ...] = ("guidance_scale",)
    kind: str = "image"
    no_guidance: str = ""
    draws: str = ""
    no_steps: bool = False
    break_scale: Callable[[Any, str, float], None] = multiply_argument


@functools.cache
def photograph(side_px: int = SIDE_PX) -> PIL.Image.Image:
    """A picture with slopes, an edge and texture."""
    import numpy as np
    import PIL.Image

    y, x = np.mgrid[0:side_px, 0:side_px] / side_px
    colours = np.stack([x, y, 0.5 + 0.4 * np.sin(9 * x * y)], axis=-1)
    colours[(x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.05] = (0.9, 0.1, 0.2)
    return PIL.Image.fromarray((255 * colours).astype("uint8"))


@functools.cache
def mask(side_px: int = SIDE_PX) -> PIL.Image.Image:
    """White where something is to be painted: the right half."""
    import PIL.Image

    picture = PIL.Image.new("L", (side_px, side_px))
    picture.paste(255, (side_px // 2, 0, side_px, side_px))
    return picture


def film(frames: int = 5, side_px: int = 32) -> list[PIL.Image.Image]:
    """The photograph, moving to the right."""
    from PIL import ImageChops

    return [ImageChops.offset(photograph(side_px), 2 * frame, 0) for frame in range(frames)]


_GIVEN: dict[str, Callable[[], Any]] = {
    "prompt": lambda: "a red circle",
    "negative_prompt": lambda: "a green cross",
    "num_inference_steps": lambda: STEPS,
    "height": lambda: SIDE_PX,
    "width": lambda: SIDE_PX,
    "image": photograph,
    "mask_image": mask,
    "control_image": photograph,
    "control_mask": mask,
    "strength": lambda: 1.0,
    "use_resolution_binning": lambda: False,
}
"""By the name of a parameter."""


def arguments(entry: Entry, pipeline: Any) -> dict[str, Any]:
    """What the call of a class is handed: what it has parameters for, guided where it has scales."""
    accepted = inspect.signature(pipeline.__call__).parameters
    given = {name: make() for name, make in _GIVEN.items() if name in accepted and name not in entry.call}
    if entry.kind == "video" and "max_sequence_length" in accepted:
        given["max_sequence_length"] = VIDEO_TOKENS
    asked = given | {name: SCALE for name in entry.scales if name in accepted}
    own = {name: value() if callable(value) else value for name, value in entry.call.items()}
    return asked | {name: value for name, value in own.items() if value is not LEFT_OUT}


def build(entry: Entry) -> Any:
    """A pipeline, ready to be measured; torch's random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return quiet(entry.build())


def derived(kind: str, base: Callable[[], Any], **further: Any) -> Callable[[], Any]:
    """A builder of a class that consists of another's parts and some of its own.

    Args:
        kind: name of the class, with its module before it, `module:name`, where the package hides it.
        base: builds the pipeline that the parts are taken from.
        further: parts beside them or in their place, or functions of the other pipeline that make them.
    """

    def make() -> Any:
        import diffusers

        module, _, name_of_class = kind.rpartition(":")
        target: Any = getattr(importlib.import_module(module) if module else diffusers, name_of_class)
        accepted = inspect.signature(target.__init__).parameters
        source = base()
        components = {name: part for name, part in source.components.items() if name in accepted}
        for name, part in further.items():  # in their order, which the weights that are drawn depend on
            if name in accepted:
                components[name] = part(source) if callable(part) and not isinstance(part, torch.nn.Module) else part
        return target(**components)

    return make
