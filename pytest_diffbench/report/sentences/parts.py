"""Words for the parts of a result that aren't images: what they are, where something is, and what became of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_diffbench.outputs.kinds import KINDS, PART_METRICS
from pytest_diffbench.report.units import format_count, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_diffbench.outputs.metrics.metric import Metric
    from pytest_diffbench.records import PartFacts, PartSketch
    from pytest_diffbench.records.details import MetricLimit, PartFinding, PartPlace, Returned, ReturnedPart


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


_AXES = {"map": ("height", "width", "channels")}
"""Names of the axes of a kind; others are numbered."""


def findings_text(findings: Sequence[PartFinding], part: ReturnedPart | None) -> str:
    """What became of a part, a sentence for each thing; empty where nothing can be named."""
    return " ".join(f"{finding_text(finding, part)}." for finding in findings)


def finding_text(finding: PartFinding, part: ReturnedPart | None) -> str:
    """What became of a part, without a full stop. A code without words of its own is written out."""
    words = _WORDS.get(finding.code)
    if words is None:
        return f"{finding.code.replace('_', ' ').capitalize()} {place_words(finding.place, part)}".rstrip()
    return words(finding, part)


def _subject(finding: PartFinding, part: ReturnedPart | None, verb: str, verb_of_several: str) -> str:
    """Frames and a verb: `Frame 3 is`."""
    place = finding.place
    if place is None or place.frame is None:
        return f"It {verb}"
    frames = frames_text(place.frame, place.last_frame)
    several = place.last_frame is not None
    return f"F{frames[1:]}{time_of_frame(place.frame, part)} {verb_of_several if several else verb}"


def _frozen(finding: PartFinding, part: ReturnedPart | None) -> str:
    place = finding.place
    if place is None or place.frame is None:
        return "It is frozen"
    before = place.frame - 1
    repeats = frames_text(place.frame, place.last_frame)
    return f"It is frozen from frame {before}{time_of_frame(before, part)} on: {repeats} repeat it"


def _shifted(finding: PartFinding, part: ReturnedPart | None) -> str:
    shift = round(finding.shift or 0)
    late = "late" if shift > 0 else "early"
    return f"{_subject(finding, part, 'comes', 'come')} {format_count(abs(shift), 'frame')} {late}"


def _moved(finding: PartFinding, part: ReturnedPart | None) -> str:
    right, down = finding.shift_px or (0, 0)
    words = []
    if right:
        words.append(f"{abs(right)} px to the {'right' if right > 0 else 'left'}")
    if down:
        words.append(f"{abs(down)} px {'down' if down > 0 else 'up'}")
    return f"{_subject(finding, part, 'is', 'are')} moved {' and '.join(words)}"


def _channel(place: PartPlace | None) -> str:
    if place is None:
        return ""
    return f"{place.channel}" + (f" of sample {place.batch} of the batch" if place.batch is not None else "")


def _gain(finding: PartFinding, _part: ReturnedPart | None) -> str:
    factor = finding.factor if finding.factor is not None else math.nan
    louder = "louder" if abs(factor) > 1 else "quieter"
    turned = ", with inverted polarity" if factor < 0 else ""
    return f"It is {abs(20 * math.log10(abs(factor))):.2f} dB {louder}{turned}"


def _inverted(_finding: PartFinding, part: ReturnedPart | None) -> str:
    is_map = part is not None and part.kind == "map"
    return "Its values are inverted" if is_map else "Its polarity is inverted"


def _delayed(finding: PartFinding, part: ReturnedPart | None) -> str:
    shift = finding.shift or 0
    time = "" if part is None or part.rate_hz is None else f" ({format_seconds(abs(shift) / part.rate_hz)})"
    late = "late" if shift > 0 else "early"
    return f"It comes {format_count(abs(round(shift)), 'sample')}{time} {late}"


def _mirrored(finding: PartFinding, part: ReturnedPart | None) -> str:
    axis = finding.place.axis if finding.place is not None else None
    if part is None or axis is None:
        return "It is mirrored"
    names = _AXES.get(part.kind, ())
    if axis < len(names):
        return f"It is mirrored along its {names[axis]}"
    return (
        "It is mirrored along its last axis" if axis == len(part.shape) - 1 else f"It is mirrored along axis {axis}"
    )


_WORDS: dict[str, Callable[[PartFinding, ReturnedPart | None], str]] = {
    "first_difference": lambda finding, part: f"The difference begins {place_words(finding.place, part)}",
    "frozen": _frozen,
    "repeated": lambda finding, part: f"{_subject(finding, part, 'repeats', 'repeat')} the frame before",
    "swapped_frames": lambda finding, _part: (
        f"Frames {finding.place.frame if finding.place else ''} and {finding.other} are exchanged"
    ),
    "shifted_frames": _shifted,
    "blank": lambda finding, part: f"{_subject(finding, part, 'is', 'are')} of a single colour",
    "moved": _moved,
    "missing_frames": lambda finding, part: (
        f"{_subject(finding, part, 'of the baseline is', 'of the baseline are')} missing, and all others are equal"
    ),
    "added_frames": lambda finding, part: (
        f"{_subject(finding, part, 'was', 'were')} put in, and all others are equal"
    ),
    "channel_silent": lambda finding, _part: f"Channel {_channel(finding.place)} is silent",
    "channel_zero": lambda finding, _part: f"Channel {_channel(finding.place)} is zero",
    "swapped_channels": lambda finding, _part: (
        f"Channels {_channel(finding.place)} and {finding.other} are exchanged"
    ),
    "inverted": _inverted,
    "gain": _gain,
    "scaled": lambda finding, _part: f"Its values are scaled by {finding.factor or 0:.4g}",
    "offset": lambda finding, _part: f"Its values are moved by {finding.shift or 0:+.4g}",
    "delayed": _delayed,
    "clipped": lambda finding, _part: f"It is clipped at {finding.factor or 0:.3g} of full scale",
    "mirrored": _mirrored,
}
