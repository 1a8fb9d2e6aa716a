"""Finds the first place where two traces diverge: an embedding, a prediction, a step, or the decoder."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from pytest_diffbench.judge.trace.change import Change, change_of
from pytest_diffbench.judge.trace.entries import distances, entries_of, relative_distance
from pytest_diffbench.records.details import TraceDetails, UnmatchedPlace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.judge.trace.entries import Trace, TraceEntry
    from pytest_diffbench.judge.trace.places import Place
    from pytest_diffbench.records import RerunNoise
    from pytest_diffbench.records.details import Course

__all__ = ["Divergence", "divergence_threshold_rel", "find_divergence", "relative_distance", "rounding_rel"]

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

    Args:
        now: trace of this run.
        base: trace of the baseline.
        threshold_rel: relative distance up to which the traces count as equal, see `divergence_threshold_rel`.
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
