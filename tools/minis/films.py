"""Draws what the video mini learns: a coloured shape that moves over a coloured ground, and captions that say so.

A film is a scene of `pictures` with a single object, which moves at a steady pace in one of four directions, through
the middle of the frame. Lengths are those of the scenes: `pictures.SIDE_PX` to a side, whatever the frames' size.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

import numpy as np

from minis import pictures

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE_PX = 64
"""Of a frame."""

FRAMES = 17
"""One frame, then four for each further latent one."""

SHAPES = ("circle", "square", "triangle")
"""Of `pictures.SHAPES`: what a model of this size learns in an hour, besides how things move."""

DIRECTIONS: dict[str, tuple[int, int]] = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
"""Steps in x and y, which runs downwards."""

_RADIUS_PX = 27.0
_WAY_PX = 54.0
"""From the first frame to the last; half of it lies before the middle of the frame."""

_WOBBLE_PX, _WAY_WOBBLE_PX = 3.0, 5.0
"""Largest deviation of a coordinate, and of the way; of a radius, a third of the former."""


@dataclasses.dataclass(frozen=True, slots=True)
class Film:
    """A moving object.

    Attributes:
        middle: the scene as it is halfway, of one object.
        direction: one of `DIRECTIONS`.
        way_px: how far the object moves.
    """

    middle: pictures.Scene
    direction: str
    way_px: float


def film(rng: np.random.Generator) -> Film:
    """Draw a film by lot."""
    ground, colour = (str(name) for name in rng.permutation(list(pictures.COLOURS))[:2])
    dx, dy, more, further = rng.uniform(-1.0, 1.0, size=4)
    drawn_object = pictures.DrawnObject(
        shape=str(rng.choice(SHAPES)),
        colour=colour,
        x_px=float(pictures.SIDE_PX / 2 + _WOBBLE_PX * dx),
        y_px=float(pictures.SIDE_PX / 2 + _WOBBLE_PX * dy),
        radius_px=float(_RADIUS_PX + _WOBBLE_PX / 3 * more),
    )
    direction = str(rng.choice(list(DIRECTIONS)))
    return Film(pictures.Scene((drawn_object,), ground), direction, float(_WAY_PX + _WAY_WOBBLE_PX * further))


def scene_at(drawn: Film, frame: int) -> pictures.Scene:
    """Give the scene of a frame, from 0 to `FRAMES - 1`."""
    (drawn_object,) = drawn.middle.objects
    shift_px = drawn.way_px * (frame / (FRAMES - 1) - 0.5)
    step_x, step_y = DIRECTIONS[drawn.direction]
    moved = dataclasses.replace(
        drawn_object, x_px=drawn_object.x_px + step_x * shift_px, y_px=drawn_object.y_px + step_y * shift_px
    )
    return pictures.Scene((moved,), drawn.middle.ground)


def draw(
    drawn: Film,
    rng: np.random.Generator | None = None,
    *,
    contrast: float = 1.0,
    any_colour: bool = False,
    frames: range = range(FRAMES),
) -> NDArray[np.uint8]:
    """Draw a film.

    Args:
        drawn: what to draw.
        rng: jitters each colour a little, alike in all frames; None draws the exact colours.
        contrast: as `pictures.draw` has it.
        any_colour: as `pictures.draw` has it.
        frames: which of them.

    Returns:
        Shape (frames, `SIDE_PX`, `SIDE_PX`, 3).
    """
    seed = None if rng is None else int(rng.integers(2**32))
    return np.stack(
        [
            pictures.draw(
                scene_at(drawn, frame),
                "flat",
                None if seed is None else np.random.default_rng(seed),
                contrast=contrast,
                any_colour=any_colour,
                side_px=SIDE_PX,
            )
            for frame in frames
        ]
    )


def caption(drawn: Film, rng: np.random.Generator) -> str:
    """Say what is in a film, in one of several ways."""
    (drawn_object,) = drawn.middle.objects
    noun = f"{drawn_object.colour} {drawn_object.shape}"
    chance = rng.random()
    if chance < 0.1:
        return f"{noun} moving {drawn.direction}, {drawn.middle.ground} background"
    noun = f"{pictures.article(noun)} {noun} moving {drawn.direction}"
    ground = f"{pictures.article(drawn.middle.ground)} {drawn.middle.ground} background"
    if chance > 0.97:
        return noun
    return f"a video of {noun} on {ground}" if chance > 0.92 else f"{noun} on {ground}"


def misnamed(drawn: Film, rng: np.random.Generator) -> Film:
    """Change a film to what a careless caption would say of it: mostly not at all."""
    (drawn_object,) = drawn.middle.objects
    colours = tuple(pictures.COLOURS)
    said = dataclasses.replace(
        drawn_object,
        shape=pictures.careless("shape", drawn_object.shape, SHAPES, rng),
        colour=pictures.careless("colour", drawn_object.colour, colours, rng),
    )
    ground = pictures.careless("ground", drawn.middle.ground, colours, rng)
    direction = pictures.careless("direction", drawn.direction, tuple(DIRECTIONS), rng)
    return Film(pictures.Scene((said,), ground), direction, drawn.way_px)


def held_out(drawn: Film) -> bool:
    """Whether a film is kept from training: a tenth of all combinations of shape, colours and direction."""
    (drawn_object,) = drawn.middle.objects
    facts = (drawn_object.shape, drawn_object.colour, drawn.middle.ground, drawn.direction)
    return hashlib.sha256(repr(facts).encode()).digest()[0] < 26
