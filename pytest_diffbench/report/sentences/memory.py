"""Sentences of the memory gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.report.units import format_bytes, format_list, format_percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_diffbench.records import Stage
    from pytest_diffbench.records.details import MemoryDetails

_ROUGH = " Rough: read from the resident set of the whole process."


def message(reason: str, details: MemoryDetails) -> str:
    """What grew, by how much and in which stage; or how small a change would have been seen."""
    before, after = details.peak_bytes
    peak, rough = f"peak {_pair(before, after)}", _ROUGH if details.source == "process_rss" else ""
    match reason:
        case "memory.peak" | "memory.less":
            word = "More" if reason == "memory.peak" else "Less"
            carrier = f" Most of it in {_carrier(details)}." if details.carrier is not None else ""
            return f"{word} memory: {peak}.{carrier}{rough}"
        case "memory.stage":
            stages = _grown({stage.stage: stage.peak_bytes for stage in details.stages if stage.peak_moved})
            return f"More memory within a stage: {stages}. The call: {peak}."
        case "memory.workspace":
            stages = _grown({stage.stage: stage.workspace_bytes for stage in details.stages if stage.workspace_moved})
            return f"More memory for a stage's tensors: {stages}. The call: {peak}.{rough}"
        case "memory.reserved":
            reserved = _pair(*details.reserved_bytes)
            return f"More memory reserved by the allocator: {reserved}. The call: {peak}."
    return f"Same memory: {peak}. {_detectable(details)}{rough}"


def changes(details: MemoryDetails) -> list[str]:
    """A line for each stage that moved by more than is allowed, or was seen on one side alone."""
    lines = []
    for stage in details.stages:
        if stage.peak_bytes == (None, None):
            continue
        if None in stage.peak_bytes:
            side = "the baseline" if stage.peak_bytes[0] is None else "this run"
            lines.append(f"{stage.stage}: memory not measured in {side}")
        elif stage.peak_moved:
            lines.append(f"{stage.stage}: peak {_pair(*stage.peak_bytes)}")
        if stage.workspace_moved:
            lines.append(f"{stage.stage}: tensors made {_pair(*stage.workspace_bytes)}")
    if None not in details.reserved_bytes and details.reserved_bytes[0] != details.reserved_bytes[1]:
        lines.append(f"reserved: {_pair(*details.reserved_bytes)}")
    return lines


def _grown(moved: Mapping[Stage, tuple[int | None, int | None]]) -> str:
    """Of the stages that moved, those that take more."""
    grown = {stage: sides for stage, sides in moved.items() if (sides[1] or 0) > (sides[0] or 0)}
    return format_list([f"{stage} {_pair(*sides)}" for stage, sides in grown.items()])


def _carrier(details: MemoryDetails) -> str:
    stage = next(stage for stage in details.stages if stage.stage == details.carrier)
    return f"{stage.stage} ({_pair(*stage.peak_bytes)})"


def _detectable(details: MemoryDetails) -> str:
    visible_bytes = details.smallest_visible_bytes
    share = format_percent(visible_bytes / details.peak_bytes[0], signed=True)
    text = f"A change of {format_bytes(visible_bytes)} ({share}) would have been detected"
    if details.workspace_visible_rel is not None:
        least = format_bytes(details.workspace_visible_bytes)
        text += f", and of a stage's tensors {100 * details.workspace_visible_rel:g} % (at least {least})"
    return f"{text}."


def _pair(before: int | None, after: int | None) -> str:
    before, after = before or 0, after or 0
    if before == after:
        return format_bytes(after)
    share = f" ({format_percent((after - before) / before, signed=True)})" if before else ""
    return f"{format_bytes(before)} -> {format_bytes(after)}{share}"
