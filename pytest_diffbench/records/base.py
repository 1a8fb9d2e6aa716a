"""What all records are made of: their base class, the words they are written in, and checked numbers."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

Gate: TypeAlias = Literal["work", "guidance", "output", "memory", "time"]
GATES: tuple[Gate, ...] = ("work", "guidance", "output", "memory", "time")

Decision: TypeAlias = Literal["same", "better", "worse", "unsure", "incomparable", "unbaselined"]
DECISIONS: tuple[Decision, ...] = ("worse", "unsure", "incomparable", "unbaselined", "better", "same")
"""From what needs a reader most to what needs one least."""

Stage: TypeAlias = Literal["text_encode", "vae_encode", "denoise", "vae_decode", "unattributed"]
STAGES: tuple[Stage, ...] = ("text_encode", "vae_encode", "denoise", "vae_decode", "unattributed")

Branch: TypeAlias = Literal["cond", "uncond", "joint", "unknown"]
JointOrder: TypeAlias = Literal["uncond_cond", "cond_uncond"]
Weights: TypeAlias = Literal["mini", "random", "pretrained", "plan", "own"]
"""`plan`: the full-size model without weights, whose work is counted and whose arithmetic isn't done; `random`: the
same with drawn weights; `own`: a pipeline that the test built itself and passed in."""

Offload: TypeAlias = Literal["none", "model", "sequential", "group"]
Compile: TypeAlias = Literal["none", "whole", "regional"]
Distance: TypeAlias = Literal["machine", "family", "any"]
"""How near the machine of a baseline is: the same class, the same type of device, or another."""

Fact: TypeAlias = str | int | float | bool | None

LONGEST_S = 30 * 86_400.0
"""No call takes a month: a time beyond it is in another unit, or damaged."""

MOST_BYTES = 1 << 50
"""A pebibyte, which no machine holds."""

PositiveSeconds = Annotated[float, Meta(gt=0, le=LONGEST_S)]
Seconds = Annotated[float, Meta(ge=0, le=LONGEST_S)]
Count = Annotated[int, Meta(ge=0)]
PositiveCount = Annotated[int, Meta(ge=1)]
Bytes = Annotated[int, Meta(ge=0, le=MOST_BYTES)]
PositiveBytes = Annotated[int, Meta(gt=0, le=MOST_BYTES)]
Share = Annotated[float, Meta(ge=0, le=1)]
NotNegative = Annotated[float, Meta(ge=0)]
Celsius = Annotated[float, Meta(ge=-273.15, le=1000)]


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all records: frozen, slotted, strict about unknown fields. Subclasses take keywords only."""


def as_json(record: Record) -> bytes:
    """A record as JSON in UTF-8, indented: fields in its own order, other keys in alphabetical order."""
    return msgspec.json.format(msgspec.json.encode(record, order="deterministic"), indent=2) + b"\n"
