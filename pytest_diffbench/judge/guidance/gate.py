"""The guidance gate: did each step do what the call's arguments ask for? Needs no baseline."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_diffbench.judge import reasons
from pytest_diffbench.judge.guidance.formula import Call, Expected, NotCoveredError, UnknownArgumentError
from pytest_diffbench.judge.guidance.formula_inert import inert
from pytest_diffbench.judge.guidance.formula_norms import at, norm_faults, unread
from pytest_diffbench.judge.guidance.formulas import formula_of
from pytest_diffbench.judge.guidance.seen import judge_seen, steered_by
from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.judge.text import listed, plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.judge.question import Question
    from pytest_diffbench.records import Guidance, GuidanceStep, Verdict

_FAULTS = tuple(reason.code for reason in reasons.guidance.REASONS if reason.decision == "worse")
"""In the order in which one of several faults names the verdict."""


def judge_guidance(question: Question) -> Verdict:
    """Hold what guidance did against the formula of the pipeline's class."""
    guidance = question.observation.guidance
    assert guidance is not None  # the table asks this gate only when the part was seen
    formula = formula_of(guidance)
    if formula is None:
        why = f"No formula is known for {guidance.pipeline}."
        return judge_seen(question, guidance, "guidance.no_formula", why)
    call = _call(question)
    try:
        expected = formula(call)
    except UnknownArgumentError as error:
        message = f"The value of {error} wasn't recorded, so what guidance should do isn't known."
        return verdict("guidance.unknown", message)
    except NotCoveredError as error:
        why = f"The formula for {guidance.pipeline} doesn't cover {error}."
        return judge_seen(question, guidance, "guidance.no_formula", why)
    check = _Check(guidance, expected, question.limits, inert(call, expected))
    faults = check.faults()
    unclear = check.unclear()
    details = check.details()
    changes = [text for _, text in faults] + unclear
    if faults and (steered := steered_by(question)) is not None:
        told = listed([text for _, text in faults])
        why = f"Not as the formula says ({told}), and {steered} takes part in each step."
        return judge_seen(question, guidance, "guidance.steered", why)
    if reused := [i for i, step in enumerate(guidance.steps) if step.used == "reused"]:
        why = f"{at(reused)[:1].upper()}{at(reused)[1:]} reused the difference of branches of an earlier step."
        return judge_seen(question, guidance, "guidance.steered", why)
    if faults:
        told = listed([text for _, text in faults], most=2)
        return verdict(faults[0][0], f"Guidance isn't as asked: {told}.", details=details, changes=changes)
    planned = question.observation.case.definition.planned
    if any(step.used == "unknown" for step in guidance.steps) or (check.renorm_unseen() and not planned):
        return verdict(
            "guidance.unknown",
            f"What guidance did can't be told: {listed(unclear)}.",
            details=details,
            changes=changes,
        )
    if planned:
        return verdict("guidance.planned", check.planned(), details=details)
    return verdict("guidance.same", check.passed(), details=details, changes=unclear)


def guidance_faults(question: Question, guidance: Guidance) -> list[str] | None:
    """Words for each thing that `guidance` did otherwise than the call asks for; None where there is no formula."""
    formula = formula_of(guidance)
    if formula is None:
        return None
    try:
        expected = formula(_call(question))
    except (UnknownArgumentError, NotCoveredError):
        return None
    return [text for _, text in _Check(guidance, expected, question.limits, []).faults()]


