"""The figures behind a comparison of two traces: where they diverge, and how."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pytest_diffbench.records.base import Count, NotNegative, Record

Course: TypeAlias = Literal["jump", "growth"]
"""Whether a distance came at once, or grew from step to step as rounding does."""

TensorChange: TypeAlias = Literal[
    "scaled", "shifted", "unrelated", "zeros_now", "zeros_in_baseline", "shape", "not_finite"
]
"""What became of a tensor, where something simple explains its distance."""


class UnmatchedPlace(Record, frozen=True, kw_only=True):
    """A prediction that only one trace holds."""

    place: str
    side: Literal["here", "baseline"]


class TraceDetails(Record, frozen=True, kw_only=True):
    """Two traces beside each other; distances are relative L2 norms, None where they are infinite."""

    place: str | None = None
    """First place that is further apart than the threshold."""

    course: Course | None = None
    """None outside the denoiser's steps, where there is nothing to grow from."""

    change: TensorChange | None = None
    """What became of the tensor at that place."""

    scale: float | None = None
    """Factor that brings the baseline's tensor nearest to this run's: `<a, b> / <b, b>`."""

    cosine: float | None = None
    """Of the angle between the two tensors."""

    shift: float | None = None
    """What was added to all values, where the tensor was shifted."""

    not_finite: tuple[Count, Count] | None = None
    """Values that aren't finite, in the baseline and now, where their number differs."""

    threshold_rel: NotNegative | None = None
    """Distance up to which places count as equal."""

    series: tuple[tuple[str, NotNegative | None], ...] = ()
    """Distance of every place that both traces hold, in the order of the call."""

    unmatched: tuple[UnmatchedPlace, ...] = ()
    """Predictions of the step of divergence that only one trace holds, where both hold predictions."""


class TraceExcess(Record, frozen=True, kw_only=True):
    """The place of a trace that is furthest beyond its limit; None is an infinite distance."""

    place: str
    distance_rel: NotNegative | None
    limit_rel: NotNegative
