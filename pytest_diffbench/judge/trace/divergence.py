"""Where two traces diverge first, what became of the tensor there, and whether a call went another way."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from pytest_diffbench.judge.trace.entries import distances, entries_of, place_of
from pytest_diffbench.outputs.metrics import over
from pytest_diffbench.records.details import TraceDetails, TraceExcess, UnmatchedPlace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.judge.trace.entries import Place, Trace, TraceEntry
    from pytest_diffbench.records import RerunNoise
    from pytest_diffbench.records.details import Course, TensorChange


_EXPLAINED_REL = 0.9
"""Share of the squared distance that a scale must explain. Sketches are linear, so a mere scale explains all of it;
of a distance in a direction of its own a scale explains about 1 in 256 by chance."""

_PARALLEL = 0.95
"""Least cosine of a tensor that was scaled: against one that is far larger, a scale of nearly 0 explains all."""

_UNRELATED = 0.2
"""Sketches of unrelated tensors have a cosine of 0 give or take .06."""

_SHIFT_REL = (0.67, 1.5)
"""Bounds of the share of the squared distance that a shift of the mean explains; the sketch estimates it to 9 %."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How a tensor differs from the baseline's.

    Attributes:
        kind: None where nothing simple explains it.
        scale: factor that brings the baseline's nearest to this run's, `<a, b> / <b, b>`; None where it has none.
        cosine: of the angle between them; None where one is zero or they can't be compared.
        shift: what was added to all values, of a tensor that was shifted.
        not_finite: values that aren't finite, in the baseline and now, where their number differs.
    """

    kind: TensorChange | None = None
    scale: float | None = None
    cosine: float | None = None
    shift: float | None = None
    not_finite: tuple[int, int] | None = None


def change_of(now: TraceEntry, base: TraceEntry) -> Change:
    """Explain the difference of two entries of one place."""
    import numpy as np

    if now.not_finite and now.not_finite != base.not_finite:
        return Change(kind="not_finite", not_finite=(base.not_finite or 0, now.not_finite))
    if now.array.shape != base.array.shape:
        return Change(kind="shape")
    a, b = now.array.astype(np.float64).ravel(), base.array.astype(np.float64).ravel()
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return Change(kind="not_finite")
    aa, bb, ab = float(a @ a), float(b @ b), float(a @ b)
    if aa == 0 or bb == 0:
        return Change(kind=None if aa == bb else "zeros_now" if aa == 0 else "zeros_in_baseline")
    scale, cosine = ab / bb, ab / math.sqrt(aa * bb)
    gap2, rest2 = float(np.sum((a - b) ** 2)), float(np.sum((a - scale * b) ** 2))
    if gap2 > 0 and abs(cosine) >= _PARALLEL and 1 - rest2 / gap2 >= _EXPLAINED_REL:
        return Change(kind="scaled", scale=scale, cosine=cosine)
    if (shift := _shift(now, base, gap2)) is not None:
        return Change(kind="shifted", scale=scale, cosine=cosine, shift=shift)
    return Change(kind="unrelated" if abs(cosine) < _UNRELATED else None, scale=scale, cosine=cosine)


def _shift(now: TraceEntry, base: TraceEntry, gap2: float) -> float | None:
    """What was added to all values alike; None where that isn't what happened, or moments are missing."""
    if now.mean is None or base.mean is None or base.std is None or gap2 == 0:
        return None
    mean_square = base.mean**2 + base.std**2
    if mean_square == 0:
        return None
    size = base.norm**2 / mean_square
    shift = now.mean - base.mean
    low, high = _SHIFT_REL
    return shift if low <= size * shift**2 / gap2 <= high else None


