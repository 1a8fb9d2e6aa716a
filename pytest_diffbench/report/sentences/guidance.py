"""Sentences of the guidance gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.report.units import MOST_LISTED, format_count, format_list, format_steps_in_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.records import GuidanceGroup
    from pytest_diffbench.records.details import (
        Contradiction,
        FaultKind,
        GroupChange,
        GuidanceDetails,
        GuidanceFault,
        InertArgument,
        ObservedGuidance,
        UnreadQuantity,
        UnrecordedArgument,
    )

_MOST_FAULTS = 2
_WITHOUT_FIGURES: dict[FaultKind, str] = {
    "branch_not_called": "guided without calls of both branches",
    "branches_swapped": "mixed with the two branches swapped",
    "unused_call": "called the unconditional branch without using it",
    "sign": "passed to the scheduler with the wrong sign",
    "renorm_unasked": "renormalised although renorm is off",
}
_PREDICTIONS = {"guided": "guided", "cond": "conditional"}


def message(reason: str, details: GuidanceDetails) -> str:
    """What the steps did beside what the pipeline's formula expects."""
    match reason:
        case "guidance.same":
            inert = f" No effect: {format_list(list(map(inert_argument, details.inert)))}."
            return f"As requested: {_counts(details)}{_mix(details)}.{inert if details.inert else ''}"
        case "guidance.planned":
            return f"As requested: {_counts(details)}. Scale, sign and renorm not checked: a plan has no values."
        case "guidance.unknown":
            return f"Guidance could not be determined: {format_list(list(map(_unread, details.unread)))}."
    faults = format_list([_fault(fault) for fault in details.faults], most=_MOST_FAULTS)
    return f"Guidance is not as requested: {faults}."


def changes(reason: str, details: GuidanceDetails) -> list[str]:
    """A line for each fault, and for what could not be read, unless the message names it."""
    if reason == "guidance.planned":
        return []
    unread = details.unread[MOST_LISTED:] if reason == "guidance.unknown" else details.unread
    return [_fault(fault) for fault in details.faults[_MOST_FAULTS:]] + [_unread(quantity) for quantity in unread]


def unrecorded(details: UnrecordedArgument) -> str:
    """Why it is not known what guidance should do."""
    return f"The expected guidance is unknown: the value of {details.argument} was not recorded."


def observed(reason: str, details: ObservedGuidance) -> tuple[str, list[str]]:
    """Message, and a line for each thing that it doesn't name, where no formula decides."""
    further = [_fault(fault) for fault in details.faults[MOST_LISTED:]]
    contradictions = [_contradiction(contradiction) for contradiction in details.contradictions]
    why = _why_no_formula(details)
    also = f" Contradiction: {format_list(contradictions)}." if contradictions else ""
    groups = "; ".join(f"{format_steps_in_words(group.steps)} {_group(group)}" for group in details.groups)
    match reason:
        case "guidance.same":
            return f"As in the baseline: {groups}. {why}{also}", further
        case "guidance.changed" | "guidance.newly_read":
            lines = [_change(change) for change in details.changes]
            what = (
                "Not as in the baseline" if reason == "guidance.changed" else "Readable now, but not in the baseline"
            )
            return f"{what}: {format_list(lines)}. {why}{also}", [*lines[MOST_LISTED:], *further]
    return f"{why} Observed: {groups}.{also}", further


def faults_of_baseline(faults: Sequence[GuidanceFault]) -> str:
    """What was wrong with a baseline's guidance, and no longer is."""
    lines = format_list([_fault(fault) for fault in faults], most=_MOST_FAULTS)
    return f"The baseline's guidance was wrong: {lines}. In this run it is as requested."


def _counts(details: GuidanceDetails) -> str:
    steps = format_count(details.expected_steps, "step")
    rule = f" ({details.truncation})" if details.truncation else ""
    calls = format_count(details.denoiser_calls, "denoiser call")
    return f"{details.expected_guided_steps} of {steps} guided{rule}, {calls}"


def _mix(details: GuidanceDetails) -> str:
    """Scale and renorm of guided steps, with their tolerances."""
    if not details.expected_guided_steps:
        return ""
    scale = f"scale {details.scale:g} ± {details.scale_tolerance or 0:.2g}"
    if any(quantity.quantity == "scale" for quantity in details.unread):
        scale = "scale not readable"
    factor = f"{details.renorm_factor:g}"
    match details.renorm_kind:
        case "none":
            renorm = "no renorm"
        case "rows":
            off = max((abs(ratio - 1) for ratio in details.norm_ratio or ()), default=0.0)
            renorm = f"renorm by rows (norm ratio 1 ± {off:.1g}, limit {details.norm_ratio_tolerance or 0:.1g})"
        case "clamp":
            renorm = f"norm clamped to {factor} times the conditional norm"
        case "std":
            renorm = f"rescaled by {factor}"
    return f", {scale}, {renorm}"


