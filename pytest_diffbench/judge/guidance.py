"""The guidance gate: did each step do what the call's arguments ask for? Needs no baseline."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_diffbench.judge.formulas import FORMULAS, Expected, UnknownArgumentError
from pytest_diffbench.judge.reasons import REASONS, verdict
from pytest_diffbench.judge.text import listed, plural, step_list
from pytest_diffbench.records import format_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.judge.question import Question
    from pytest_diffbench.records import Guidance, GuidanceStep, Verdict

_FAULTS = tuple(code for code, decision in REASONS.items() if code.startswith("guidance.") and decision == "worse")
"""In the order in which one of several faults names the verdict."""


def judge_guidance(question: Question) -> Verdict:
    """Hold what guidance did against the formula of the pipeline's class."""
    guidance = question.observation.guidance
    assert guidance is not None  # the table asks this gate only when the part was seen
    formula = FORMULAS.get(guidance.pipeline)
    if formula is None:
        message = f"No formula is known for {guidance.pipeline}; known are {', '.join(sorted(FORMULAS))}."
        return verdict("guidance.no_formula", message)
    try:
        expected = formula(guidance.arguments, question.observation.case.definition.arguments)
    except UnknownArgumentError as error:
        message = f"The value of {error} wasn't recorded, so what guidance should do isn't known."
        return verdict("guidance.unknown", message)
    check = _Check(guidance, expected, question.limits)
    faults = check.faults()
    unclear = check.unclear()
    details = check.details()
    changes = [text for _, text in faults] + unclear
    if faults:
        told = listed([text for _, text in faults], most=2)
        return verdict(faults[0][0], f"Guidance isn't as asked: {told}.", details=details, changes=changes)
    if any(step.used == "unknown" for step in guidance.steps) or check.renorm_unseen():
        return verdict(
            "guidance.unknown",
            f"What guidance did can't be told: {listed(unclear)}.",
            details=details,
            changes=changes,
        )
    return verdict("guidance.same", check.passed(), details=details, changes=unclear)


