"""What is known of a reason code whatever the case."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from pytest_diffbench.records import Decision

Helps: TypeAlias = Literal["save", "rerun", "neither"]


@dataclasses.dataclass(frozen=True, slots=True)
class Reason:
    """A reason code.

    Attributes:
        code: `gate.what`, stable over releases.
        decision: that it always goes with.
        meaning: when it is given, for the documentation.
        remedy: what to do, a sentence; empty where nothing is to be done.
        helps: what changes the verdict where the code under test stays as it is: saving this run as a baseline,
            measuring again, or neither.
    """

    code: str
    decision: Decision
    meaning: str
    remedy: str = ""
    helps: Helps = "neither"
