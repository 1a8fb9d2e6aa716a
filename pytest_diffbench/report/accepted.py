"""Draws what `diffbench accept` did: a line for each case, and a count."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_diffbench.report.lines import Line, hang, segment
from pytest_diffbench.report.sentences.saving import saved_text
from pytest_diffbench.report.units import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.records import SaveOutcome

_INDENT = 14


@dataclasses.dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a case; the fields are those of `records.CaseReport`."""

    case: str
    outcome: SaveOutcome | None
    times_left_out: str | None
    slid: str | None

    @property
    def refused(self) -> bool:
        """Whether it was to be accepted, and wasn't."""
        return self.outcome is not None and self.outcome.refused


def accepted_lines(accepted: Sequence[Accepted], width: int) -> list[Line]:
    """Draw what became of each case."""
    lines: list[Line] = []
    for item in accepted:
        label, markup = ("not accepted", ("red", "bold")) if item.refused else ("accepted", ("green",))
        if item.outcome is not None and item.outcome.what == "kept":
            label, markup = "kept", ("cyan",)
        lines += _line(label, markup, f"{item.case}: {saved_text(item.outcome)}", width)
        if item.times_left_out is not None:
            lines += _line("not timed", ("yellow",), f"{item.case}: {item.times_left_out}", width)
        if item.slid is not None:
            lines += _line("slid", ("yellow",), f"{item.case}: {item.slid}", width)
    refused = sum(item.refused for item in accepted)
    kept = sum(item.outcome is not None and item.outcome.what == "kept" for item in accepted)
    counts = f"{format_count(len(accepted) - refused - kept, 'case')} accepted, {kept} kept, {refused} refused"
    return [*lines, [segment(counts, "bold")]]


def _line(label: str, markup: tuple[str, ...], text: str, width: int) -> list[Line]:
    return hang([segment(f"{label:{_INDENT}}", *markup)], text, width, _INDENT)
