"""One thing that differs between two records of work, and which way it went."""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeAlias

Direction: TypeAlias = Literal["more", "less", "other"]
Kind: TypeAlias = Literal[
    "steps",
    "schedule",
    "branches",
    "denoiser_calls",
    "component_calls",
    "shapes",
    "parameters",
    "flops",
    "attention_mask",
    "compiled",
    "operators",
    "python_calls",
]


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """A difference with its words.

    Attributes:
        kind: what differs; the second half of the reason code.
        direction: `other` is a change that is neither more nor less, such as shapes with equal FLOPs.
        text: what differs, where, from which value to which.
        component: in which component; empty where that is no component's.
    """

    kind: Kind
    direction: Direction
    text: str
    component: str = ""


def direction(before: int, after: int) -> Direction:
    """Which way a count went."""
    return "more" if after > before else "less" if after < before else "other"


def direction_within(before: int, after: int, allowed_rel: float) -> Direction | None:
    """Which way a count went, None when it stayed within a share of the larger of the two."""
    if abs(after - before) <= allowed_rel * max(before, after):
        return None
    return direction(before, after)
