"""The places of a trace: what their names mean, and the order of the call."""

from __future__ import annotations

import dataclasses
import re
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["encoder", "text", "prediction", "latents", "final", "decoder_input", "decoded", "returned"]

_NUMBER = r"(?:0|[1-9]\d*)"
_REPEATED = rf"(?:#(?P<repetition>{_NUMBER}))?"
_PATTERNS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("text", re.compile(rf"text/(?P<call>{_NUMBER})")),
    ("encoder", re.compile(rf"text/(?P<component>[^/#]+)/(?P<call>{_NUMBER})(?:/(?P<part>{_NUMBER}))?")),
    (
        "prediction",
        re.compile(rf"prediction/(?P<step>{_NUMBER})/(?P<branch>[a-z-]+)(?:/(?P<component>[^/#]+))?{_REPEATED}"),
    ),
    ("latents", re.compile(rf"latents/(?P<step>{_NUMBER})")),
    ("final", re.compile(r"latents/final")),
    ("decoder_input", re.compile(rf"decoder_input{_REPEATED}")),
    ("decoded", re.compile(rf"decoded{_REPEATED}")),
    ("returned", re.compile(rf"returned/(?P<part>{_NUMBER})")),
)

_BRANCHES = ("cond", "uncond", "joint-uncond", "joint-cond", "joint")
"""In the order in which they are made, as far as that is known of all pipelines; others come last."""

_RANK = {name: rank for rank, name in enumerate(_BRANCHES)}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place of a call whose tensor a trace holds.

    Attributes:
        name: in the trace.
        kind: `encoder` is what a text encoder returned, `text` what the pipeline made of it.
        step: of predictions and latents, from 0.
        branch: of predictions: `cond`, `uncond`, `joint-uncond`, `joint-cond`, `joint` or `unknown`.
        component: a text encoder, or one of several denoisers.
        call: number of the encoder's call or of the text embedding, from 0.
        part: number of the tensor in what an encoder, or the call itself, returned, from 0.
        repetition: how many calls with the same name came before.
    """

    name: str
    kind: Kind
    step: int = 0
    branch: str = ""
    component: str = ""
    call: int = 0
    part: int = 0
    repetition: int = 0

    @property
    def order(self) -> tuple[int | str, ...]:
        """Sorts places in the order of the call."""
        if self.kind in ("encoder", "text"):
            return (0 if self.kind == "encoder" else 1, self.call, self.part, self.component)
        if self.kind in ("prediction", "latents"):
            late = int(self.kind == "latents")
            return (2, self.step, late, self.repetition, _RANK.get(self.branch, len(_RANK)), self.component)
        if self.kind == "final":
            return (3,)
        if self.kind == "returned":
            return (5, self.part)
        return (4, self.repetition, int(self.kind == "decoded"))

    def is_step_before(self, other: Place) -> bool:
        """Whether it is of a step before that of another place, or of the same step and made before its latents."""
        if self.kind not in ("prediction", "latents"):
            return False
        return self.step < other.step or (
            self.step == other.step and self.kind == "prediction" and other.kind == "latents"
        )


def place_of(name: str) -> Place | None:
    """Read the name of an array of a trace; None where it isn't the name of a place."""
    for kind, pattern in _PATTERNS:
        match = pattern.fullmatch(name)
        if match is not None:
            parts = {key: value for key, value in match.groupdict().items() if value is not None}
            words = {key: value for key, value in parts.items() if key in ("branch", "component")}
            numbers = {key: int(value) for key, value in parts.items() if key not in words}
            return Place(name=name, kind=kind, **words, **numbers)  # type: ignore[arg-type]  # keys are the fields' names
    return None
