"""Sentences of the work gate, and of optimisations that had a part in a call or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.records import parse_steps
from pytest_diffbench.records.details import InertDetails
from pytest_diffbench.report.sentences.common import field_change
from pytest_diffbench.report.sentences.guidance import faults_of_baseline
from pytest_diffbench.report.units import (
    MOST_LISTED,
    format_count,
    format_flops,
    format_list,
    format_percent,
    format_steps_in_words,
)

if TYPE_CHECKING:
    from pytest_diffbench.records import Engagement
    from pytest_diffbench.records.details import InputChange, WorkDetails, WorkDifference


_BRANCHES = {"cond": "conditional ", "uncond": "unconditional ", "joint": "joint ", "unknown": ""}

_DOUBTFUL = ("uncounted", "operators", "python_calls")


def message(reason: str, details: WorkDetails | InertDetails) -> str:
    """One sentence or more: what differs, in which component and steps, and the totals."""
    if isinstance(details, InertDetails):
        return inert(details)
    if reason == "work.same":
        steps = format_count(details.steps[1], "step")
        figures = f"{format_count(details.denoiser_calls[1], 'denoiser call')} in {steps}, "
        return f"Same work: {figures}{format_flops(details.flops[1])}{_operators(details)}. {_detectable(details)}."
    main, less = (list(map(_line, differences)) for differences in _named(reason, details))
    match reason:
        case "work.less":
            return f"Less work: {format_list(less)}. {_totals(details)}"
        case "work.uncounted":
            return f"FLOPs can't be compared: {format_list(main)}."
        case "work.operators" | "work.python_calls":
            return f"Same calls, shapes and FLOPs, but not the same operations: {format_list(main)}."
        case "work.baseline_not_as_asked":
            return f"{faults_of_baseline(details.baseline_fault)} Changed: {format_list(main)}."
    grown = any(difference.direction == "more" for difference in details.differences)
    also = f" Less of: {format_list(less)}." if less else ""
    return f"{'More' if grown else 'Different'} work: {format_list(main)}.{also} {_totals(details)}"


def changes(reason: str, details: WorkDetails | InertDetails) -> list[str]:
    """A line for each thing that differs and that the message doesn't name."""
    if isinstance(details, InertDetails):
        return []
    named = [difference for differences in _named(reason, details) for difference in differences[:MOST_LISTED]]
    return [_line(difference) for difference in details.differences if difference not in named]


def _named(reason: str, details: WorkDetails) -> tuple[list[WorkDifference], list[WorkDifference]]:
    """What the message is about, and of what there is less besides."""
    if reason == "work.same":
        return [], []
    judged = [difference for difference in details.differences if difference.kind != "attention_parameters"]
    if reason == "work.baseline_not_as_asked":
        return judged, []
    doubtful = reason in ("work.uncounted", "work.operators", "work.python_calls")
    chosen = [difference for difference in judged if (difference.kind in _DOUBTFUL) is doubtful]
    less = [difference for difference in chosen if difference.direction == "less"]
    return [difference for difference in chosen if difference not in less], [] if doubtful else less


def _line(change: WorkDifference) -> str:
    before, after = int(change.before), int(change.after)
    where = format_steps_in_words(change.steps) if change.steps else ""
    component = f"{_BRANCHES.get(change.branch, '')}{change.component}"
    match change.kind:
        case "denoiser_calls" | "branches":
            return _calls(change, component, where)
        case "steps":
            return f"scheduler steps: {before} -> {after}"
        case "schedule":
            several = " ..." if len(parse_steps(change.steps)) > 1 else ""
            return f"{change.name} at {where}: {change.before:.6g} -> {change.after:.6g}{several}"
        case "shapes":
            return f"{component} inputs at {where}: {', '.join(map(_input, change.inputs))}"
        case "component_calls":
            return f"{component} calls: {before} -> {after}"
        case "flops":
            at = f" per call at {where}" if where else ""
            return f"{component}{at}: {format_flops(before)} -> {format_flops(after)} ({_growth(before, after)})"
        case "parameters":
            return f"{component} parameters: {before:,} -> {after:,}"
        case "attention_parameters":
            return f"{component} parameters recognised as attention: {before:,} -> {after:,} (not judged)"
        case "compiled":
            return f"torch.compile {change.name}: {before} -> {after}"
        case "attention_mask":
            return f"{component} attention calls with a mask: {before:,} -> {after:,} of {change.of_calls:,}"
    return _operations(change, component)


def _operations(change: WorkDifference, component: str) -> str:
    """What equal calls were made of."""
    before, after = int(change.before), int(change.after)
    if change.kind == "uncounted":
        return f"{format_flops(before)} -> {format_flops(after)}, where no formula counts {_counts(change)} (calls)"
    if change.kind == "operators":
        return f"{component} operators: {before:,} -> {after:,} ({_counts(change)})"
    share = format_percent(after / before - 1, signed=True)
    return f"Python function calls: {before:,} -> {after:,} ({share}, most in {_counts(change)})"


