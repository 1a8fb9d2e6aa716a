"""Finds the first place where two recordings of a call part: an embedding, a prediction, a step, or the decoder."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from pytest_diffbench.judge.trace.change import Change
from pytest_diffbench.judge.trace.entries import distances, entries_of, relative_distance
from pytest_diffbench.judge.trace.words import Divergence, share

if TYPE_CHECKING:
    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.judge.trace.entries import Trace
    from pytest_diffbench.judge.trace.words import Course
    from pytest_diffbench.records import RerunNoise

__all__ = ["Parting", "part", "parting_threshold_rel", "relative_distance", "rounding_rel"]

_EPS = {"float64": 2.0**-23, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
"""Machine epsilon by dtype; traces are stored as float32, so nothing finer than that is seen."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """Where two traces part.

    Attributes:
        text: words for the place, whether the distance jumped or grew, and what still agrees.
        latents_rel: relative L2 distance of the final latents, or of the last step's sketch; None when not stored.
        place: name of the first place that is further apart than the threshold; None where there is none.
        course: `jump` where the distance came at once, `growth` where it grew as rounding does; None outside steps.
        change: what became of the tensor at that place.
        series: name and relative distance of every place that both traces hold, in the order of the call.
        threshold_rel: distance up to which places count as equal.
    """

    text: str
    latents_rel: float | None
    place: str | None = None
    course: Course | None = None
    change: Change = dataclasses.field(default_factory=Change)
    series: tuple[tuple[str, float], ...] = ()
    threshold_rel: float = 0.0

    def details(self) -> dict[str, Any]:
        """The same as plain JSON, with four digits; an infinite distance is None."""
        return {
            "place": self.place,
            "course": self.course,
            "scale": _four_digits(self.change.scale),
            "cosine": _four_digits(self.change.cosine),
            "threshold_rel": _four_digits(self.threshold_rel),
            "series": [[name, _four_digits(gap_rel)] for name, gap_rel in self.series],
        }


def rounding_rel(dtype: str) -> float:
    """Relative error of rounding to a dtype, root mean square: `eps / sqrt(12)`. Unknown names count as float32."""
    return _EPS.get(dtype.removeprefix("torch."), _EPS["float32"]) / math.sqrt(12)


def parting_threshold_rel(dtype: str, now: RerunNoise, base: RerunNoise, limits: Limits) -> float:
    """Distance up to which two traces count as equal: rounding, or what identical calls drift where that is more.

    As for the tolerance of images, the baseline's drift counts, and this run's only where the baseline's rounds were
    not repeated.
    """
    noise = base if base.rounds > 1 else now
    drift_rel = noise.latents_rel or 0.0
    return max(limits.trace_rounding_factor * rounding_rel(dtype), drift_rel * 10 ** (limits.rerun_margin_db / 20))


def part(now: Trace, base: Trace, threshold_rel: float) -> Parting:
    """Follow two traces in the order of the call until their distance passes the threshold.

    That order is: text encoders, embeddings, in each step the predictions and then the latents, the decoder. Only
    places that both hold are compared, so a trace that was stored before there were predictions still says its part.

    Args:
        now: trace of this run.
        base: trace of the baseline.
        threshold_rel: relative distance up to which the traces count as equal, see `parting_threshold_rel`.
    """
    mine, stored = entries_of(now), entries_of(base)
    gaps_rel = distances(mine, stored)
    last = next((name for name in reversed(gaps_rel) if mine[name].place.kind in ("final", "latents")), None)
    latents_rel = gaps_rel[last] if last is not None else None
    parting = Parting(
        text="parts at a place that isn't known: no trace is stored on both sides",
        latents_rel=latents_rel,
        series=tuple(gaps_rel.items()),
        threshold_rel=threshold_rel,
    )
    first = next((name for name, gap_rel in gaps_rel.items() if gap_rel > threshold_rel), None)
    if first is not None:
        place = mine[first].place
        found = Divergence(place=place, now=mine, base=stored, gaps_rel=gaps_rel, threshold_rel=threshold_rel)
        return dataclasses.replace(parting, text=found.text(), place=first, course=found.course, change=found.change)
    if latents_rel is None:
        return parting
    if "decoded" in gaps_rel:
        text = f"parts after the decoder: its output agrees ({share(gaps_rel['decoded'])} apart)"
    else:
        text = f"parts in the decoder or after it: the latents agree to the end ({share(latents_rel)} apart)"
    return dataclasses.replace(parting, text=text)


def _four_digits(value: float | None) -> float | None:
    return float(f"{value:.4g}") if value is not None and math.isfinite(value) else None