def _call(question: Question) -> Call:
    seen = question.observation
    guidance = seen.guidance
    assert guidance is not None  # as above
    groups = seen.work.denoiser if seen.work is not None else ()
    return Call(
        arguments=guidance.arguments,
        passed=seen.case.definition.arguments,
        denoiser_takes=frozenset(name for group in groups for name in group.shapes),
        timesteps=tuple(step.timestep for step in guidance.steps),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Check:
    guidance: Guidance
    expected: Expected
    limits: Limits
    inert: list[str]

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
            yield "guidance.extra_steps", f"{at(steps)} guided against {expected.truncation} ({totals})"
        if steps := self._where(lambda i, step: step.used == "cond" and i in expected.guided):
            yield "guidance.missing_steps", f"{at(steps)} not guided, but should be ({totals})"
        if steps := self._where(lambda _, step: step.used == "uncond"):
            wanted = "guided" if steps[0] in expected.guided else "conditional"
            text = f"{at(steps)} used the unconditional prediction in place of the {wanted} one"
            yield "guidance.wrong_branch", text

    def _branches(self) -> Iterable[tuple[str, str]]:
        if steps := self._where(lambda _, step: step.used == "cond" and "uncond" in step.branches):
            yield "guidance.wasted_call", f"{at(steps)} called the unconditional branch and didn't use it"
        both = {"cond", "uncond"}
        if steps := self._where(
            lambda i, step: (
                step.used == "guided"
                and i in self.expected.guided
                and not ({"joint", "unknown"} & set(step.branches) or both <= set(step.branches))
            )
        ):
            yield "guidance.wrong_branch", f"{at(steps)} guided without a call of both branches"

    def _signs(self) -> Iterable[tuple[str, str]]:
        # sign 0 says that the sign couldn't be read
        if steps := self._where(lambda _, step: step.sign == -self.expected.sign):
            yield "guidance.sign", f"{at(steps)} handed the scheduler the prediction with the wrong sign"

    def _scales(self) -> Iterable[tuple[str, str]]:
        asked = self.expected.scale
        allowed = self._tolerance_rel(self.limits.scale_eps) * abs(asked)
        off = [
            (i, step.scale)
            for i, step in self._as_asked()
            if step.scale is not None and not abs(step.scale - asked) <= allowed
        ]
        # u and c in each other's place: c + w (u - c) is u + (1 - w) (c - u)
        swapped = [i for i, scale in off if abs(1 - scale - asked) <= allowed]
        order = self.expected.joint_order
        swapped += [i for i, step in self._as_asked() if order and step.joint_order not in (None, order)]
        if swapped:
            text = f"{at(sorted(set(swapped)))} mixed with the branches in each other's place"
            yield "guidance.wrong_branch", text
        # A rescaling that isn't even along the rows bends the scale that is fitted to them, and leaves a residual.
        rounding = self._tolerance_rel(self.limits.scale_eps)
        uneven = [i for i, step in self._as_asked() if (step.residual_rel or 0) > rounding]
        if bent := [i for i, _ in off if i in uneven and i not in swapped]:
            code = "guidance.gain" if self.expected.renorm == "none" else "guidance.renorm_wrong"
            left = max(self.guidance.steps[i].residual_rel or 0 for i in bent)
            yield (
                code,
                f"{at(bent)} rescaled unevenly within rows: up to {left:.2g} of it is no mix with one gain a row",
            )
        if off := [(i, scale) for i, scale in off if i not in swapped and i not in bent]:
            low, high = min(scale for _, scale in off), max(scale for _, scale in off)
            seen = f"{low:.4g}" if f"{low:.4g}" == f"{high:.4g}" else f"{low:.4g} to {high:.4g}"
            yield "guidance.scale", f"{at([i for i, _ in off])} mixed with scale {seen}, asked for {asked:g}"

    def _norms(self) -> Iterable[tuple[str, str]]:
        return norm_faults(
            self._as_asked(),
            self.expected,
            gain_rel=self._tolerance_rel(self.limits.gain_eps),
            ratio_rel=self._tolerance_rel(self.limits.norm_ratio_eps),
        )

    def renorm_unseen(self) -> bool:
        """Renorm is asked for, but no guided step says whether it was applied."""
        steps = self._as_asked()
        return bool(steps) and all(unread(step, self.expected) for _, step in steps)

    def unclear(self) -> list[str]:
        """What couldn't be read of some steps."""
        found = []
        if steps := self._where(lambda _, step: step.used == "unknown"):
            found.append(f"{at(steps)} used a prediction that matches neither branch nor their mix")
        if steps := [i for i, step in self._as_asked() if step.scale is None]:
            found.append(f"the scale at {at(steps)} couldn't be read")
        if steps := [i for i, step in self._as_asked() if unread(step, self.expected)]:
            found.append(f"the norms at {at(steps)} couldn't be read")
        if steps := self._where(lambda _, step: step.sign == 0):
            found.append(f"the sign at {at(steps)} couldn't be read")
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
            "renorm": self.expected.renorm != "none",
            "renorm_kind": self.expected.renorm,
            "norm_ratio": [min(ratios), max(ratios)] if ratios else None,
            "scale": self.expected.scale,
            "dtype_eps": self.guidance.dtype_eps,
            "inert": self.inert,
            "references": dict(self.expected.references),
        }

    def passed(self) -> str:
        """What was asked for, and was done, with how exactly it could be told; and what was asked for in vain."""
        told = f"As asked: {self._did()}."
        return f"{told} Without effect: {listed(self.inert)}." if self.inert else told

    def planned(self) -> str:
        """What can be said where nothing was computed."""
        count, guided = self.expected.steps, len(self.expected.guided)
        calls = plural(sum(len(step.branches) for step in self.guidance.steps), "call")
        return (
            f"Planned: the branches called, and those that each step depends on, are as asked: {guided} of "
            f"{plural(count, 'step')} guided, {calls}, {self.expected.truncation}. Scale, sign and renorm weren't "
            "seen: they need values, which a plan doesn't have."
        )

    def _did(self) -> str:
        count, guided = self.expected.steps, len(self.expected.guided)
        calls = plural(sum(len(step.branches) for step in self.guidance.steps), "call")
        if not guided:
            return f"none of {plural(count, 'step')} guided, {calls}, {self.expected.truncation}"
        text = f"{guided} of {plural(count, 'step')} guided, {calls}, {self.expected.truncation}"
        missing = any(step.scale is None for _, step in self._as_asked())
        allowed = self._tolerance_rel(self.limits.scale_eps) * self.expected.scale
        text += ", scale not read" if missing else f", scale {self.expected.scale:g} ± {allowed:.2g}"
        if self.expected.renorm == "rows":
            within = max(
                abs(ratio - 1)
                for _, step in self._as_asked()
                for ratio in (step.norm_ratio_min, step.norm_ratio_max)
                if ratio is not None
            )
            allowed = self._tolerance_rel(self.limits.norm_ratio_eps)
            return f"{text}, renorm on (norm ratio 1 within {within:.1g}, allowed {allowed:.1g})"
        factor = f"{self.expected.renorm_factor:g}"
        words = {"none": "renorm off", "clamp": f"norm clamped to {factor} times", "std": f"rescaled by {factor}"}
        return f"{text}, {words[self.expected.renorm]}"
