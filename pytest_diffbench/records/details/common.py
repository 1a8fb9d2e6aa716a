"""Figures that verdicts of several gates have: why two things aren't compared."""

from __future__ import annotations

from typing import Literal

from pytest_diffbench.records.base import Fact, Record
from pytest_diffbench.records.details.returned import Returned
from pytest_diffbench.records.output import RerunNoise


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
