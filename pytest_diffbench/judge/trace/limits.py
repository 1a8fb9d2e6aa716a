"""Whether a call went another way than its baseline's, which the picture may hardly show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.judge.trace.divergence import four_digits
from pytest_diffbench.judge.trace.entries import entries_of
from pytest_diffbench.judge.trace.places import place_of
from pytest_diffbench.outputs.metrics import over
from pytest_diffbench.records.details import TraceExcess

if TYPE_CHECKING:
    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.judge.trace.divergence import Divergence
    from pytest_diffbench.judge.trace.entries import Trace
    from pytest_diffbench.judge.trace.places import Place


_LEFT_TO_THE_PICTURE = ("decoder_input", "decoded", "returned")


def trace_excess(divergence: Divergence, limits: Limits) -> TraceExcess | None:
    """Hold every place of two traces of one class of machine against its limit; None where all are within.

    Where nothing has added up yet - embeddings, and the first step - the limit is a precision: kernels that sum in
    another order stay far under it, another dtype doesn't. Later places may be as far apart as latents that are a
    result. Neither is ever under what rounding of the dtype, or identical calls, explain. What the decoder makes of
    the latents is left to the picture.

    Returns:
        The place that is furthest beyond its limit.
    """
    worst, excess = None, 1.0
    for name, distance_rel in divergence.series:
        place = place_of(name)
        if place is None or place.kind in _LEFT_TO_THE_PICTURE:
            continue
        limit_rel = limits.trace_first_rel if _first(place) else limits.latents_machine_rel
        limit_rel = max(limit_rel, divergence.threshold_rel)
        if over(distance_rel, limit_rel) > excess:
            excess = over(distance_rel, limit_rel)
            worst = TraceExcess(place=name, distance_rel=four_digits(distance_rel), limit_rel=limit_rel)
    return worst


def largest_rel(divergence: Divergence) -> tuple[float, float]:
    """The largest distance of embeddings and first step, and that of later places; 0 where there are none."""
    first, later = 0.0, 0.0
    for name, gap_rel in divergence.series:
        place = place_of(name)
        if place is None or place.kind in _LEFT_TO_THE_PICTURE:
            continue
        if _first(place):
            first = max(first, gap_rel)
        else:
            later = max(later, gap_rel)
    return first, later


def first_not_finite(trace: Trace) -> Place | None:
    """The first place of a call that holds values which aren't finite; None where the trace knows of none."""
    return next((entry.place for entry in entries_of(trace).values() if entry.not_finite), None)


def _first(place: Place) -> bool:
    return place.kind in ("encoder", "text") or (place.kind in ("prediction", "latents") and place.step == 0)
