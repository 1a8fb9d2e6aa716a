"""Holds metrics against their limits, so that those of different units can be told which is worst."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from pytest_diffbench.outputs.metrics import METRICS, over
from pytest_diffbench.records.details import ImageLine, ImageTile, MetricFigure, MetricLimit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_diffbench.judge.output.tolerance import Tolerance
    from pytest_diffbench.outputs.metrics import Line, Measurement, Tile

    ImageDistance = Mapping[str, Measurement]
    """Every metric of an image, by name."""


@dataclasses.dataclass(frozen=True, slots=True)
class LimitCheck:
    """One metric of one image, against its limit.

    Attributes:
        excess: its error over the allowed error; above 1 it is beyond the limit, whatever the metric's unit.
        figure: metric, value, image, place where it has one, and limit.
    """

    excess: float
    figure: MetricLimit


def checks(distances: Sequence[ImageDistance], allowed: Tolerance) -> list[LimitCheck]:
    """Every metric of every image, each on its own: a mean over images would hide the one that broke."""
    return [
        _check(number, name, measurement, allowed.images[name])
        for number, distance in enumerate(distances)
        for name, measurement in distance.items()
    ]


def latents_check(distance_rel: float, allowed: Tolerance, tensor: int | None = None) -> LimitCheck:
    """The final latents, or a tensor that was returned."""
    value = distance_rel if math.isfinite(distance_rel) else None
    figure = MetricLimit(metric="latents_rel", value=value, limit=allowed.latents_rel, tensor=tensor)
    return LimitCheck(over(distance_rel, allowed.latents_rel), figure)


def worst_of(judged: Iterable[LimitCheck]) -> LimitCheck:
    """What is furthest beyond its limit; of those that are equally far, better one that has a place."""
    return max(judged, key=lambda check: (check.excess, _is_placed(check.figure)))


def _check(number: int, name: str, measurement: Measurement, limit: float) -> LimitCheck:
    figure = figure_of(measurement)
    excess = METRICS[name].excess(measurement.value, limit)
    return LimitCheck(
        excess,
        MetricLimit(metric=name, value=figure.value, limit=limit, image=number, tile=figure.tile, line=figure.line),
    )


def _is_placed(figure: MetricLimit) -> bool:
    return figure.tile is not None or figure.line is not None or figure.place is not None


def figures(distance: ImageDistance) -> dict[str, MetricFigure]:
    """The metrics of one image as a record has them."""
    return {name: figure_of(measurement) for name, measurement in distance.items()}


def figure_of(measurement: Measurement) -> MetricFigure:
    """A measurement as a record has it: what is infinite or no number is None."""
    return MetricFigure(
        value=float(measurement.value) if math.isfinite(measurement.value) else None,
        tile=tile_of(measurement.tile),
        line=line_of(measurement.line),
    )


def tile_of(tile: Tile | None) -> ImageTile | None:
    """A tile as a record has it."""
    return None if tile is None else ImageTile(**dataclasses.asdict(tile))


def line_of(line: Line | None) -> ImageLine | None:
    """A line as a record has it."""
    return None if line is None else ImageLine(**dataclasses.asdict(line))
