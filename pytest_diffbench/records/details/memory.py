"""The figures behind verdicts on memory."""

from __future__ import annotations

from pytest_diffbench.records.base import Bytes, Record, Stage


class StageMemoryChange(Record, frozen=True, kw_only=True):
    """Memory of a stage in the baseline and now; None where a side didn't see it."""

    stage: Stage
    peak_bytes: tuple[Bytes | None, Bytes | None] = (None, None)
    workspace_bytes: tuple[Bytes | None, Bytes | None] = (None, None)
    """Of the tensors that the stage made."""

    peak_moved: bool = False
    """By more than is allowed."""

    workspace_moved: bool = False


class MemoryDetails(Record, frozen=True, kw_only=True, tag="memory", tag_field="kind"):
    """Of the memory gate; pairs are the baseline's figure and this run's."""

    source: str
    peak_bytes: tuple[Bytes, Bytes]
    reserved_bytes: tuple[Bytes | None, Bytes | None] = (None, None)
    stages: tuple[StageMemoryChange, ...] = ()
    carrier: Stage | None = None
    """The stage whose peak made the peak of the call another one."""

    smallest_visible_bytes: Bytes = 0
    """Smallest change of the peak that would have been seen."""

    workspace_visible_rel: float | None = None
    """The same of the tensors that a stage makes, as a share; None where they weren't counted on both sides."""

    workspace_visible_bytes: Bytes = 0
    """And not less than this."""
