"""The guidance gate: did each step do what the call's arguments ask for? Needs no baseline."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import msgspec

from pytest_diffbench.judge import reasons
from pytest_diffbench.judge.guidance.formula import Call, Expected, NotCoveredError, UnknownArgumentError
from pytest_diffbench.judge.guidance.formula_norms import norm_faults, span, unread
from pytest_diffbench.judge.guidance.formulas import formula_of
from pytest_diffbench.judge.guidance.observed import callback_of, judge_observed, judge_unread
from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.records import GuidanceStep, format_steps, parse_steps
from pytest_diffbench.records.details import (
    GuidanceDetails,
    GuidanceFault,
    InertArgument,
    ObservedGuidance,
    UnreadQuantity,
    UnrecordedArgument,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_diffbench.judge.gate_input import GateInput
    from pytest_diffbench.judge.guidance.formula import Expected
    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.records import Baseline, Branch, Guidance, Verdict
    from pytest_diffbench.records.details import FaultKind, InertCause


_ORDER = tuple(reason.code for reason in reasons.guidance.REASONS if reason.decision == "worse")
"""In which one of several faults names the verdict."""

_REASONS: dict[FaultKind, str] = {
    "step_count": "guidance.steps",
    "unconditional_used": "guidance.wrong_branch",
    "branch_not_called": "guidance.wrong_branch",
    "branches_swapped": "guidance.wrong_branch",
    "unused_call": "guidance.wasted_call",
    "renorm_by_row": "guidance.renorm_wrong",
    "renorm_uneven": "guidance.renorm_wrong",
    "gain_uneven": "guidance.gain",
}
"""Of faults that share a reason; the others' kind is the reason's name."""


def judge_guidance(gate_input: GateInput) -> Verdict:
    """Hold what guidance did against the formula of the pipeline's class."""
    guidance = gate_input.observation.guidance
    assert guidance is not None  # the table asks this gate only when the part was seen
    formula = formula_of(guidance)
    if formula is None:
        return judge_observed(gate_input, guidance, "guidance.no_formula", ObservedGuidance())
    call = _call(gate_input)
    try:
        expected = formula(call)
    except UnknownArgumentError as error:
        return verdict("guidance.unknown", details=UnrecordedArgument(argument=str(error)))
    except NotCoveredError as error:
        return judge_observed(gate_input, guidance, "guidance.no_formula", ObservedGuidance(not_covered=str(error)))
    check = _Check(guidance, expected, gate_input.limits)
    details = check.details(call)
    if details.faults and (callback := callback_of(gate_input)) is not None:
        return judge_observed(
            gate_input, guidance, "guidance.steered", ObservedGuidance(callback=callback, faults=details.faults)
        )
    if reused := [i for i, step in enumerate(guidance.steps) if step.used == "reused"]:
        return judge_observed(
            gate_input, guidance, "guidance.steered", ObservedGuidance(reused_steps=format_steps(reused))
        )
    if details.faults:
        return verdict(_reason(details.faults[0]), details=details)
    planned = gate_input.observation.case.definition.planned
    if any(step.used in ("unknown", "mixed") for step in guidance.steps):
        lost = judge_unread(gate_input, guidance, details.unread)
        return lost or verdict("guidance.unknown", details=details)
    if check.renorm_unread() and not planned:
        return verdict("guidance.unknown", details=details)
    return verdict("guidance.planned" if planned else "guidance.same", details=details)


def guidance_faults(gate_input: GateInput, guidance: Guidance) -> tuple[GuidanceFault, ...] | None:
    """What `guidance` does otherwise than the call asks for; None where there is no formula."""
    formula = formula_of(guidance)
    if formula is None:
        return None
    try:
        expected = formula(_call(gate_input))
    except (UnknownArgumentError, NotCoveredError):
        return None
    return _Check(guidance, expected, gate_input.limits).faults()


def _reason(fault: GuidanceFault) -> str:
    return _REASONS.get(fault.kind, f"guidance.{fault.kind}")