_EPS = {"float64": 2.0**-23, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
"""Machine epsilon by dtype; traces are stored as float32, so nothing finer than that is seen."""

_JUMP = 10.0
"""Rounding grows from step to step by less than tenfold; a fault comes at once."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """Where two traces diverge.

    Attributes:
        latents_rel: relative L2 distance of the final latents, or of the last step's sketch; None when not stored.
        place: first place that is further apart than the threshold; None where there is none.
        course: `jump` where the distance came at once, `growth` where it grew as rounding does; None outside steps.
        change: what became of the tensor at that place.
        series: name and relative distance of every place that both traces hold, in the order of the call.
        threshold_rel: distance up to which places count as equal.
        unmatched: predictions of the place's step that only one trace holds.
    """

    latents_rel: float | None
    place: str | None = None
    course: Course | None = None
    change: Change = dataclasses.field(default_factory=Change)
    series: tuple[tuple[str, float], ...] = ()
    threshold_rel: float = 0.0
    unmatched: tuple[UnmatchedPlace, ...] = ()

    def details(self) -> TraceDetails:
        """The same as a record, with four digits; an infinite distance is None."""
        return TraceDetails(
            place=self.place,
            course=self.course,
            change=self.change.kind,
            scale=four_digits(self.change.scale),
            cosine=four_digits(self.change.cosine),
            shift=four_digits(self.change.shift),
            not_finite=self.change.not_finite,
            threshold_rel=four_digits(self.threshold_rel),
            series=tuple((name, four_digits(gap_rel)) for name, gap_rel in self.series),
            unmatched=self.unmatched,
        )


def rounding_rel(dtype: str) -> float:
    """Relative error of rounding to a dtype, root mean square: `eps / sqrt(12)`. Unknown names count as float32."""
    return _EPS.get(dtype.removeprefix("torch."), _EPS["float32"]) / math.sqrt(12)


def divergence_threshold_rel(dtype: str, now: RerunNoise, base: RerunNoise, limits: Limits) -> float:
    """Distance up to which two traces count as equal: rounding, or what identical calls drift where that is more.

    As for the tolerance of images, the baseline's drift counts, and this run's only where the baseline's rounds were
    not repeated.
    """
    noise = base if base.rounds > 1 else now
    drift_rel = noise.latents_rel or 0.0
    return max(limits.trace_rounding_factor * rounding_rel(dtype), drift_rel * 10 ** (limits.rerun_margin_db / 20))


def find_divergence(now: Trace, base: Trace, threshold_rel: float) -> Divergence:
    """Follow two traces in the order of the call until their distance passes the threshold.

    That order is: text encoders, embeddings, in each step the predictions and then the latents, the decoder. Only
    places that both hold are compared, so a trace that was stored before there were predictions is still of use.
    """
    current, stored = entries_of(now), entries_of(base)
    gaps_rel = distances(current, stored)
    last = next((name for name in reversed(gaps_rel) if current[name].place.kind in ("final", "latents")), None)
    divergence = Divergence(
        latents_rel=gaps_rel[last] if last is not None else None,
        series=tuple(gaps_rel.items()),
        threshold_rel=threshold_rel,
    )
    first = next((name for name, gap_rel in gaps_rel.items() if gap_rel > threshold_rel), None)
    if first is None:
        return divergence
    place = current[first].place
    return dataclasses.replace(
        divergence,
        place=first,
        course=_course(place, gaps_rel, {name: current[name].place for name in gaps_rel}, threshold_rel),
        change=change_of(current[first], stored[first]),
        unmatched=_unmatched(place, current, stored) if place.kind in ("prediction", "latents") else (),
    )


def _course(
    place: Place, gaps_rel: Mapping[str, float], places: Mapping[str, Place], threshold_rel: float
) -> Course | None:
    if place.kind not in ("prediction", "latents"):
        return None
    before_rel = [gaps_rel[name] for name, other in places.items() if other.is_step_before(place)]
    # Without a step before, all of the denoiser's rounding comes at once.
    floor_rel = threshold_rel / (_JUMP if before_rel else 1)
    return "jump" if gaps_rel[place.name] > _JUMP * max(max(before_rel, default=0.0), floor_rel) else "growth"


def _unmatched(
    place: Place, current: Mapping[str, TraceEntry], stored: Mapping[str, TraceEntry]
) -> tuple[UnmatchedPlace, ...]:
    """Predictions of the step that only one trace holds; none where a trace holds no predictions at all."""
    here, baseline = (
        {name: entry.place.step for name, entry in side.items() if entry.place.kind == "prediction"}
        for side in (current, stored)
    )
    if not here or not baseline:
        return ()
    return (
        *(
            UnmatchedPlace(place=name, side="here")
            for name in here
            if name not in baseline and here[name] == place.step
        ),
        *(
            UnmatchedPlace(place=name, side="baseline")
            for name in baseline
            if name not in here and baseline[name] == place.step
        ),
    )


def four_digits(value: float | None) -> float | None:
    """A figure as it stands in details; None for what isn't finite."""
    return float(f"{value:.4g}") if value is not None and math.isfinite(value) else None


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
