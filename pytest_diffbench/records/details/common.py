"""Figures that verdicts of several gates have: why two things aren't compared, and what a call returned."""

from __future__ import annotations

from typing import Literal

from pytest_diffbench.records.base import Count, Fact, Record
from pytest_diffbench.records.output import PositiveHertz, RerunNoise


class ReturnedTensor(Record, frozen=True, kw_only=True):
    """A tensor or array that is no image."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class ReturnedPart(Record, frozen=True, kw_only=True):
    """A part that is no image, see `PartFacts`."""

    kind: str
    name: str
    shape: tuple[int, ...]
    dtype: str
    rate_hz: PositiveHertz | None = None
    kept: Count = 0
    """Frames, or blocks of samples, that are kept whole."""


class Returned(Record, frozen=True, kw_only=True):
    """Images, tensors, or latents alone."""

    images: Count = 0
    tensors: tuple[ReturnedTensor, ...] = ()
    parts: tuple[ReturnedPart, ...] = ()
    no_images: str | None = None
    """Why what was returned isn't images."""

    unrecognised: str | None = None
    """Types in what was returned, where no output was recognised in it."""


class FieldChange(Record, frozen=True, kw_only=True):
    """A field or fact that differs; None stands for one that is absent. Values are written as Python writes them."""

    field: str
    before: str | None = None
    after: str | None = None


class Unjudged(Record, frozen=True, kw_only=True, tag="unjudged", tag_field="kind"):
    """Of a gate that had nothing to judge, or nothing to judge by."""

    notes: tuple[str, ...] = ()
    """Notes of the measurement, which say why it saw nothing or broke off."""

    saving: bool = False
    """There is no baseline, and this run is being saved as the first."""

    baseline_path: str | None = None
    """A baseline that holds nothing of what the gate compares."""

    side: Literal["here", "baseline"] | None = None
    """Where nothing was seen."""

    definition: tuple[FieldChange, ...] = ()
    """Fields in which the case is defined otherwise than its baseline."""

    elsewhere: bool = False
    """What it is held against is another environment, not a stored baseline."""

    missing: str | None = None
    """Why that environment has nothing to hold the case against."""

    returned: Returned | None = None
    """What the call returned, where the output is sound by itself."""

    rerun: RerunNoise | None = None
    """How calls of this run differ among themselves."""


class Incomparable(Record, frozen=True, kw_only=True, tag="incomparable", tag_field="kind"):
    """Of two runs that can't be compared with each other."""

    machine: str | None = None
    """Class of machine that the baseline is of, where it is another one."""

    facts: tuple[FieldChange, ...] = ()
    """Hardware or settings that differ."""

    unknown: tuple[str, ...] = ()
    """Facts of the hardware that nobody recorded with the baseline."""

    sources: tuple[Fact, Fact] | None = None
    """Where memory was read from, in the baseline and now."""
