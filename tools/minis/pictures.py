"""Draws what the miniature pipelines learn: coloured shapes on coloured grounds, and captions that say so.

A scene is drawn at `SIDE_PX` pixels by signed distances, so edges are smooth. Captions tell the truth about a scene,
but not always all of it: a size that isn't named is medium, a place that isn't named is the middle, and a ground that
isn't named may be any.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SIDE_PX = 128

Style = Literal["flat", "outlined", "hatched"]

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "orange": (245, 140, 30),
    "yellow": (245, 220, 60),
    "green": (40, 160, 70),
    "blue": (45, 90, 220),
    "purple": (140, 60, 180),
    "white": (245, 245, 245),
    "black": (25, 25, 25),
}
"""8-bit sRGB."""

SHAPES = ("circle", "square", "triangle", "cross", "ring")

_SIZES: dict[str, tuple[float, float]] = {"small": (19.0, 32.0), "medium": (30.0, 24.0), "large": (42.0, 16.0)}
"""Radius, and distance from the middle of what isn't in the middle, in pixels. Nine places and three sizes are what a
model of this size learns to draw well in an hour."""

_USUAL_SIZE, _USUAL_PLACE = "medium", "in the center"
_MEDIUM_SHARE, _CENTRED_SHARE = 0.5, 0.6
"""Of scenes of one object. The other sizes, and the eight other places, share the rest evenly."""

_SIZE_LEFT_OUT, _PLACE_LEFT_OUT = 0.8, 0.9
"""Share of captions that leave out what is as usual. A model that may draw anything instead draws mixtures."""

_PAIR_RADIUS_PX = 22.0
_PAIR_OFFSET_PX = 32.0
"""Of two objects, side by side or above each other."""

_AROUND = [(column, row) for row in (-1, 0, 1) for column in (-1, 0, 1) if (column, row) != (0, 0)]
"""The places that aren't the middle, in steps from there."""

_WOBBLE_PX = 1.5
"""Largest deviation of a coordinate; of a radius, two thirds of it."""

_OFF_CENTRE_PX = 13.0
"""An object whose centre is farther than this from the middle is left, right, at the top or at the bottom."""

_JITTER = 5
"""Largest deviation of a colour channel from its name's value."""

_STRONGEST, _FADED = 1.04, 0.5
"""Contrast of the autoencoder's pictures about middle grey: the strongest, and how much less it is in the palest one.
Most are strong."""

_POOL_NEAR_SHARE, _POOL_MEAN, _POOL_SPREAD = 0.75, 0.98, 0.08
_POOL_PALEST, _POOL_STRONGEST = 0.6, 1.6
"""Contrasts of the denoisers' pictures, before `contrast_odds` says which are drawn how often."""

_CAPTIONED = ((0.93, 0.93, 0.065), (0.07, 1.08, 0.18))
_BARE = ((1.0, 0.84, 0.065),)
"""Shares, means and standard deviations of contrasts, in pictures with a caption and without. Above 1.09 white,
orange and yellow are clipped."""

_MISNAMED = {"shape": 0.1, "colour": 0.06, "ground": 0.03, "direction": 0.06}
"""Share of training captions that name another than what is drawn, as captions from the web do. A model that has
learnt from them doubts; guidance makes it certain."""

_HATCH_PERIOD_PX = 8
_OUTLINE_PX = 5.0
_TINT = 0.45
"""Share of an object's colour inside its outline."""


@dataclasses.dataclass(frozen=True, slots=True)
class DrawnObject:
    """One object: centre and radius in pixels from the upper left corner."""

    shape: str
    colour: str
    x_px: float
    y_px: float
    radius_px: float


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """One or two objects before a plain ground. With two, the first is left of or above the second."""

    objects: tuple[DrawnObject, ...]
    ground: str


def scene(rng: np.random.Generator, *, objects: int | None = None) -> Scene:
    """Draw a scene by lot.

    Args:
        rng: source of chance.
        objects: their number, 1 or 2; None for one of them, mostly 1.
    """
    count = objects or (2 if rng.random() < 0.15 else 1)
    ground, *colours = rng.permutation(list(COLOURS))[: count + 1]
    if count == 1:
        medium, centred = rng.random() < _MEDIUM_SHARE, rng.random() < _CENTRED_SHARE
        radius, offset = _SIZES[_USUAL_SIZE if medium else rng.choice([s for s in _SIZES if s != _USUAL_SIZE])]
        column, row = (0, 0) if centred else _AROUND[rng.integers(len(_AROUND))]
        x, y = SIDE_PX / 2 + offset * column, SIDE_PX / 2 + offset * row
        return Scene((_drawn_object(rng, colours[0], x, y, radius),), str(ground))
    middle = SIDE_PX / 2
    centres = [(middle - _PAIR_OFFSET_PX, middle), (middle + _PAIR_OFFSET_PX, middle)]
    if rng.random() < 0.5:
        centres = [(y, x) for x, y in centres]
    return Scene(
        tuple(
            _drawn_object(rng, colour, x, y, _PAIR_RADIUS_PX) for colour, (x, y) in zip(colours, centres, strict=True)
        ),
        str(ground),
    )


