"""Parts of a result reduced to a few hundred numbers each, and how far such sketches are apart at least.

They are kept where a whole part is too much: of a case's first generation, and of what a probe returned.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_diffbench.outputs.kinds import KINDS, PART_METRICS, Sketch, recorded
from pytest_diffbench.records import PartSketch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_diffbench.judge.output.tolerance import Tolerance
    from pytest_diffbench.records import PartFacts
    from pytest_diffbench.records.artifacts import PartArrays

MOST_PARTS = 4
"""Of a call that are sketched; batches of recordings have dozens."""

_DIGITS = 5
"""Of what distances are relative to: a thousandth of the limits."""


def sketches_of(parts: Sequence[PartFacts], arrays: Sequence[PartArrays]) -> tuple[PartSketch, ...]:
    """The first parts of a call whose kinds have sketches; none of a part whose values weren't kept.

    Args:
        parts: facts of all that the call returned besides images.
        arrays: what is kept of each.
    """
    made = (
        _part_sketch(number, facts, kept) for number, (facts, kept) in enumerate(zip(parts, arrays, strict=False))
    )
    return tuple(sketch for sketch in made if sketch is not None)[:MOST_PARTS]


def _part_sketch(number: int, facts: PartFacts, arrays: PartArrays) -> PartSketch | None:
    kind = KINDS.get(facts.kind)
    if kind is None or set(arrays) != set(facts.arrays) or not arrays:
        return None
    sketch = kind.sketch(recorded(facts, arrays))
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


def unlike(now: Sequence[PartSketch], base: Sequence[PartSketch]) -> bool:
    """Whether parts are of another number, kind or shape, so that no metric is needed."""
    return [(part.kind, part.shape) for part in now] != [(part.kind, part.shape) for part in base]


def parts_beyond(
    now: Sequence[PartSketch], base: Sequence[PartSketch], allowed: Tolerance
) -> Iterator[tuple[PartSketch, str, float, float]]:
    """Each part that is further off than it may be: its sketch in `base`, the metric, the limit, the least distance.

    The parts of both sides are of one kind and shape.
    """
    import numpy as np

    for new, old in zip(now, base, strict=True):
        kind = KINDS.get(old.kind)
        if kind is None or len(old.values) != len(new.values):
            continue
        after, before = (Sketch(values=np.array(side.values), size=side.size) for side in (new, old))
        for figure in kind.least_distances(after, before):
            limit = allowed.part_limit(old.part, figure.metric)
            if PART_METRICS[figure.metric].excess(figure.value, limit) > 1:
                yield old, figure.metric, limit, figure.value
