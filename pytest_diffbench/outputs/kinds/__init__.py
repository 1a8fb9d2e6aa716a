"""The kinds of output besides images: reading, judging, storing and reports go over this registry.

A new kind is a module with a `Kind`, and a line here. Images are older, and have records, files and metrics of their
own (`outputs.pixels`, `outputs.metrics`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.outputs.kinds.audio import Audio
from pytest_diffbench.outputs.kinds.kind import (
    Defect,
    Figure,
    Finding,
    FindingCode,
    Kept,
    Kind,
    Part,
    PartComparison,
    Place,
    Rates,
    Sketch,
    Unit,
    Value,
    recorded,
)
from pytest_diffbench.outputs.kinds.maps import Maps
from pytest_diffbench.outputs.kinds.tensors import Embeddings, Latents, Tensors
from pytest_diffbench.outputs.kinds.video import Video

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_diffbench.outputs.metrics.metric import Metric

KINDS: dict[str, Kind] = {}
"""By name, in the order in which they are asked whether a value is theirs."""

PART_METRICS: dict[str, Metric] = {}
"""The metrics of all kinds, by name."""


def register(kind: Kind, *, before: str | None = None) -> None:
    """Add a kind.

    Args:
        kind: with a name of its own.
        before: name of a kind that is asked after it; by default it is asked last.

    Raises:
        ValueError: there is a kind of that name, or a metric of another kind has the name of one of its metrics.
    """
    if kind.name in KINDS:
        raise ValueError(f"there is a kind {kind.name!r} already")
    for metric in kind.metrics:
        if PART_METRICS.get(metric.name, metric) != metric:
            raise ValueError(f"there is another metric {metric.name!r} already")
    others = list(KINDS.values())
    place = next((i for i, other in enumerate(others) if other.name == before), len(others))
    others.insert(place, kind)
    KINDS.clear()
    KINDS.update({other.name: other for other in others})
    PART_METRICS.update({metric.name: metric for metric in kind.metrics})


def unregister(name: str) -> None:
    """Take a kind out again, with those of its metrics that no other kind has."""
    kind = KINDS.pop(name)
    needed = {metric.name for other in KINDS.values() for metric in other.metrics}
    for metric in kind.metrics:
        if metric.name not in needed:
            del PART_METRICS[metric.name]


def is_no_image(value: Value) -> bool:
    """Whether a value is surely of another kind than images, though it might pass for images."""
    return any(kind.is_no_image(value) for kind in KINDS.values())


def parts_of(value: Value) -> Iterator[Part]:
    """The parts of a value: of the first kind that knows it, or those of its elements; none where no kind does."""
    for kind in KINDS.values():
        parts = kind.read(value)
        if parts is not None:
            yield from parts
            return
    for element in value.elements:
        yield from parts_of(element)


for _kind in (Video(), Audio(), Maps(), Latents(), Embeddings(), Tensors()):
    register(_kind)
