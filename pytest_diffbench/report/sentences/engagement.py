"""Sentences about optimisations: whether they had a part in a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.report.units import format_count, format_list, format_steps_in_words

if TYPE_CHECKING:
    from pytest_diffbench.records import Engagement
    from pytest_diffbench.records.details import InertDetails

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