def _calls(change: WorkDifference, component: str, where: str) -> str:
    before, after = int(change.before), int(change.after)
    steps = len(set(parse_steps(change.steps)))
    if not before:
        return f"{format_count(after * steps, f'{component} call')} that the baseline did not make ({where})"
    if not after:
        return f"{format_count(before * steps, f'{component} call')} of the baseline not made ({where})"
    return f"{component} calls at {where}: {before} -> {after}{' each' if steps > 1 else ''}"


def _input(change: InputChange) -> str:
    before, after = ("absent" if value is None else value for value in (change.before, change.after))
    name = change.name if change.what == "batch" else f"{change.name} {change.what}"
    return f"{name} {before} -> {after}"


def _counts(change: WorkDifference) -> str:
    counts = ", ".join(f"{count.name} {count.before:,} -> {count.after:,}" for count in change.counts)
    return f"{counts} and {change.further_counts} more kinds" if change.further_counts else counts


def _growth(before: int, after: int) -> str:
    """A difference of FLOPs: as a share, or to the last FLOP where the rounded figures hide it."""
    if not before or format_flops(before) == format_flops(after):
        return f"{after - before:+,} FLOP"
    return format_percent(after / before - 1, signed=True)


def _operators(details: WorkDetails) -> str:
    before, after = details.operators
    if not before or not after:
        return ""
    count = format_count(after, "operator")
    return f", {count}" if before == after else f", {before:,} -> {count}"


def _totals(details: WorkDetails) -> str:
    (before, after), (flops_before, flops_after) = details.denoiser_calls, details.flops
    calls = (
        f"{before} -> {format_count(after, 'denoiser call')}"
        if before != after
        else format_count(after, "denoiser call")
    )
    flops = format_flops(flops_after)
    if flops_before != flops_after:
        flops = f"{format_flops(flops_before)} -> {flops} ({_growth(flops_before, flops_after)})"
    return f"In total: {calls}, {flops}."


def _detectable(details: WorkDetails) -> str:
    """What of the work would have been seen to change."""
    limits = []
    if details.flops_allowed_rel:
        reasons = ", ".join(map(field_change, details.flops_allowed_for))
        limits.append(f"FLOPs beyond {100 * details.flops_allowed_rel:g} % only, because of {reasons}")
    if not details.operators_counted:
        limits.append("operators not at all: the baseline has none yet, and the next save adds them")
    elif details.operators[1] and details.operators_allowed_rel is None:
        limits.append("operators not at all")
    elif details.operators[1] and details.operators_allowed_rel:
        limits.append(f"operators beyond {100 * details.operators_allowed_rel:g} % only")
    if details.python_calls_allowed_rel is not None and all(details.python_calls):
        limits.append(f"Python calls beyond {100 * details.python_calls_allowed_rel:g} % only")
    return "Any change would have been detected" + (f" ({'; '.join(limits)})" if limits else "")


INERT_VARIANT = "inert: the option saved neither work nor operators, and changed no bit of the output"


def inert(details: InertDetails) -> str:
    """What is on and had no part in the call."""
    return f"Inert: {format_list([idle(engagement) for engagement in details.engagements])}."


def idle(engagement: Engagement) -> str:
    """How an optimisation had no part."""
    layers = format_count(engagement.layers, "layer")
    match engagement.kind:
        case "cache":
            reached = f", in {format_count(engagement.reached, 'call')} of {layers}" if engagement.reached else ""
            never = f"{engagement.component}: {engagement.name} is enabled and never hit{reached}"
            return f"{never}: no call was cheaper than another"
        case "lora":
            return f"{engagement.component}: the adapter {engagement.name} is all zeros in {layers}"
        case "compile":
            return f"{engagement.component}: torch.compile was asked for, and this process compiled nothing"
        case "quantize":
            return f"{engagement.component}: {engagement.name} left all {layers} as they were"
        case "group_offload":
            return f"{engagement.component}: group offloading is on, and no call reached its {layers}"


def active(engagement: Engagement) -> str:
    """What part it had: `transformer: FirstBlockCache answered 8 of 24 calls of 4 layers (steps 1-4)`."""
    layers = format_count(engagement.layers, "layer")
    if engagement.kind == "cache":
        if not engagement.skipped:
            cheaper = format_count(engagement.cheaper_calls, "cheaper call")
            return f"{engagement.component}: {engagement.name}, {cheaper}"
        calls = f"{engagement.skipped} of {format_count(engagement.reached, 'call')} of {layers}"
        steps = format_steps_in_words(engagement.skipped_steps)
        return f"{engagement.component}: {engagement.name} answered {calls} ({steps})"
    fused = f", {engagement.fused} fused" if engagement.fused else ""
    return f"{engagement.component}: {engagement.name} in {engagement.active} of {layers}{fused}"
