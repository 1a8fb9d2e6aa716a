"""Sentences about the place where two traces part: what it is, how the distance goes on, and what still agrees."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Literal, TypeAlias

from pytest_diffbench.judge.trace.change import change_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.judge.trace.change import Change
    from pytest_diffbench.judge.trace.entries import TraceEntry
    from pytest_diffbench.judge.trace.places import Place

Course: TypeAlias = Literal["jump", "growth"]

_JUMP = 10.0
"""Rounding grows from step to step by less than tenfold; a fault comes at once."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """Two traces, and the first place where they are further apart than the threshold.

    Attributes:
        place: that place.
        now: entries of this run by name, in the order of the call.
        base: those of the baseline.
        gaps_rel: relative distance by name where both have an entry, in the order of the call.
        threshold_rel: distance up to which entries count as equal.
    """

    place: Place
    now: dict[str, TraceEntry]
    base: dict[str, TraceEntry]
    gaps_rel: dict[str, float]
    threshold_rel: float

    @property
    def change(self) -> Change:
        """What became of the tensor at that place."""
        return change_of(self.now[self.place.name], self.base[self.place.name])

    @property
    def course(self) -> Course | None:
        """Whether the distance came at once or grew; None outside the steps, where there is nothing to grow from."""
        if self.place.kind not in ("prediction", "latents"):
            return None
        before = self._before()
        # Without a step before, all of the denoiser's rounding comes at once.
        floor_rel = self.threshold_rel / (_JUMP if before else 1)
        return "jump" if self._gap_rel > _JUMP * max(self._before_rel, floor_rel) else "growth"

    def text(self) -> str:
        """Says where the traces part, as a clause without its subject."""
        kind = self.place.kind
        if kind == "decoder_input":
            where = "parts between the last step and the decoder"
        elif kind == "decoded":
            where = "parts in the decoder"
        else:
            where = f"parts at {self.place.words}"
        course, change = self.course, self.change.text
        if math.isinf(self._gap_rel):
            said = (change or share(self._gap_rel)) + self._end()
        elif course is None:
            said = f"{share(self._gap_rel)} apart" + (f", {change}" if change else "")
        else:
            verb = "jumped" if course == "jump" else "grew"
            said = f"{verb} from {share(self._before_rel)} to {share(self._gap_rel)}{self._end()}"
            said += f"; {change}" if change else ""
        return "; ".join([f"{where}: {said}", *self._context()])

    @property
    def _gap_rel(self) -> float:
        return self.gaps_rel[self.place.name]

    @property
    def _before_rel(self) -> float:
        return max(self._before(), default=0.0)

    def _places(self, *kinds: str) -> list[Place]:
        """Places that both traces hold."""
        return [self.now[name].place for name in self.gaps_rel if self.now[name].place.kind in kinds]

    def _before(self) -> list[float]:
        """Distances in the steps up to this place, of this step only those that were made before."""
        late = self.place.kind == "latents"
        return [
            self.gaps_rel[place.name]
            for place in self._places("prediction", "latents")
            if place.step < self.place.step or (late and place.step == self.place.step and place.kind == "prediction")
        ]

    def _end(self) -> str:
        """How far it got by the last step."""
        last = next(reversed(self._places("latents")), None)
        if last is None or last.step <= self.place.step:
            return ""
        return f", {share(self.gaps_rel[last.name])} at the last step"

    def _context(self) -> list[str]:
        kind = self.place.kind
        if kind == "encoder":
            return self._other_encoders()
        if kind == "text":
            return _agreeing("outputs of the encoders", self._rels("encoder"))
        if kind == "prediction":
            before = [self.gaps_rel[place.name] for place in self._places("latents") if place.step < self.place.step]
            return [*self._other_predictions(), *_agreeing("latents before it", before)]
        if kind == "latents":
            return self._predictions_of_step()
        if kind == "decoder_input":
            return _agreeing("the latents", self._rels("latents", "final"))
        if kind == "decoded":
            return _agreeing("what went into it", self._rels("decoder_input"), one=True)
        return []

    def _rels(self, *kinds: str) -> list[float]:
        return [self.gaps_rel[place.name] for place in self._places(*kinds)]

    def _other_encoders(self) -> list[str]:
        """The other encoders that agree in all calls, if this isn't the only one."""
        rels: dict[str, list[float]] = {}
        for place in self._places("encoder"):
            rels.setdefault(place.component, []).append(self.gaps_rel[place.name])
        return [
            said
            for component, found in rels.items()
            if component != self.place.component and max(found) <= self.threshold_rel
            for said in _agreeing(f"outputs of {component}", found)
        ]

    def _other_predictions(self) -> list[str]:
        """The other branches of the step: they agree, part too, or are on one side only."""
        said: list[str] = []
        for place in self._places("prediction"):
            if place.step == self.place.step and place.name != self.place.name:
                rel = self.gaps_rel[place.name]
                if rel > self.threshold_rel:
                    said.append(f"the {place.branch_words} parts too ({share(rel)})")
                else:
                    said += _agreeing(f"the {place.branch_words}", [rel], one=True)
        return said + self._one_sided()

    def _predictions_of_step(self) -> list[str]:
        rels = [self.gaps_rel[place.name] for place in self._places("prediction") if place.step == self.place.step]
        return _agreeing("predictions of that step", rels) + self._one_sided()

    def _one_sided(self) -> list[str]:
        """Predictions of the step that only one trace holds, where both hold predictions at all."""
        sides = [
            {name: entry.place for name, entry in side.items() if entry.place.kind == "prediction"}
            for side in (self.now, self.base)
        ]
        if not all(sides):
            return []
        here, there = sides
        return [
            f"the {one.branch_words} was made only {where}"
            for mine, other, where in ((here, there, "here"), (there, here, "in the baseline"))
            for name, one in mine.items()
            if name not in other and one.step == self.place.step
        ]


def share(gap_rel: float) -> str:
    """Write a relative distance: `0.31 %`, or `not comparable` where it is infinite."""
    if math.isinf(gap_rel):
        return "not comparable"
    return f"{100 * gap_rel:,.0f} %" if gap_rel >= 0.995 else f"{100 * gap_rel:.2g} %"


def _agreeing(what: str, gaps_rel: Sequence[float], *, one: bool = False) -> list[str]:
    """Say that something is equal, or how far it agrees; nothing where nothing is known. `one`: the singular."""
    if not gaps_rel:
        return []
    worst_rel = max(gaps_rel)
    if worst_rel == 0:
        return [f"{what} {'is' if one else 'are'} equal"]
    return [f"{what} {'agrees' if one else 'agree'} to {share(worst_rel)}"]