def _fault(fault: GuidanceFault) -> str:
    where = format_steps_in_words(fault.steps) if fault.steps else ""
    observed = _range(fault.observed)
    expected = f"{fault.expected or 0:g}"
    tolerance = f"{fault.tolerance or 0:.2g}"
    limits = f"expected {expected} ± {tolerance}"
    match fault.kind:
        case "step_count":
            return f"{observed} steps ran ({expected} requested)"
        case "extra_steps" | "missing_steps":
            guided = "guided in error" if fault.kind == "extra_steps" else "not guided"
            return f"{where} {guided} ({observed} guided, {expected} expected, {fault.rule})"
        case "unconditional_used":
            prediction = _PREDICTIONS[fault.expected_prediction or "cond"]
            return f"{where} used the unconditional prediction instead of the {prediction} one"
        case "scale":
            return f"{where} mixed at scale {observed} ({limits})"
        case "gain":
            return f"{where} scaled although renorm is off (gain {observed}, {limits})"
        case "gain_uneven" | "renorm_uneven":
            return f"{where} rescaled unevenly within rows (residual {observed}, limit {tolerance})"
        case "renorm_by_row":
            return f"{where} rescaled row by row instead of by sample (gain {observed})"
        case "renorm_missing" | "renorm_wrong":
            renormalised = "not renormalised" if fault.kind == "renorm_missing" else "renormalised incorrectly"
            ratio = "deviation ratio" if fault.renorm == "std" else "norm ratio"
            if fault.renorm != "rows":
                limits = f"limit {expected}" if fault.renorm == "clamp" else f"expected rescaling by {expected}"
            return f"{where} {renormalised} ({ratio} {observed}, {limits})"
    return f"{where} {_WITHOUT_FIGURES[fault.kind]}"


def _range(values: tuple[float, float] | None) -> str:
    if values is None:
        return "not finite"
    low, high = (f"{value:.4g}" for value in values)
    return low if low == high else f"{low} to {high}"


def _unread(unread: UnreadQuantity) -> str:
    where = format_steps_in_words(unread.steps)
    if unread.quantity == "prediction":
        return f"prediction at {where} matches neither branch nor a mix of both"
    return f"{unread.quantity} at {where} not readable"


def inert_argument(argument: InertArgument) -> str:
    """Such as `cfg_trunc_ratio 1 (truncates no step)`."""
    value = argument.value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    written = "" if value is None else f" {value:g}" if number else f" {value}"
    causes = {
        "not_guided": argument.rule,
        "truncates_no_step": "truncates no step",
        "no_negative_prompt": "no negative prompt",
        "not_a_model_input": "the model takes no guidance scale",
    }
    return f"{argument.name}{written} ({causes[argument.cause]})"


def _why_no_formula(details: ObservedGuidance) -> str:
    if details.callback is not None:
        faults = format_list([_fault(fault) for fault in details.faults])
        return f"{details.callback} takes part in each step, and the call does not match the formula: {faults}."
    if details.reused_steps:
        where = format_steps_in_words(details.reused_steps)
        return f"The difference between the branches of an earlier step was reused in {where}."
    if details.unread:
        unread = format_list(list(map(_unread, details.unread)))
        return f"The formula for {details.pipeline} cannot decide: {unread}."
    if details.not_covered is not None:
        return f"The formula for {details.pipeline} does not cover {details.not_covered}."
    return f"There is no formula for {details.pipeline}."


def _contradiction(contradiction: Contradiction) -> str:
    argument = f"{contradiction.argument} is {contradiction.value:g}"
    if contradiction.kind == "no_guided_step":
        return f"{argument} with a negative prompt, but no step was guided"
    if contradiction.kind == "other_scale":
        where = format_count(contradiction.steps, "step")
        of = f" of {contradiction.component}" if contradiction.component else ""
        return f"{argument}, but {where}{of} mixed at scale {contradiction.observed or 0:.4g}"
    return f"{argument}, but both branches were called in {format_count(contradiction.steps, 'step')}"


def _change(change: GroupChange) -> str:
    where = format_steps_in_words(change.steps)
    if change.before is None or change.after is None:
        return f"{where} {'new' if change.before is None else 'missing'}"
    return f"{where} {_group(change.before)} -> {_group(change.after)}"


def _group(group: GuidanceGroup) -> str:
    calls = " + ".join(dict.fromkeys(group.branches)) or "no call"
    by = f" of {' and '.join(group.components)}" if group.components else ""
    converted = ", converted with the latents" if group.converted else ""
    return f"{_used(group)}{converted} ({calls}{by})"


def _used(group: GuidanceGroup) -> str:
    """What a step's input to the scheduler is made of."""
    match group.used:
        case "guided":
            renorm = {"none": "", "rows": ", renormalised by rows", "other": ", rescaled", "unknown": ""}[
                group.renorm
            ]
            sign = ", negated" if group.sign == -1 and not group.converted else ""
            return f"guided {_scale(group)}{renorm}{sign}"
        case "mixed":
            shares = ", ".join(f"{share:.4g}" for share in group.shares)
            return f"a mix of {format_count(len(group.shares), 'prediction')}, with shares of {shares}"
        case "reused":
            return f"guided {_scale(group)} by the branch difference of an earlier step"
        case "cond":
            return "conditional only"
        case "uncond":
            return "unconditional only"
    return "matching neither branch"


def _scale(group: GuidanceGroup) -> str:
    if group.scale_span is not None:
        first, last = group.scale_span
        return f"at scale {first:.4g} to {last:.4g}"
    return "at an unreadable scale" if group.scale is None else f"at scale {group.scale:.4g}"
