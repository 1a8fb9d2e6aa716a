"""Holds what was seen in a picture against the scene that its caption was written for."""

from __future__ import annotations

import dataclasses
from itertools import permutations
from typing import TYPE_CHECKING

from minis import pictures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minis.classifier import Classified, ClassifiedObject


@dataclasses.dataclass(frozen=True, slots=True)
class Agreement:
    """What of a scene is right in a picture. An object that wasn't found is wrong in everything.

    Attributes:
        ground: the ground's colour.
        count: as many objects of noticeable size as the scene has.
        object_colour: the object's colour; with two objects, both colours.
        shape: the object's shape; with two objects, both shapes.
        size: as `pictures.size_of` says; None with two objects, whose captions name none.
        place: as `pictures.place_of` says; None with two objects.
        order: the first object is left of, or above, the second; None with one object.
    """

    ground: bool
    count: bool
    object_colour: bool
    shape: bool
    size: bool | None
    place: bool | None
    order: bool | None

    @property
    def colours_and_shape(self) -> bool:
        """Whether what every caption names is right: the objects' colours and shapes, and the ground."""
        return self.object_colour and self.shape and self.ground


def agreement(scene: pictures.Scene, classified: Classified) -> Agreement:
    """Compare a picture with its scene.

    Of more objects than the scene has, the largest are taken. Which of two is which is chosen so that the most is
    right: objects that changed places are wrong in their order alone, and such that changed colours in these alone.

    Args:
        scene: what the caption was written for, one or two objects.
        classified: what `classifier.classify` says of the picture.
    """
    ground, count = classified.ground == scene.ground, len(classified.objects) == len(scene.objects)
    largest = classified.objects[: len(scene.objects)]
    if len(scene.objects) == 2:
        colours, shapes, order = _of_two(scene.objects, largest)
        return Agreement(ground, count, object_colour=colours, shape=shapes, size=None, place=None, order=order)
    if not largest:
        return Agreement(ground, count, object_colour=False, shape=False, size=False, place=False, order=None)
    (wanted,), (classified_object,) = scene.objects, largest
    # size and place have names whatever the shape is
    as_drawn = pictures.DrawnObject(
        wanted.shape, wanted.colour, classified_object.x_px, classified_object.y_px, classified_object.radius_px
    )
    return Agreement(
        ground,
        count,
        object_colour=classified_object.colour == wanted.colour,
        shape=classified_object.shape == wanted.shape,
        size=pictures.size_of(as_drawn) == pictures.size_of(wanted),
        place=pictures.place_of(as_drawn) == pictures.place_of(wanted),
        order=None,
    )


def _of_two(wanted: Sequence[pictures.DrawnObject], objects: Sequence[ClassifiedObject]) -> tuple[bool, bool, bool]:
    """Whether both colours, both shapes and the order are right."""
    if len(objects) < 2:
        return False, False, False
    # as captions tell "left of" from "above"
    beside = abs(wanted[1].x_px - wanted[0].x_px) > abs(wanted[1].y_px - wanted[0].y_px)
    readings = []
    for first, second in permutations(objects):
        colours = [first.colour == wanted[0].colour, second.colour == wanted[1].colour]
        shapes = [first.shape == wanted[0].shape, second.shape == wanted[1].shape]
        right, down = second.x_px - first.x_px, second.y_px - first.y_px
        order = right > abs(down) if beside else down > abs(right)
        readings.append((sum(colours) + sum(shapes) + order, all(colours), all(shapes), order))
    _, *best = max(readings)
    both_colours, both_shapes, in_order = best
    return both_colours, both_shapes, in_order