@dataclasses.dataclass(frozen=True, slots=True)
class _Check:
    guidance: Guidance
    expected: Expected
    limits: Limits

    def faults(self) -> list[tuple[str, str]]:
        """Reason and words of each fault, the one that names the verdict first."""
        found = [*self._count(), *self._uses(), *self._branches(), *self._signs(), *self._scales(), *self._norms()]
        return sorted(found, key=lambda fault: _FAULTS.index(fault[0]))

    def _tolerance_rel(self, factor_eps: float) -> float:
        return max(factor_eps * self.guidance.dtype_eps, self.limits.guidance_floor_rel)

    def _where(self, test: Callable[[int, GuidanceStep], bool]) -> list[int]:
        """Steps within the expected count for which the test holds."""
        return [i for i, step in enumerate(self.guidance.steps[: self.expected.steps]) if test(i, step)]

    def _as_asked(self) -> list[tuple[int, GuidanceStep]]:
        """Guided steps that are meant to be guided."""
        steps = enumerate(self.guidance.steps)
        return [(i, step) for i, step in steps if i in self.expected.guided and step.used == "guided"]

    def _count(self) -> Iterable[tuple[str, str]]:
        if len(self.guidance.steps) != self.expected.steps:
            yield "guidance.steps", f"{plural(len(self.guidance.steps), 'step')} ran, asked for {self.expected.steps}"

    def _uses(self) -> Iterable[tuple[str, str]]:
        expected = self.expected
        totals = f"{self.guidance.guided_steps} guided, asked for {len(expected.guided)}"
        if steps := self._where(lambda i, step: step.used == "guided" and i not in expected.guided):
            yield "guidance.truncation_ignored", f"{_at(steps)} guided against {expected.truncation} ({totals})"
        if steps := self._where(lambda i, step: step.used == "cond" and i in expected.guided):
            yield "guidance.truncated_too_much", f"{_at(steps)} not guided, but should be ({totals})"
        if steps := self._where(lambda _, step: step.used == "uncond"):
            wanted = "guided" if steps[0] in expected.guided else "conditional"
            text = f"{_at(steps)} used the unconditional prediction in place of the {wanted} one"
            yield "guidance.wrong_branch", text

    def _branches(self) -> Iterable[tuple[str, str]]:
        if steps := self._where(lambda _, step: step.used == "cond" and "uncond" in step.branches):
            yield "guidance.wasted_call", f"{_at(steps)} called the unconditional branch and didn't use it"
        both = {"cond", "uncond"}
        if steps := self._where(
            lambda i, step: (
                step.used == "guided"
                and i in self.expected.guided
                and not ({"joint", "unknown"} & set(step.branches) or both <= set(step.branches))
            )
        ):
            yield "guidance.wrong_branch", f"{_at(steps)} guided without a call of both branches"

    def _signs(self) -> Iterable[tuple[str, str]]:
        # sign 0 says that the sign couldn't be read
        if steps := self._where(lambda _, step: step.sign == -self.expected.sign):
            yield "guidance.sign", f"{_at(steps)} handed the scheduler the prediction with the wrong sign"

    def _scales(self) -> Iterable[tuple[str, str]]:
        allowed = self._tolerance_rel(self.limits.scale_eps) * abs(self.expected.scale)
        off = [
            (i, step.scale)
            for i, step in self._as_asked()
            if step.scale is not None and not abs(step.scale - self.expected.scale) <= allowed
        ]
        if off:
            low, high = min(scale for _, scale in off), max(scale for _, scale in off)
            seen = f"{low:.4g}" if f"{low:.4g}" == f"{high:.4g}" else f"{low:.4g} to {high:.4g}"
            text = f"{_at([i for i, _ in off])} mixed with scale {seen}, asked for {self.expected.scale:g}"
            yield "guidance.scale", text

    def _norms(self) -> Iterable[tuple[str, str]]:
        gain_rel = self._tolerance_rel(self.limits.gain_eps)
        ratio_rel = self._tolerance_rel(self.limits.norm_ratio_eps)
        steps = [(i, s) for i, s in self._as_asked() if s.norm_ratio_min is not None and s.norm_ratio_max is not None]
        kept = [i for i, step in steps if _one(step.norm_ratio_min, step.norm_ratio_max, ratio_rel)]
        scaled = [
            i for i, s in self._as_asked() if s.gain_min is not None and not _one(s.gain_min, s.gain_max, gain_rel)
        ]
        if self.expected.renorm:
            if lost := [(i, step) for i, step in steps if i not in kept]:
                # rows that are rescaled by something else than the ratio of norms are not the same fault
                missing = not any(i in scaled for i, _ in lost)
                low = min(step.norm_ratio_min for _, step in lost if step.norm_ratio_min is not None)
                high = max(step.norm_ratio_max for _, step in lost if step.norm_ratio_max is not None)
                code = "guidance.renorm_missing" if missing else "guidance.renorm_wrong"
                words = "not renormed" if missing else "rescaled, but not to the conditional norm"
                yield code, f"{_at([i for i, _ in lost])} {words}: norm ratio {low:.4g} to {high:.4g}, asked for 1"
            return
        gains_seen = any(step.gain_min is not None for _, step in self._as_asked())
        unasked = [i for i in kept if i in scaled]
        # without gains a kept norm in every row of every step is no accident either, unless the scale is 1
        if not gains_seen and steps and len(kept) == len(steps) and abs(self.expected.scale - 1) > ratio_rel:
            unasked = kept
        if unasked:
            yield "guidance.renorm_unasked", f"{_at(unasked)} renormed, though renorm is off"
        if others := [i for i in scaled if i not in unasked]:
            gains = [g for i, s in self._as_asked() if i in others for g in (s.gain_min, s.gain_max) if g is not None]
            text = f"{_at(others)} scaled by {min(gains):.4g} to {max(gains):.4g}, though renorm is off"
            yield "guidance.gain", text

    def renorm_unseen(self) -> bool:
        """Renorm is asked for, but no guided step says whether it was applied."""
        steps = self._as_asked()
        return self.expected.renorm and bool(steps) and all(step.norm_ratio_min is None for _, step in steps)

    def unclear(self) -> list[str]:
        """What couldn't be read of some steps."""
        found = []
        if steps := self._where(lambda _, step: step.used == "unknown"):
            found.append(f"{_at(steps)} used a prediction that matches neither branch nor their mix")
        if steps := [i for i, step in self._as_asked() if step.scale is None]:
            found.append(f"the scale at {_at(steps)} couldn't be read")
        if self.expected.renorm and (steps := [i for i, step in self._as_asked() if step.norm_ratio_min is None]):
            found.append(f"the norms at {_at(steps)} couldn't be read")
        if steps := self._where(lambda _, step: step.sign == 0):
            found.append(f"the sign at {_at(steps)} couldn't be read")
        return found

    def details(self) -> dict[str, object]:
        """Figures for reports; the predicted saving is of denoiser calls against guidance at every step."""
        count, guided = self.expected.steps, len(self.expected.guided)
        saved = (count - guided) / (2 * count) if count and self.expected.enabled else 0.0
        ratios = [
            ratio
            for _, step in self._as_asked()
            for ratio in (step.norm_ratio_min, step.norm_ratio_max)
            if ratio is not None
        ]
        return {
            "steps": len(self.guidance.steps),
            "guided_steps": self.guidance.guided_steps,
            "expected_steps": count,
            "expected_guided_steps": guided,
            "denoiser_calls": sum(len(step.branches) for step in self.guidance.steps),
            "predicted_saved_calls_rel": saved,
            "renorm": self.expected.renorm,
            "norm_ratio": [min(ratios), max(ratios)] if ratios else None,
            "scale": self.expected.scale,
            "dtype_eps": self.guidance.dtype_eps,
        }

    def passed(self) -> str:
        """What was asked for, and was done, with how exactly it could be told."""
        count, guided = self.expected.steps, len(self.expected.guided)
        calls = plural(sum(len(step.branches) for step in self.guidance.steps), "call")
        if not guided:
            text = f"As asked: none of {plural(count, 'step')} guided, {calls}, {self.expected.truncation}"
            return f"{text}."
        text = f"As asked: {guided} of {plural(count, 'step')} guided, {calls}, {self.expected.truncation}"
        unread = any(step.scale is None for _, step in self._as_asked())
        allowed = self._tolerance_rel(self.limits.scale_eps) * self.expected.scale
        text += ", scale not read" if unread else f", scale {self.expected.scale:g} ± {allowed:.2g}"
        if self.expected.renorm:
            within = max(
                abs(ratio - 1)
                for _, step in self._as_asked()
                for ratio in (step.norm_ratio_min, step.norm_ratio_max)
                if ratio is not None
            )
            allowed = self._tolerance_rel(self.limits.norm_ratio_eps)
            return f"{text}, renorm on (norm ratio 1 within {within:.1g}, allowed {allowed:.1g})."
        return f"{text}, renorm off."


def _at(steps: list[int]) -> str:
    return step_list(format_steps(steps))


def _one(low: float | None, high: float | None, allowed_rel: float) -> bool:
    """Whether a range is 1 within rounding; NaN isn't."""
    return low is not None and high is not None and abs(low - 1) <= allowed_rel and abs(high - 1) <= allowed_rel
