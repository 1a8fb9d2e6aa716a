"""Says what a video of the video mini shows, frame by frame, and holds it against the film of its caption."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from minis import films, pictures
from minis.classifier import classify

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_FRAMES_APART = 4
_LEAST_WAY_PX = 16.0
"""Of the way from the first frame to the last, in the scenes' pixels. That of a film is 49 to 59."""

_WAYWARD = 0.5
"""Of the way along the nearest direction: who strays farther to the side than this goes in none."""


@dataclasses.dataclass(frozen=True, slots=True)
class ClassifiedFilm:
    """What a video shows; None for what isn't the same in most of the frames that are looked at.

    Attributes:
        ground: one of `pictures.COLOURS`.
        colour: of the largest object.
        shape: of the same.
        direction: one of `films.DIRECTIONS`, None where nothing moves, or not straight.
    """

    ground: str | None
    colour: str | None
    shape: str | None
    direction: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class FilmAgreement:
    """What of a film is right in a video."""

    ground: bool
    object_colour: bool
    shape: bool
    direction: bool

    @property
    def both_colours(self) -> bool:
        """Whether the object's colour and the ground are right."""
        return self.ground and self.object_colour

    @property
    def everything(self) -> bool:
        """Whether direction and shape are right, too."""
        return self.both_colours and self.direction and self.shape


def see(video: NDArray[np.uint8]) -> ClassifiedFilm:
    """Say what a video shows.

    Args:
        video: 8-bit sRGB, shape (frames, height, width, 3), with sides of `films.SIDE_PX`.
    """
    scale = pictures.SIDE_PX // films.SIDE_PX
    # the classifier's lengths are those of the scenes
    classified = [classify(frame.repeat(scale, axis=0).repeat(scale, axis=1)) for frame in video[::_FRAMES_APART]]
    largest = [frame.objects[0] if frame.objects else None for frame in classified]
    places = [
        (classified_object.x_px, classified_object.y_px)
        for classified_object in largest
        if classified_object is not None
    ]
    return ClassifiedFilm(
        ground=_of_most((frame.ground for frame in classified), len(classified)),
        colour=_of_most(
            (classified_object.colour for classified_object in largest if classified_object is not None),
            len(classified),
        ),
        shape=_of_most(
            (classified_object.shape for classified_object in largest if classified_object is not None),
            len(classified),
        ),
        direction=_direction(np.subtract(places[-1], places[0])) if len(places) > 1 else None,
    )


def film_agreement(film: films.Film, classified: ClassifiedFilm) -> FilmAgreement:
    """Compare a video with the film that its caption was written for."""
    (drawn_object,) = film.middle.objects
    return FilmAgreement(
        ground=classified.ground == film.middle.ground,
        object_colour=classified.colour == drawn_object.colour,
        shape=classified.shape == drawn_object.shape,
        direction=classified.direction == film.direction,
    )


def _of_most(names: Iterable[str | None], of: int) -> str | None:
    """The name that more than half of the frames have."""
    counted = Counter(names).most_common(1)
    return counted[0][0] if counted and counted[0][1] > of / 2 else None


def _direction(way_px: NDArray[np.float64]) -> str | None:
    along = {name: float(np.dot(way_px, step)) for name, step in films.DIRECTIONS.items()}
    nearest = max(along, key=lambda name: along[name])
    aside_px = float(np.sqrt(max(0.0, np.dot(way_px, way_px) - along[nearest] ** 2)))
    far = along[nearest] >= _LEAST_WAY_PX and aside_px <= _WAYWARD * along[nearest]
    return nearest if far else None
