"""Says what a picture of the minis shows, by colours of pixels and geometry of shapes: nothing in it is learned.

It has to see through what a small model does to a picture (soft and wobbly edges, wrong tints, specks), and to say
nothing where there is nothing: noise and plain colours have no objects, and what fits no shape has no name. Lengths
are for pictures of `pictures.SIDE_PX`.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import ndimage

from minis import pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Floats = NDArray[np.float64]

_COLOURS = np.array(list(pictures.COLOURS.values()), dtype=np.float64)

_FARTHEST = 0.10
"""Distance in OKLab from which on a colour has no name. Channels that are all wrong by 25 of 255 stay below .091."""

_FLARE = 0.01
"""Light that is added before colours are compared, as a room adds it to a screen: else a tint of 25 of 255 would move
black twice as far as any other colour."""

_BORDER_PX = 3
_EVEN = 45.0
"""How far, in 8-bit sRGB, a pixel of the border may be from the ground's colour."""

_EVEN_SHARE = 0.6
"""Of the border: with less of it in one colour there is no ground."""

_SOFTEN_PX = 1.0
_CONTRAST = 24.0
"""Distance from the ground's colour, in 8-bit sRGB, from which on a pixel belongs to something. The faintest inside
is that of a tinted object in orange before yellow: 38."""

_FILLED_EDGE = 0.5
_THIN_EDGE = 0.3
"""Share of an object's colour at its edge. Where its marks are thin it must lie below the share between them."""

_NOTICEABLE = 0.01
"""Share of the picture. The smallest object that is drawn covers over 3 %."""

_GAP_PX = 3
"""Lines of a hatching with up to twice this between them belong together."""

_HOLE_PX = 60
"""Area of a hole that is filled. The smallest ring's hole has 240."""

_HOLE_COVER = 0.10
"""Share of an object's colour from which on a hole is no hole: its inside was painted, only faintly."""

_INSIDE_PX = 2
_MARK_COVER = 0.85
_FILLED_COVER = 0.7
_FILLED_SHARE = 0.75
"""An object is filled where so much of its inside has so much of its colour; else its marks are thin."""

_FAINTEST_MARK = 0.75
"""Share of their colour that thin marks have at least: where edges are soft, a line never reaches its full colour."""

_OFF_COLOUR = 60.0
"""How far, in 8-bit sRGB, a pixel inside may be from all mixtures of the object's and the ground's colour."""

_PURE_SHARE = 0.6
"""Of an object's inside: with less of it near these mixtures, the object has several colours."""

IOU_FLOOR = 0.80
"""Intersection over union with an ideal shape, from which on an object has that shape.

One floor for all shapes, and so strict with thin ones, since the same fault costs them more: stretched to 4:3 a
circle keeps .84, a cross .77 and a ring .74. Regular hexagons, and squares on their corner, are near enough to a
circle to count as one, and frames near enough to a ring.
"""

_AROUND_PX = 8
_STEP_PX = 2.0
_LEAST_STEP_PX = 0.5
_HOPELESS = 0.12
"""A shape whose first guess is this much worse than the best first guess isn't tried further."""


@dataclasses.dataclass(frozen=True, slots=True)
class ClassifiedObject:
    """An object as it was found.

    Attributes:
        shape: one of `pictures.SHAPES`, None where nothing fits.
        colour: one of `pictures.COLOURS`, None where none is near or the object has several.
        x_px, y_px: its centre, from the upper left corner, as `pictures.DrawnObject` has it; where no shape fits, the
            middle of its extent.
        radius_px: half its extent.
        rgb: 8-bit sRGB of its marks: of its outline and lines where it is hatched.
        area_px: pixels inside its outline, a ring's hole left out.
        iou: intersection over union with the best ideal shape, from 0 to 1.
    """

    shape: str | None
    colour: str | None
    x_px: float
    y_px: float
    radius_px: float
    rgb: tuple[float, float, float]
    area_px: int
    iou: float


@dataclasses.dataclass(frozen=True, slots=True)
class Classified:
    """What a picture shows.

    Attributes:
        ground: one of `pictures.COLOURS`, None where the border has several colours or none is near.
        ground_rgb: the border's median, 8-bit sRGB.
        objects: those of noticeable size, the largest first. None where the border has several colours.
    """

    ground: str | None
    ground_rgb: tuple[float, float, float]
    objects: tuple[ClassifiedObject, ...]