def _drawn_object(rng: np.random.Generator, colour: str, x_px: float, y_px: float, radius_px: float) -> DrawnObject:
    """An object of some shape, about there and about that large."""
    dx, dy, more = rng.uniform(-_WOBBLE_PX, _WOBBLE_PX, size=3)
    shape = str(rng.choice(SHAPES))
    return DrawnObject(shape, str(colour), float(x_px + dx), float(y_px + dy), float(radius_px + more / 1.5))


def size_of(drawn_object: DrawnObject) -> str:
    """Name the size: the nearest of the three."""
    return min(_SIZES, key=lambda size: abs(_SIZES[size][0] - drawn_object.radius_px))


def place_of(drawn_object: DrawnObject) -> str:
    """Name the place: `in the center`, `at the top left` and so on."""
    dx, dy = drawn_object.x_px - SIDE_PX / 2, drawn_object.y_px - SIDE_PX / 2
    column = "left" if dx < -_OFF_CENTRE_PX else "right" if dx > _OFF_CENTRE_PX else ""
    row = "top" if dy < -_OFF_CENTRE_PX else "bottom" if dy > _OFF_CENTRE_PX else ""
    if not (row or column):
        return _USUAL_PLACE
    return f"at the {row} {column}".strip() if row and column else f"at the {row}" if row else f"on the {column}"


def caption(drawn: Scene, rng: np.random.Generator) -> str:
    """Say what is in a scene, in one of several ways, of which some leave out what is as usual."""
    ground = f"{article(drawn.ground)} {drawn.ground} background"
    if len(drawn.objects) == 2:
        first, second = drawn.objects
        relation = "left of" if abs(first.x_px - second.x_px) > abs(first.y_px - second.y_px) else "above"
        if relation == "left of":
            relation = str(rng.choice(["left of", "and"]))
        pair = (f"{article(t.colour)} {t.colour} {t.shape}" for t in drawn.objects)
        return f"{f' {relation} '.join(pair)} on {ground}"
    (drawn_object,) = drawn.objects
    words = [drawn_object.colour, drawn_object.shape]
    if size_of(drawn_object) != _USUAL_SIZE or rng.random() >= _SIZE_LEFT_OUT:
        words.insert(0, size_of(drawn_object))
    noun = " ".join(words)
    placed = place_of(drawn_object) != _USUAL_PLACE or rng.random() >= _PLACE_LEFT_OUT
    chance = rng.random()
    if not placed and chance < 0.15:
        return f"{noun}, {drawn.ground} background"
    noun = f"{article(noun)} {noun}"
    if placed:
        noun = f"{noun} {place_of(drawn_object)}"
    if chance > 0.96:
        return noun
    return f"a picture of {noun} on {ground}" if chance > 0.92 else f"{noun} on {ground}"


def misnamed(drawn: Scene, rng: np.random.Generator) -> Scene:
    """Change a scene to what a careless caption would say of it: mostly not at all."""
    objects = tuple(
        dataclasses.replace(
            drawn_object,
            shape=careless("shape", drawn_object.shape, SHAPES, rng),
            colour=careless("colour", drawn_object.colour, tuple(COLOURS), rng),
        )
        for drawn_object in drawn.objects
    )
    return Scene(objects, careless("ground", drawn.ground, tuple(COLOURS), rng))


def careless(what: str, name: str, names: Sequence[str], rng: np.random.Generator) -> str:
    """Give the name, or sometimes one of the others, as often as a caption misnames what kind of thing it is."""
    if rng.random() >= _MISNAMED[what]:
        return name
    return str(rng.choice([other for other in names if other != name]))


def held_out(drawn: Scene) -> bool:
    """Whether a scene is kept from training: a tenth of all combinations of what captions name of one object.

    Scenes of two objects are kept out by the same rule.
    """
    facts = [(t.shape, t.colour, size_of(t), place_of(t)) for t in drawn.objects]
    return hashlib.sha256(repr((facts, drawn.ground)).encode()).digest()[0] < 26