def _call(gate_input: GateInput) -> Call:
    observation = gate_input.observation
    guidance = observation.guidance
    assert guidance is not None  # as above
    groups = observation.work.denoiser if observation.work is not None else ()
    return Call(
        arguments=guidance.arguments,
        passed=observation.case.definition.arguments,
        denoiser_takes=frozenset(name for group in groups for name in group.shapes),
        timesteps=tuple(step.timestep for step in guidance.steps),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Check:
    guidance: Guidance
    expected: Expected
    limits: Limits

    def faults(self) -> tuple[GuidanceFault, ...]:
        """The one that names the verdict first."""
        faults = [*self._count(), *self._uses(), *self._branches(), *self._signs(), *self._scales(), *self._norms()]
        return tuple(sorted(faults, key=lambda fault: _ORDER.index(_reason(fault))))

    def _tolerance_rel(self, factor_eps: float) -> float:
        return max(factor_eps * self.guidance.dtype_eps, self.limits.guidance_floor_rel)

    def _where(self, test: Callable[[int, GuidanceStep], bool]) -> list[int]:
        """Steps within the expected count for which the test holds."""
        return [i for i, step in enumerate(self.guidance.steps[: self.expected.steps]) if test(i, step)]

    def _as_requested(self) -> list[tuple[int, GuidanceStep]]:
        """Guided steps that are meant to be guided."""
        steps = enumerate(self.guidance.steps)
        return [(i, step) for i, step in steps if i in self.expected.guided and step.used == "guided"]

    def _count(self) -> Iterable[GuidanceFault]:
        if (count := len(self.guidance.steps)) != self.expected.steps:
            yield GuidanceFault(kind="step_count", observed=(count, count), expected=self.expected.steps)

    def _uses(self) -> Iterable[GuidanceFault]:
        expected = self.expected
        extra = self._where(lambda i, step: step.used == "guided" and i not in expected.guided)
        missing = self._where(lambda i, step: step.used == "cond" and i in expected.guided)
        faults: tuple[tuple[FaultKind, list[int]], ...] = (("extra_steps", extra), ("missing_steps", missing))
        for kind, steps in faults:
            if steps:
                count = self.guidance.guided_steps
                yield GuidanceFault(
                    kind=kind,
                    steps=format_steps(steps),
                    observed=(count, count),
                    expected=len(expected.guided),
                    rule=expected.truncation,
                )
        if steps := self._where(lambda _, step: step.used == "uncond"):
            yield GuidanceFault(
                kind="unconditional_used",
                steps=format_steps(steps),
                expected_prediction="guided" if steps[0] in expected.guided else "cond",
            )

    def _branches(self) -> Iterable[GuidanceFault]:
        if steps := self._where(lambda _, step: step.used == "cond" and "uncond" in step.branches):
            yield GuidanceFault(kind="unused_call", steps=format_steps(steps))
        both = {"cond", "uncond"}
        if steps := self._where(
            lambda i, step: (
                step.used == "guided"
                and i in self.expected.guided
                and not ({"joint", "unknown"} & set(step.branches) or both <= set(step.branches))
            )
        ):
            yield GuidanceFault(kind="branch_not_called", steps=format_steps(steps))

    def _signs(self) -> Iterable[GuidanceFault]:
        # sign 0 says that the sign couldn't be read
        if steps := self._where(lambda _, step: step.sign == -self.expected.sign):
            yield GuidanceFault(kind="sign", steps=format_steps(steps))

    def _scales(self) -> Iterable[GuidanceFault]:
        requested = self.expected.scale
        tolerance_rel = self._tolerance_rel(self.limits.scale_eps)
        tolerance = tolerance_rel * abs(requested)
        off = {
            i: step.scale
            for i, step in self._as_requested()
            if step.scale is not None and not abs(step.scale - requested) <= tolerance
        }
        # u and c in each other's place: c + w (u - c) is u + (1 - w) (c - u)
        swapped = {i for i, scale in off.items() if abs(1 - scale - requested) <= tolerance}
        order = self.expected.joint_order
        swapped |= {i for i, step in self._as_requested() if order and step.joint_order not in (None, order)}
        if swapped:
            yield GuidanceFault(kind="branches_swapped", steps=format_steps(sorted(swapped)))
        # A rescaling that isn't even along the rows bends the scale that is fitted to them, and leaves a residual.
        residuals = {i: step.residual_rel or 0 for i, step in self._as_requested()}
        if bent := [i for i in off if residuals[i] > tolerance_rel and i not in swapped]:
            yield GuidanceFault(
                kind="gain_uneven" if self.expected.renorm == "none" else "renorm_uneven",
                steps=format_steps(bent),
                observed=span(residuals[i] for i in bent),
                expected=0.0,
                tolerance=tolerance_rel,
            )
        if others := [i for i in off if i not in swapped and i not in bent]:
            yield GuidanceFault(
                kind="scale",
                steps=format_steps(others),
                observed=span(off[i] for i in others),
                expected=requested,
                tolerance=tolerance,
            )

    def _norms(self) -> Iterable[GuidanceFault]:
        return norm_faults(
            self._as_requested(),
            self.expected,
            gain_rel=self._tolerance_rel(self.limits.gain_eps),
            ratio_rel=self._tolerance_rel(self.limits.norm_ratio_eps),
        )

    def renorm_unread(self) -> bool:
        """Renorm is requested, but no guided step says whether it was applied."""
        steps = self._as_requested()
        return bool(steps) and all(unread(step, self.expected) for _, step in steps)

    def _unread(self) -> Iterable[UnreadQuantity]:
        """What couldn't be read of some steps."""
        if steps := self._where(lambda _, step: step.used in ("unknown", "mixed")):
            yield UnreadQuantity(quantity="prediction", steps=format_steps(steps))
        if steps := [i for i, step in self._as_requested() if step.scale is None]:
            yield UnreadQuantity(quantity="scale", steps=format_steps(steps))
        if steps := [i for i, step in self._as_requested() if unread(step, self.expected)]:
            yield UnreadQuantity(quantity="norms", steps=format_steps(steps))
        if steps := self._where(lambda _, step: step.sign == 0):
            yield UnreadQuantity(quantity="sign", steps=format_steps(steps))

    def details(self, call: Call) -> GuidanceDetails:
        """Figures and faults."""
        expected, count, guided = self.expected, self.expected.steps, len(self.expected.guided)
        ratios = [ratio for _, step in self._as_requested() for ratio in (step.norm_ratio_min, step.norm_ratio_max)]
        return GuidanceDetails(
            steps=len(self.guidance.steps),
            guided_steps=self.guidance.guided_steps,
            expected_steps=count,
            expected_guided_steps=guided,
            denoiser_calls=sum(len(step.branches) for step in self.guidance.steps),
            predicted_saved_calls_rel=(count - guided) / (2 * count) if count and expected.enabled else 0.0,
            renorm=expected.renorm != "none",
            renorm_kind=expected.renorm,
            renorm_factor=expected.renorm_factor,
            norm_ratio=span(ratio for ratio in ratios if ratio is not None and math.isfinite(ratio)),
            norm_ratio_tolerance=self._tolerance_rel(self.limits.norm_ratio_eps),
            scale=expected.scale,
            scale_tolerance=self._tolerance_rel(self.limits.scale_eps) * abs(expected.scale),
            dtype_eps=self.guidance.dtype_eps,
            inert=inert(call, expected),
            references=dict(expected.references),
            truncation=expected.truncation,
            faults=self.faults(),
            unread=tuple(self._unread()),
        )


_TRUNCATIONS = ("cfg_trunc_ratio", "cfg_truncation")
_NEGATIVES = ("negative_prompt", "negative_prompt_2", "negative_prompt_3", "negative_prompt_embeds")
_OF_GUIDED_STEPS = ("cfg_normalization", "guidance_rescale")
_EMBEDDED_SCALES = ("guidance", "timestep_cond")
"""Tensor arguments by which denoisers of diffusers take a scale that was distilled into them."""


def inert(call: Call, expected: Expected) -> tuple[InertArgument, ...]:
    """Each argument that was passed and changes nothing, with the cause."""
    arguments = []
    for name in filter(call.arguments.__contains__, _TRUNCATIONS):
        if _passed(call, name) and not expected.enabled:
            arguments.append(_inert(call, name, "not_guided", expected))
        elif _passed(call, name) and len(expected.guided) == expected.steps:
            arguments.append(_inert(call, name, "truncates_no_step"))
    idle = [] if expected.guided else [name for name in _OF_GUIDED_STEPS if name in call.arguments]
    arguments += [_inert(call, name, "not_guided", expected) for name in idle if _passed(call, name)]
    negatives = [name for name in _NEGATIVES if _passed(call, name)]
    if negatives and not expected.guided:
        arguments.append(InertArgument(name=negatives[0], cause="not_guided", rule=expected.truncation))
    # Where a class has both, `true_cfg_scale` mixes the branches and `guidance_scale` is for the model.
    if "true_cfg_scale" in call.arguments:
        if _passed(call, "true_cfg_scale") and not expected.enabled and call.arguments["true_cfg_scale"] != 1:
            cause: InertCause = "not_guided" if negatives else "no_negative_prompt"
            arguments.append(_inert(call, "true_cfg_scale", cause, expected))
        if _passed(call, "guidance_scale") and call.denoiser_takes and not _takes_scale(call):
            arguments.append(_inert(call, "guidance_scale", "not_a_model_input"))
    return tuple(arguments)


def _passed(call: Call, name: str) -> bool:
    return call.passed.get(name) is not None


def _takes_scale(call: Call) -> bool:
    return bool(call.denoiser_takes.intersection(_EMBEDDED_SCALES))


def _inert(call: Call, name: str, cause: InertCause, expected: Expected | None = None) -> InertArgument:
    value = call.passed[name]
    return InertArgument(
        name=name,
        value=value if isinstance(value, str | int | float) else str(value),
        cause=cause,
        rule=expected.truncation if expected is not None and cause == "not_guided" else "",
    )


_EXPLAINED_BY_GUIDANCE = ("output.differs", "output.trace")


def fault_of_baseline(gate_input: GateInput) -> tuple[GuidanceFault, ...]:
    """How the baseline's guidance isn't as requested, where it now is; empty otherwise.

    Of a baseline without guidance, from before it was kept, the denoiser's calls tell which steps were guided.
    """
    guidance = gate_input.observation.guidance
    if guidance is None or gate_input.reference is None or guidance_faults(gate_input, guidance) != ():
        return ()
    baseline = gate_input.reference.baseline
    steps = _from_groups(baseline) or _from_calls(baseline)
    if not steps:
        return ()
    return guidance_faults(gate_input, msgspec.structs.replace(guidance, steps=steps)) or ()


def with_fault_of_baseline(gate_input: GateInput, verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Add it where the picture changed: the baseline's is a picture of something else."""
    if not any(verdict.reason in _EXPLAINED_BY_GUIDANCE for verdict in verdicts):
        return tuple(verdicts)
    faults = fault_of_baseline(gate_input)
    return tuple(
        msgspec.structs.replace(verdict, baseline_fault=faults)
        if faults and verdict.reason in _EXPLAINED_BY_GUIDANCE
        else verdict
        for verdict in verdicts
    )


def _from_groups(baseline: Baseline) -> tuple[GuidanceStep, ...]:
    steps = {
        number: GuidanceStep(branches=group.branches, used=group.used, sign=group.sign, scale=group.scale)
        for group in baseline.guidance or ()
        for number in parse_steps(group.steps)
    }
    return tuple(step for _, step in sorted(steps.items()))


def _from_calls(baseline: Baseline) -> tuple[GuidanceStep, ...]:
    branches: dict[int, list[Branch]] = {}
    for group in baseline.work.denoiser if baseline.work is not None else ():
        for number in parse_steps(group.steps):
            branches.setdefault(number, []).append(group.branch)
    if any("unknown" in called for called in branches.values()):
        return ()
    return tuple(
        GuidanceStep(
            branches=tuple(called), used="guided" if {"uncond", "joint"} & set(called) else "cond", sign=0, scale=None
        )
        for _, called in sorted(branches.items())
    )