def classify(image: NDArray[np.uint8]) -> Classified:
    """Say what a picture shows.

    Args:
        image: 8-bit sRGB, shape (height, width, 3).

    Raises:
        ValueError: it isn't such an array.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected 8-bit pixels of shape (height, width, 3), not {image.dtype} of {image.shape}")
    pixels = image.astype(np.float64)
    ground, even = _ground(pixels)
    if not even:
        return Classified(None, _rgb(ground), ())
    soft = ndimage.gaussian_filter(pixels, (_SOFTEN_PX, _SOFTEN_PX, 0.0))
    marks = _solid(np.linalg.norm(soft - ground, axis=-1) > _CONTRAST)
    labels, count = ndimage.label(marks)
    least_px = _NOTICEABLE * marks.size
    objects = [
        _classified_object(pixels, soft, ground, labels == label)
        for label in range(1, count + 1)
        if np.count_nonzero(labels == label) >= least_px
    ]
    noticeable = sorted((t for t in objects if t.area_px >= least_px), key=lambda t: -t.area_px)
    return Classified(named_colour(_rgb(ground)), _rgb(ground), tuple(noticeable))


def named_colour(rgb: Sequence[float]) -> str | None:
    """Name an 8-bit sRGB colour by the nearest of `pictures.COLOURS` in OKLab (Ottosson, 2020), None if it is far."""
    return _nearest(_oklab(np.asarray(rgb)), _oklab(_COLOURS))


def _colour_of_thin_marks(rgb: Floats, ground: Floats) -> str | None:
    """Name a colour of which a part may be the ground's."""
    shares = np.linspace(_FAINTEST_MARK, 1.0, 6)[:, None, None]
    return _nearest(_oklab(rgb), _oklab(ground + shares * (_COLOURS - ground)))


def _nearest(lab: Floats, candidates: Floats) -> str | None:
    """Name the nearest of several candidates for each colour, shape (..., colours, 3)."""
    distances = np.linalg.norm(candidates - lab, axis=-1).reshape(-1, len(_COLOURS)).min(axis=0)
    nearest = int(distances.argmin())
    return list(pictures.COLOURS)[nearest] if distances[nearest] <= _FARTHEST else None


def _oklab(rgb: Floats) -> Floats:
    share = np.clip(rgb / 255.0, 0.0, 1.0)
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    to_cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    to_lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    lab: Floats = np.cbrt((linear + _FLARE) / (1.0 + _FLARE) @ to_cones.T) @ to_lab.T
    return lab


def _ground(pixels: Floats) -> tuple[Floats, bool]:
    """Give the border's median colour, and whether most of the border has it."""
    inner = np.zeros(pixels.shape[:2], dtype=bool)
    inner[_BORDER_PX:-_BORDER_PX, _BORDER_PX:-_BORDER_PX] = True
    border = pixels[~inner]
    ground = np.median(border, axis=0)
    share = np.mean(np.linalg.norm(border - ground, axis=-1) < _EVEN)
    return ground, bool(share >= _EVEN_SHARE)


def _solid(marks: Mask) -> Mask:
    """Close the gaps of a hatching."""
    wide = np.pad(marks, _GAP_PX + 1)  # at the picture's edge a closing would eat into the mask
    closed = ndimage.binary_closing(wide, _disc(_GAP_PX))
    solid: Mask = closed[_GAP_PX + 1 : -_GAP_PX - 1, _GAP_PX + 1 : -_GAP_PX - 1]
    return solid


def _disc(radius_px: int) -> Mask:
    y, x = np.mgrid[-radius_px : radius_px + 1, -radius_px : radius_px + 1]
    disc: Mask = np.hypot(x, y) <= radius_px + 0.5
    return disc


def _classified_object(pixels: Floats, soft: Floats, ground: Floats, region: Mask) -> ClassifiedObject:
    """Look closely at an object.

    Args:
        pixels: the picture, shape (height, width, 3).
        soft: the same without noise.
        ground: the ground's colour.
        region: where the object is, its soft surroundings included.
    """
    contrast = np.linalg.norm(soft - ground, axis=-1)
    strongest = region & (contrast >= np.quantile(contrast[region], 0.9))
    cover, off = _unmixed(soft, ground, np.median(soft[strongest], axis=0))
    mask = _largest(_solid(region & (cover > _THIN_EDGE)))
    inside = ndimage.binary_erosion(mask, _disc(_INSIDE_PX), border_value=1)
    filled = inside.any() and np.mean(cover[inside] > _FILLED_COVER) >= _FILLED_SHARE
    if filled:
        mask = _largest(_solid(region & (cover > _FILLED_EDGE)))
    marks = inside & (cover > _MARK_COVER) & (off < _OFF_COLOUR)
    rgb = np.median(pixels[marks if marks.any() else strongest], axis=0)
    pure = inside.any() and np.mean(off[inside] < _OFF_COLOUR) >= _PURE_SHARE
    colour = named_colour(_rgb(rgb)) if filled else _colour_of_thin_marks(rgb, ground)
    fit = _fitted(mask)
    if not fit.good:  # not before: the hole of a small ring, seen blurred, isn't empty either
        mask = _with_faint_inside(mask, cover)
        fit = _fitted(mask)
    return ClassifiedObject(
        shape=fit.shape if fit.good else None,
        colour=colour if pure else None,
        x_px=fit.x,
        y_px=fit.y,
        radius_px=fit.radius,
        rgb=_rgb(rgb),
        area_px=int(np.count_nonzero(mask)),
        iou=fit.iou,
    )


