"""Sentences about the place where two traces diverge: what it is, how the distance goes on, and what still agrees."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from pytest_diffbench.judge.trace.entries import place_of
from pytest_diffbench.report.units import format_distance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_diffbench.judge.trace.entries import Place
    from pytest_diffbench.records.details import TraceDetails

_BRANCHES = {
    "cond": "conditional prediction",
    "uncond": "unconditional prediction",
    "joint-uncond": "unconditional half of the joint prediction",
    "joint-cond": "conditional half of the joint prediction",
    "joint": "joint prediction",
}

_LEAST_SCALE_REL = 0.005
"""A scale nearer to 1 is not worth its words."""


def place_text(name: str) -> str:
    """A place of a trace in words: `unconditional prediction, step 3`."""
    place = place_of(name)
    if place is None:
        return name
    again = f" (call {place.repetition + 1} of that kind)" if place.repetition else ""
    match place.kind:
        case "encoder":
            further = [f"call {place.call}"] if place.call else []
            further += [f"tensor {place.part}"] if place.part else []
            return f"output of {place.component}" + (f" ({', '.join(further)})" if further else "")
        case "prediction":
            return f"{_branch(place)}, step {place.step}{again}"
        case "text":
            return f"text embedding {place.call}"
        case "latents":
            return f"latents, step {place.step}"
        case "final":
            return "final latents"
        case "decoder_input":
            return f"decoder input{again}"
        case "decoded":
            return f"decoder output{again}"
        case "returned":
            return f"returned tensor {place.part}"


def _branch(place: Place) -> str:
    """A prediction without its step; of one of several denoisers with its name."""
    by = f" by {place.component}" if place.component else ""
    return _BRANCHES.get(place.branch, "prediction") + by


def divergence(details: TraceDetails) -> str:
    """Where two traces diverge, without a full stop."""
    return "; ".join([f"First divergence: {_Course(details).where()}", *_Course(details).context()])


@dataclasses.dataclass(frozen=True, slots=True)
class _Course:
    """What a trace's figures say about its place of divergence."""

    details: TraceDetails

    def where(self) -> str:
        """The place, how the distance came about, and what became of the tensor."""
        details = self.details
        if details.place is None:
            return self._behind_the_trace()
        gap_rel = self._distances()[details.place]
        change = _change(details)
        if math.isinf(gap_rel):
            figures = change or format_distance(gap_rel)
        elif details.course is None:
            figures = f"{format_distance(gap_rel)} apart" + (f", {change}" if change else "")
        else:
            verb = "jumps" if details.course == "jump" else "grows"
            figures = f"{verb} from {format_distance(max(self._before(), default=0.0))} to {format_distance(gap_rel)}"
        at_last_step = self._at_last_step()
        also = f"; {change}" if change and details.course is not None and math.isfinite(gap_rel) else ""
        return f"{place_text(details.place)} ({figures}{at_last_step}{also})"

    def _behind_the_trace(self) -> str:
        """All places that were compared agree."""
        rels = self._distances()
        if "decoded" in rels:
            return f"after the decoder (its output agrees, {format_distance(rels['decoded'])} apart)"
        latents = [rel for place, rel in self._places("latents", "final")]
        if latents:
            return f"in the decoder or later (latents agree to the end, {format_distance(latents[-1])} apart)"
        return "unknown (no trace is stored on both sides)"

    def context(self) -> list[str]:
        """What still agrees, and what else diverges."""
        if self.details.place is None or (place := place_of(self.details.place)) is None:
            return []
        match place.kind:
            case "encoder":
                return self._other_encoders(place)
            case "text":
                return _agreeing("encoder outputs", self._rels("encoder"))
            case "prediction":
                before = [rel for other, rel in self._places("latents") if other.step < place.step]
                return [*self._other_predictions(place), *_agreeing("latents before it", before)]
            case "latents":
                rels = [rel for other, rel in self._places("prediction") if other.step == place.step]
                return [*_agreeing("predictions of that step", rels), *self._unmatched()]
            case "decoder_input":
                return _agreeing("latents", self._rels("latents", "final"))
            case "decoded":
                return _agreeing("decoder input", self._rels("decoder_input"))
        return []

    def _distances(self) -> dict[str, float]:
        return {name: math.inf if rel is None else rel for name, rel in self.details.series}

    def _places(self, *kinds: str) -> Iterator[tuple[Place, float]]:
        for name, rel in self._distances().items():
            place = place_of(name)
            if place is not None and place.kind in kinds:
                yield place, rel

    def _rels(self, *kinds: str) -> list[float]:
        return [rel for _, rel in self._places(*kinds)]

    def _before(self) -> list[float]:
        """Distances in the steps up to the place, of its step only those that were made before."""
        place = place_of(self.details.place or "")
        if place is None:
            return []
        return [rel for other, rel in self._places("prediction", "latents") if other.is_step_before(place)]

    def _at_last_step(self) -> str:
        """How far it got by the last step."""
        place = place_of(self.details.place or "")
        last = next(reversed(list(self._places("latents"))), None)
        if place is None or place.kind not in ("prediction", "latents") or last is None or last[0].step <= place.step:
            return ""
        return f", {format_distance(last[1])} at the last step"

    def _other_encoders(self, place: Place) -> list[str]:
        """The other encoders that agree in all calls, if this isn't the only one."""
        rels: dict[str, list[float]] = {}
        for other, rel in self._places("encoder"):
            rels.setdefault(other.component, []).append(rel)
        return [
            line
            for component, component_rels in rels.items()
            if component != place.component and max(component_rels) <= (self.details.threshold_rel or 0.0)
            for line in _agreeing(f"output of {component}", component_rels)
        ]

    def _other_predictions(self, place: Place) -> list[str]:
        """The other branches of the step: they agree, diverge too, or are on one side only."""
        lines: list[str] = []
        for other, rel in self._places("prediction"):
            if other.step == place.step and other.name != place.name:
                if rel > (self.details.threshold_rel or 0.0):
                    lines.append(f"{_branch(other)} diverges too ({format_distance(rel)})")
                else:
                    lines += _agreeing(_branch(other), [rel])
        return lines + self._unmatched()

    def _unmatched(self) -> list[str]:
        return [
            f"{_branch(place)} only {'in this run' if entry.side == 'here' else 'in the baseline'}"
            for entry in self.details.unmatched
            if (place := place_of(entry.place)) is not None
        ]


def _change(details: TraceDetails) -> str:
    """What became of the tensor, empty where nothing simple explains it."""
    match details.change:
        case "scaled" if details.scale is not None:
            flipped = ["sign flipped"] if details.scale < 0 else []
            size = abs(details.scale)
            return " and ".join(flipped + ([f"scaled by {size:.3g}"] if abs(size - 1) >= _LEAST_SCALE_REL else []))
        case "shifted":
            return f"shifted by {details.shift:.3g}"
        case "unrelated":
            return f"unrelated tensors, cosine {details.cosine:.2f}"
        case "zeros_now":
            return "all zeros in this run"
        case "zeros_in_baseline":
            return "all zeros in the baseline"
        case "shape":
            return "another shape"
        case "not_finite" if details.not_finite is not None:
            before, after = details.not_finite
            return f"{after:,} non-finite value{'' if after == 1 else 's'}" + (
                f", {before:,} in the baseline" if before else ""
            )
        case "not_finite":
            return "not finite"
    return ""


def _agreeing(what: str, rels: list[float]) -> list[str]:
    """Say that something is equal, or how far it agrees; nothing where nothing is known."""
    if not rels:
        return []
    return [f"{what} equal" if max(rels) == 0 else f"{what} within {format_distance(max(rels))}"]
