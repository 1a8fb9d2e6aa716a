"""Whether a call went another way than its baseline's, which the picture may hardly show."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_diffbench.judge.output.image_members import over
from pytest_diffbench.judge.trace.entries import entries_of
from pytest_diffbench.judge.trace.places import place_of
from pytest_diffbench.judge.trace.words import share

if TYPE_CHECKING:
    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.judge.trace.divergence import Parting
    from pytest_diffbench.judge.trace.entries import Trace
    from pytest_diffbench.judge.trace.places import Place


_LEFT_TO_THE_PICTURE = ("decoder_input", "decoded", "returned")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Strayed:
    """The place of a trace that is furthest beyond its limit.

    Attributes:
        place: its name.
        excess: distance over limit, above 1.
        text: place, distance and limit, in words.
    """

    place: str
    excess: float
    text: str


def strayed(parting: Parting, limits: Limits) -> Strayed | None:
    """Hold every place of two traces of one class of machine against its limit; None where all are within.

    Where nothing has added up yet - embeddings, and the first step - the limit is a precision: kernels that sum in
    another order stay far under it, another dtype doesn't. Later places may be as far apart as latents that are a
    result. Neither is ever under what rounding of the dtype, or identical calls, explain. What the decoder makes of
    the latents is left to the picture.
    """
    found: Strayed | None = None
    for name, gap_rel in parting.series:
        place = place_of(name)
        if place is None or place.kind in _LEFT_TO_THE_PICTURE:
            continue
        limit_rel = max(
            limits.trace_first_rel if _first(place) else limits.latents_machine_rel, parting.threshold_rel
        )
        excess = over(gap_rel, limit_rel)
        if excess > 1 and (found is None or excess > found.excess):
            text = f"{place.words} {share(gap_rel)} apart (at most {share(limit_rel)})"
            found = Strayed(place=name, excess=excess, text=text)
    return found


def largest_rel(parting: Parting) -> tuple[float, float]:
    """The largest distance of embeddings and first step, and that of later places; 0 where there are none."""
    first, later = 0.0, 0.0
    for name, gap_rel in parting.series:
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