def _unmixed(soft: Floats, ground: Floats, mark: Floats) -> tuple[Floats, Floats]:
    """Give each pixel's share of the mark's colour, and its distance from all mixtures of mark and ground."""
    way = mark - ground
    share = (soft - ground) @ way / (way @ way)
    return share, np.linalg.norm(soft - ground - share[..., None] * way, axis=-1)


def _largest(mask: Mask) -> Mask:
    """Give the largest piece of a mask, its small holes filled."""
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    piece = labels == sizes.argmax()
    holes, _ = ndimage.label(~piece)
    small = np.bincount(holes.ravel()) < _HOLE_PX
    filled: Mask = piece | small[holes]
    return filled


def _with_faint_inside(mask: Mask, cover: Floats) -> Mask:
    """Fill the holes in which there is a trace of the object's colour."""
    holes, count = ndimage.label(ndimage.binary_fill_holes(mask) & ~mask)
    filled = mask.copy()
    for label in range(1, count + 1):
        hole = holes == label
        filled |= hole & bool(np.median(cover[hole]) > _HOLE_COVER)
    return filled


class _Fit(NamedTuple):
    """A shape, its centre and radius in pixels, and its intersection over union with a mask."""

    shape: str
    x: float
    y: float
    radius: float
    iou: float

    @property
    def good(self) -> bool:
        return self.iou >= IOU_FLOOR


def _fitted(mask: Mask) -> _Fit:
    """Fit all shapes to a mask. Where none fits, the best of them comes with the middle and radius of its extent."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return _Fit("circle", 0.0, 0.0, 0.0, 0.0)
    # what lies far from the object can't change which shape is best, and costs time
    window = tuple(
        slice(max(indices[0] - _AROUND_PX, 0), indices[-1] + 1 + _AROUND_PX) for indices in (rows, columns)
    )
    part, (y_px, x_px) = mask[window], (np.indices(mask.shape) + 0.5)[:, *window]
    height, width = float(rows[-1] + 1 - rows[0]), float(columns[-1] + 1 - columns[0])
    x, y = float(columns[0]) + width / 2, float(rows[0]) + height / 2
    # the extent of each shape, by its radius: `pictures.signed_distance_px`
    guesses = dict.fromkeys(pictures.SHAPES, (x, y, (width + height) / 4))
    guesses["square"] = (x, y, (width + height) / 4 / 0.88)
    guesses["triangle"] = (x, y + height / 18, (width + height) / 3.8)
    ious = {name: partial(_iou, part, x_px, y_px, name) for name in guesses}
    first = {name: ious[name](*guess) for name, guess in guesses.items()}
    hopeful = [name for name in guesses if first[name] >= max(first.values()) - _HOPELESS]
    fits = [_Fit(name, *_climbed(ious[name], guesses[name], first[name])) for name in hopeful]
    best = max(fits, key=lambda fit: fit.iou)
    return best if best.good else _Fit(best.shape, x, y, max(width, height) / 2, best.iou)


def _iou(part: Mask, x_px: Floats, y_px: Floats, shape: str, x: float, y: float, radius: float) -> float:
    ideal = pictures.signed_distance_px(shape, x_px - x, y_px - y, radius) < 0
    return float(np.count_nonzero(ideal & part) / max(1, int(np.count_nonzero(ideal | part))))


def _climbed(
    score: Callable[..., float], start: tuple[float, float, float], first: float
) -> tuple[float, float, float, float]:
    """Change one value at a time while that betters the score, in ever smaller steps; give values and score."""
    at, best, step = np.array(start), first, _STEP_PX
    while step >= _LEAST_STEP_PX:
        near = at + step * np.concatenate([np.eye(3), -np.eye(3)])
        scores = [score(*corner) for corner in near]
        if max(scores) > best:
            at, best = near[int(np.argmax(scores))], max(scores)
        else:
            step /= 2
    x, y, radius = (float(value) for value in at)
    return x, y, radius, best


def _rgb(colour: Floats) -> tuple[float, float, float]:
    red, green, blue = (float(channel) for channel in colour)
    return red, green, blue
