"""The figures behind verdicts on outputs and traces."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pytest_diffbench.records.base import Count, Distance, NotNegative, Record
from pytest_diffbench.records.details.common import Returned
from pytest_diffbench.records.output import PositiveHertz, RerunNoise, ToleranceChange

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


class ImageTile(Record, frozen=True, kw_only=True):
    """A part of an image; place and size in pixels, counted from the top left corner."""

    left_px: int
    top_px: int
    width_px: int
    height_px: int


class ImageLine(Record, frozen=True, kw_only=True):
    """A line through an image."""

    orientation: Literal["horizontal", "vertical"]
    position_px: int
    period_px: int | None = None
    """Distance at which further ones follow."""


class MetricFigure(Record, frozen=True, kw_only=True):
    """A metric of an image against the baseline's, and the place in the image that it is of."""

    value: float | None
    """None for an infinite PSNR, which equal images have, and for what is no number."""

    tile: ImageTile | None = None
    line: ImageLine | None = None


class PartPlace(Record, frozen=True, kw_only=True):
    """Where in a part something is; what doesn't apply is null."""

    frame: Count | None = None
    last_frame: Count | None = None
    """The last of several, where `frame` is the first."""

    first_sample: Count | None = None
    """Of audio."""

    end_sample: Count | None = None
    """The sample that follows the stretch."""

    batch: Count | None = None
    """Number in the batch."""

    channel: Count | None = None
    axis: Count | None = None


class MetricLimit(Record, frozen=True, kw_only=True):
    """A metric of an image, a part, a tensor, or the final latents where it has none of these, beside its limit."""

    metric: str
    """Name of a metric of images or of a kind of output, or `latents_rel`: a relative L2 distance."""

    value: float | None
    limit: float
    image: Count | None = None
    tensor: Count | None = None
    """Number of the tensor in what was returned."""

    part: Count | None = None
    """Number of the part that isn't an image."""

    place: PartPlace | None = None
    """Where in that part."""

    tile: ImageTile | None = None
    """In the image or frame."""

    line: ImageLine | None = None


class PartFinding(Record, frozen=True, kw_only=True):
    """What became of a part, where that can be named; `outputs.kinds.Finding` has the codes, and what figures are."""

    part: Count
    code: str
    """Such as `frozen` or `mirrored`."""

    place: PartPlace | None = None
    other: Count | None = None
    factor: float | None = None
    shift: float | None = None
    shift_px: tuple[int, int] | None = None


class OutputDetails(Record, frozen=True, kw_only=True, tag="output", tag_field="kind"):
    """Of the output gate. Pairs are the baseline's and this run's."""

    distance: Distance | None = None
    """How near the baseline's machine is."""

    machines: tuple[str, str] | None = None
    """Where they are of another class."""

    returned: Returned | None = None
    baseline_returned: Returned | None = None
    baseline_path: str | None = None

    where: str | None = None
    """First boundary at which a value wasn't finite: `latents, step 3` or `vae.decode`."""

    place: str | None = None
    """First place of the trace that holds such a value."""

    constant_images: tuple[Count, ...] = ()
    constant_tensors: tuple[str, ...] = ()
    unsound_parts: tuple[Count, ...] = ()
    """Numbers of the parts that are constant or silent."""

    part: Count | None = None
    """Number of the part that differs in kind, length, size or rate, or that the baseline doesn't hold."""

    rates_hz: tuple[PositiveHertz | None, PositiveHertz | None] | None = None
    """Frames or samples per second, where they differ."""

    image: Count | None = None
    """Number of the image whose size or mode differs."""

    tensor: Count | None = None
    """Number of the returned tensor whose name, shape or dtype differs."""

    sizes_px: tuple[tuple[int, int], tuple[int, int]] | None = None
    """Width and height."""

    modes: tuple[str, str] | None = None
    shapes: tuple[tuple[int, ...] | None, tuple[int, ...] | None] | None = None
    """Of the latents, or of an image's stored pixels."""

    not_kept: Literal["images_here", "images_in_baseline", "parts_here", "parts_in_baseline", "trace"] | None = None
    """What is missing of what was returned, so that it can't be compared."""

    rerun: RerunNoise | None = None
    """How this run's calls differ among themselves."""

    images: tuple[dict[str, MetricFigure], ...] = ()
    """Of each image, every metric by name."""

    parts: tuple[MetricLimit, ...] = ()
    """Of each part that differs, every metric."""

    latents_rel: NotNegative | None = None
    """Relative L2 distance of the final latents."""

    latents_dtypes: tuple[str | None, str | None] | None = None
    """Where they differ."""

    worst: MetricLimit | None = None
    """What is furthest beyond its limit, or nearest to it."""

    further: tuple[MetricLimit, ...] = ()
    """What else is beyond its limit."""

    findings: tuple[PartFinding, ...] = ()
    """What became of parts, as far as it can be named."""

    trace: TraceDetails | None = None
    trace_excess: TraceExcess | None = None
    """Beyond the limits of the trace, on one class of machine."""

    allowed: dict[str, float] = {}
    """Limit of each metric, and `latents_rel`."""

    rerun_db: float | None = None
    """PSNR between identical calls of the case, by which limits were loosened."""

    weights: tuple[str, ...] = ()
    """Components whose weights aren't the baseline's."""

    reason_besides_weights: str | None = None
    """What the reason would be, had the weights been equal."""

    tolerances: tuple[ToleranceChange, ...] = ()
    """History of the case's thresholds."""

    tolerances_pending: tuple[ToleranceChange, ...] = ()
    """What the next save adds to it."""