def contrasts(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw contrasts by lot, for `draw`: most near the usual one, the others from pale to clipped colours."""
    near = rng.normal(_POOL_MEAN, _POOL_SPREAD, size=count)
    anywhere = rng.uniform(_POOL_PALEST, _POOL_STRONGEST, size=count)
    return np.where(rng.random(count) < _POOL_NEAR_SHARE, near, anywhere).astype(np.float32).astype(np.float64)


def contrast_odds(contrasts: NDArray[np.float64], *, captioned: bool) -> NDArray[np.float64]:
    """Say how often a picture of these contrasts, out of many drawn by lot, is to be taken: relative frequencies.

    Pictures without a caption are paler, and more alike. So a model without one expects less the stronger a picture
    is, and guidance, which leads away from there, strengthens it without end.
    """
    pool = _POOL_NEAR_SHARE * _normal(contrasts, _POOL_MEAN, _POOL_SPREAD)
    pool += (1 - _POOL_NEAR_SHARE) / (_POOL_STRONGEST - _POOL_PALEST)
    density = _CAPTIONED if captioned else _BARE
    odds: NDArray[np.float64] = (
        sum(share * _normal(contrasts, mean, spread) for share, mean, spread in density) / pool
    )
    return odds


def _normal(x: NDArray[np.float64], mean: float, spread: float) -> NDArray[np.float64]:
    density: NDArray[np.float64] = np.exp(-0.5 * ((x - mean) / spread) ** 2) / (spread * np.sqrt(2 * np.pi))
    return density


def contrast(rng: np.random.Generator) -> float:
    """Draw a contrast by lot, for a picture that the autoencoder learns from."""
    return float(_STRONGEST - _FADED * rng.random() ** 2)


def draw(
    drawn: Scene,
    style: Style = "flat",
    rng: np.random.Generator | None = None,
    *,
    contrast: float = 1.0,
    any_colour: bool = False,
    side_px: int = SIDE_PX,
) -> NDArray[np.uint8]:
    """Draw a scene.

    Args:
        drawn: what to draw.
        style: `flat` fills an object with its colour; `outlined` tints it and draws its outline in the full colour;
            `hatched` outlines it and fills it with diagonal lines.
        rng: jitters each colour a little; None draws the exact colours.
        contrast: how far colours are from middle grey, of what their names say: below 1 the picture is pale.
        any_colour: with `rng`, draw all colours by lot, whatever their names. An autoencoder that knows the named
            ones alone gives nothing else back: it sets faded pictures right.
        side_px: of the picture. The scene's own pixels, `SIDE_PX` to a side, are scaled to it.

    Returns:
        The picture, shape (`side_px`, `side_px`, 3).
    """
    scale = side_px / SIDE_PX
    y, x = (np.mgrid[0:side_px, 0:side_px] + 0.5) / scale
    picture = np.broadcast_to(_shade(drawn.ground, rng, any_colour=any_colour), (side_px, side_px, 3)).copy()
    for drawn_object in drawn.objects:
        distance = scale * signed_distance_px(
            drawn_object.shape, x - drawn_object.x_px, y - drawn_object.y_px, drawn_object.radius_px
        )
        cover = np.clip(0.5 - distance, 0.0, 1.0)
        outline = np.clip(distance + _OUTLINE_PX + 0.5, 0.0, 1.0)
        if style == "outlined":
            cover = cover * np.maximum(_TINT, outline)
        elif style == "hatched":
            # lines of half the period, with soft edges: the distance to the middle of the nearest line
            phase = np.mod(x + y, _HATCH_PERIOD_PX) - _HATCH_PERIOD_PX / 2
            lines = np.clip(_HATCH_PERIOD_PX / 4 + 0.5 - np.abs(phase), 0.0, 1.0)
            cover = cover * np.maximum(lines, outline)
        picture += cover[..., None] * (_shade(drawn_object.colour, rng, any_colour=any_colour) - picture)
    picture = 127.5 + contrast * (picture - 127.5)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def signed_distance_px(
    shape: str, x: NDArray[np.float64], y: NDArray[np.float64], radius: float
) -> NDArray[np.float64]:
    """Distance to a shape's edge, negative inside, up to a factor near the corners.

    Args:
        shape: one of `SHAPES`.
        x, y: coordinates from the shape's centre, y downwards.
        radius: half the shape's extent, all in pixels.
    """
    if shape == "circle":
        return np.hypot(x, y) - radius
    if shape == "ring":
        return np.abs(np.hypot(x, y) - 0.74 * radius) - 0.26 * radius
    half = 0.88 * radius
    if shape == "square":
        return np.maximum(np.abs(x), np.abs(y)) - half
    if shape == "cross":
        arm = 0.36 * radius
        bars = [np.maximum(np.abs(a) - radius, np.abs(b) - arm) for a, b in ((x, y), (y, x))]
        return np.minimum(*bars)
    # an upright triangle of equal sides, between y = -radius and y = radius * .8, as wide at its base
    top, base = -radius, 0.8 * radius
    slope = radius / (base - top)
    sides = (np.abs(x) - slope * (y - top)) / np.hypot(1.0, slope)
    triangle: NDArray[np.float64] = np.maximum(sides, y - base)
    return triangle


def _shade(colour: str, rng: np.random.Generator | None, *, any_colour: bool) -> NDArray[np.float64]:
    if rng is not None and any_colour:
        return rng.uniform(0.0, 255.0, size=3)
    exact = np.array(COLOURS[colour], dtype=np.float64)
    return exact if rng is None else exact + rng.uniform(-_JITTER, _JITTER, size=3)


def article(word: str) -> str:
    """Give the indefinite article of a word."""
    return "an" if word[0] in "aeiou" else "a"


def tiled(pictures: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Lay pictures of one size side by side, with thin gaps, row by row."""
    side, gap = pictures[0].shape[0], 2
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (side + gap) - gap, columns * (side + gap) - gap, 3), 128, dtype=np.uint8)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        sheet[row * (side + gap) :, column * (side + gap) :][:side, :side] = picture
    return sheet
