"""Words for the parts of a result that aren't images: what they are, and where something is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.outputs.kinds import KINDS, PART_METRICS
from pytest_diffbench.report.units import format_count, format_seconds

if TYPE_CHECKING:
    from pytest_diffbench.outputs.metrics.metric import Metric
    from pytest_diffbench.records import PartFacts, PartSketch
    from pytest_diffbench.records.details import MetricLimit, PartPlace, Returned, ReturnedPart


def part_name(part: ReturnedPart | PartSketch) -> str:
    """A part in two words: `video 'frames'`."""
    kind = KINDS.get(part.kind)
    return f"{kind.noun if kind is not None else part.kind} {part.name!r}"


def part_text(part: ReturnedPart) -> str:
    """A part with its size and rate: `video 'frames' (16 frames of 64 x 64 px, 8 per second)`."""
    return f"{part_name(part)} ({size_text(part)}{_rate_beside(part)})"


def size_text(part: ReturnedPart | PartFacts | PartSketch) -> str:
    """The size of a part: `16 frames of 64 x 64 px`."""
    kind, shape = KINDS.get(part.kind), part.shape
    if part.kind == "map" and len(shape) == 3:
        return f"{shape[1]} x {shape[0]} px{f' x {shape[2]}' if shape[2] > 1 else ''}"
    if kind is None or kind.unit is None:
        return " x ".join(map(str, shape)) or "number"
    count = shape[kind.length_axis]
    length = f"{count:,} {kind.unit if count != 1 else kind.unit.removesuffix('s')}"
    if kind.unit == "frames" and len(shape) == 4:
        return f"{length} of {shape[2]} x {shape[1]} px"
    return f"{length}, {format_count(shape[0], 'channel')}" if kind.unit == "samples" and len(shape) == 2 else length


def rate_text(rate_hz: float | None) -> str:
    """Frames or samples per second."""
    return "no rate" if rate_hz is None else f"{rate_hz:,g} per second"


def _rate_beside(part: ReturnedPart) -> str:
    return "" if part.rate_hz is None else f", {rate_text(part.rate_hz)}"


def returned_part(returned: Returned | None, number: int | None) -> ReturnedPart | None:
    """A part by its number."""
    parts = returned.parts if returned is not None else ()
    return parts[number] if number is not None and number < len(parts) else None


def metric_of(figure: MetricLimit) -> Metric | None:
    """The metric of a figure of a part; None where it is of none, or its kind isn't registered any more."""
    return PART_METRICS.get(figure.metric)


def place_words(place: PartPlace | None, part: ReturnedPart | None) -> str:
    """Where in a part: `in frame 3`, `in frames 8-11`, `at 1.250 s`, `in channel 2 of sample 0`."""
    if place is None:
        return ""
    words = []
    if place.frame is not None:
        words.append(f"in {frames_text(place.frame, place.last_frame)}{time_of_frame(place.frame, part)}")
    if place.first_sample is not None:
        words.append(f"at {_time_of_sample(place.first_sample, part)}")
    if place.channel is not None:
        words.append(f"in channel {place.channel}")
    if place.batch is not None:
        words.append(f"of sample {place.batch} of the batch")
    return " ".join(words)


def frames_text(first: int, last: int | None) -> str:
    """A frame, or a run of them."""
    return f"frame {first}" if last is None or last == first else f"frames {first}-{last}"


def time_of_frame(frame: int, part: ReturnedPart | None) -> str:
    """The time of a frame in brackets; empty where no rate is known."""
    return "" if part is None or part.rate_hz is None else f" ({format_seconds(frame / part.rate_hz)})"


def _time_of_sample(sample: int, part: ReturnedPart | None) -> str:
    if part is None or part.rate_hz is None:
        return f"sample {sample:,}"
    return format_seconds(sample / part.rate_hz)
