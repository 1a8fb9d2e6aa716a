"""What became of a part of a result, a sentence for each code of `outputs.kinds.Finding`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_diffbench.report.sentences.parts import frames_text, place_words, time_of_frame
from pytest_diffbench.report.units import format_count, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_diffbench.records.details import PartFinding, PartPlace, ReturnedPart

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
