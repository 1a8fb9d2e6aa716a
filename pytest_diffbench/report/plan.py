"""A planned call as a table for the terminal, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.records import parse_steps
from pytest_diffbench.report.lines import flow, hang, in_columns, segment
from pytest_diffbench.report.units import format_bytes, format_count, format_flops, format_percent, format_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.records import PartPlan, PipelinePlan
    from pytest_diffbench.report.lines import Line

ROOFLINE_WORDS = (
    "a bound, not a prediction: each operation alone, its arguments read and its result written once, at the "
    "published peak of arithmetic or of memory, whichever takes longer"
)
ACTIVATIONS_WORDS = (
    "an estimate: large tensors alive at once, the callers' included, without weights, the allocator's rounding and "
    "kernels' workspaces"
)


def plan_lines(plan: PipelinePlan, width: int) -> list[Line]:
    """The table."""
    return [
        *_head(plan, width),
        [],
        *_calls(plan, width),
        [],
        *_parts(plan),
        [],
        *_totals(plan, width),
        *(line for note in plan.notes for line in hang([segment("note  ", "yellow")], note, width, 6)),
    ]


def _head(plan: PipelinePlan, width: int) -> list[Line]:
    about = [plan.pipeline, plan.dtype, f"torch {plan.software.get('torch')}"]
    title = [[segment(plan.source, "bold")], *([segment(text)] for text in about)]
    arguments = [f"{name}={value!r}" for name, value in plan.arguments.items()]
    return [*flow(title, width, 0), *flow([[segment(text, "light")] for text in arguments], width, 2, segment("  "))]


def _calls(plan: PipelinePlan, width: int) -> list[Line]:
    """Denoiser calls by branch; which steps, how many tokens, how much work."""
    work = plan.work
    rows = [("denoiser", "calls", "steps", "tokens", "FLOP a call")]
    rows += [
        (
            f"{group.component} {group.branch}",
            str(len(parse_steps(group.steps))),
            group.steps,
            f"{plan.tokens.get(f'{group.component} {group.branch}', 0):,}",
            format_flops(group.flops),
        )
        for group in work.denoiser
    ]
    guided = plan.guidance.guided_steps if plan.guidance is not None else None
    summary = [format_count(work.denoiser_calls, "denoiser call"), f"in {format_count(work.steps, 'step')}"]
    text = " ".join(summary) + (f", {guided} of them guided" if guided is not None else "")
    return [*_table(rows, "<><>>"), *hang([], text, width, 2)]


def _parts(plan: PipelinePlan) -> list[Line]:
    timed = plan.roofline is not None
    rows: list[tuple[str, ...]] = [
        ("component", "calls", "FLOP", "attn.", "params", "weights", "activations", *(["roofline"] * timed))
    ]
    rows += [(*_part(part), *([format_seconds(part.roofline_s or 0.0)] * timed)) for part in plan.parts]
    return _table(rows, "<>")


def _part(part: PartPlan) -> tuple[str, ...]:
    share = format_percent(part.attention_flops / part.flops) if part.flops else ""
    return (
        part.name,
        str(part.calls) if part.name != "pipeline" else "",
        format_flops(part.flops).removesuffix("FLOP").strip(),
        share,
        _short(part.parameters) if part.parameters is not None else "",
        format_bytes(part.weights_bytes) if part.weights_bytes is not None else "",
        format_bytes(part.activations_peak_bytes),
    )


def _short(count: int) -> str:
    """A number of parameters in three digits: `2.61 B`, `83.8 M`."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)


def _totals(plan: PipelinePlan, width: int) -> list[Line]:
    peak = max((part.activations_peak_bytes for part in plan.parts), default=0)
    lines = [
        *hang([segment(f"{'work':13}", "bold")], format_flops(plan.work.total_flops), width, 13),
        *hang([segment(f"{'weights':13}", "bold")], format_bytes(plan.weights_bytes), width, 13),
        *hang([segment(f"{'activations':13}", "bold")], f"{format_bytes(peak)}, {ACTIVATIONS_WORDS}", width, 13),
    ]
    if plan.roofline is not None and plan.roofline_s is not None:
        roof = plan.roofline
        peaks = (
            f"{roof.flops_per_s_16 / 1e12:.4g} TFLOP/s in 16 bits, {roof.flops_per_s_32 / 1e12:.4g} in float32, "
            f"{roof.bytes_per_s / 1e12:.3g} TB/s"
        )
        text = f"{format_seconds(plan.roofline_s)} on {roof.device}, {ROOFLINE_WORDS} ({peaks}; {roof.source})"
        lines += hang([segment(f"{'roofline':13}", "bold")], text, width, 13)
        if plan.weights_bytes + peak > roof.memory_bytes:
            text = (
                f"weights and activations together are {format_bytes(plan.weights_bytes + peak)}, more than the "
                f"{format_bytes(roof.memory_bytes)} of {roof.device}: offload, or use a smaller dtype"
            )
            lines += hang([segment("note  ", "yellow")], text, width, 6)
    return lines


def _table(rows: Sequence[tuple[str, ...]], sides: str) -> list[Line]:
    head, *others = in_columns(rows, sides)
    return [[segment(head, "light")], *([segment(text)] for text in others)]
