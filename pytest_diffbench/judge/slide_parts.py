"""Sketches of the parts of a result that aren't images, and how far two of them are apart at least."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_diffbench.judge.output.parts import kept_of
from pytest_diffbench.outputs.kinds import KINDS, PART_METRICS, Sketch
from pytest_diffbench.records import PartSketch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_diffbench.judge.output.tolerance import Tolerance
    from pytest_diffbench.records import Origin, Output, PartFacts
    from pytest_diffbench.records.artifacts import Artifacts, PartArrays

MOST_PARTS = 4
"""Of a call that are sketched; batches of recordings have dozens."""

_DIGITS = 5
"""Of what distances are relative to: a thousandth of the limits."""


def sketches_of(output: Output | None, artifacts: Artifacts) -> tuple[PartSketch, ...]:
    """The first parts of a call whose kinds have sketches; none of a part whose values weren't kept."""
    parts = output.parts if output is not None else ()
    made = (
        _sketch(number, facts, arrays)
        for number, (facts, arrays) in enumerate(zip(parts, artifacts.parts, strict=False))
    )
    return tuple(sketch for sketch in made if sketch is not None)[:MOST_PARTS]


def _sketch(number: int, facts: PartFacts, arrays: PartArrays) -> PartSketch | None:
    kind = KINDS.get(facts.kind)
    if kind is None or set(arrays) != set(facts.arrays) or not arrays:
        return None
    sketch = kind.sketch(kept_of(facts, arrays))
    if sketch is None:
        return None
    decimals = _DIGITS - math.floor(math.log10(sketch.size)) if sketch.size > 0 else _DIGITS
    return PartSketch(
        part=number,
        kind=facts.kind,
        name=facts.name,
        shape=facts.shape,
        values=tuple(sketch.values.round(decimals).tolist()),
        size=sketch.size,
    )


def parts_beyond(origin: Origin, now: Origin, allowed: Tolerance) -> Iterator[tuple[PartSketch, str, float, float]]:
    """Each part that is further off than a step may go: with the metric, the limit and the least distance.

    The parts of both sides are of one kind and shape.
    """
    import numpy as np

    for old, new in zip(origin.parts, now.parts, strict=True):
        kind = KINDS.get(old.kind)
        if kind is None or len(old.values) != len(new.values):
            continue
        after, before = (Sketch(values=np.array(side.values), size=side.size) for side in (new, old))
        for figure in kind.least_distances(after, before):
            limit = allowed.part_limit(old.part, figure.metric)
            if PART_METRICS[figure.metric].excess(figure.value, limit) > 1:
                yield old, figure.metric, limit, figure.value
