"""What became of a case that was to be saved, in words: outcomes, refusals, and how far it went since the first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from pytest_diffbench.outputs.kinds import PART_METRICS
from pytest_diffbench.report.sentences.parts import part_name, size_text
from pytest_diffbench.report.units import format_bytes, format_count, format_flops, format_list, format_percent

if TYPE_CHECKING:
    from pytest_diffbench.judge.slide import Slide, SlideItem
    from pytest_diffbench.records import SaveOutcome


def saved_text(outcome: SaveOutcome | None) -> str:
    """Such as `created`, `added run 3`, `new generation 2`, `kept: why` or `refused: why`; empty for None."""
    if outcome is None:
        return ""
    text = {"added": f"added run {outcome.number}", "new_generation": f"new generation {outcome.number}"}.get(
        outcome.what, outcome.what
    )
    if outcome.why:
        text += f": {outcome.why}"
    if outcome.times_anew:
        text += ", from which times count anew"
    return f"{text}; refuted by a fresh process" if outcome.refuted else text


Obstacle: TypeAlias = Literal["incomplete", "test_failed", "refuted", "no_trace", "not_at_hand"]
"""What forbids to accept a result without measuring again."""

TWICE = "this run is in the baseline already"

_TEXTS: dict[Obstacle, str] = {
    "incomplete": "the measurement isn't complete. Measure it again",
    "test_failed": "the test failed",
    "refuted": "a fresh process returned something else",
    "no_trace": (
        "its trace wasn't kept. Measure with --diffbench-images=FOLDER, or with a folder as --diffbench-report"
    ),
    "not_at_hand": (
        "its images, other parts or trace aren't at hand. Name the folder of --diffbench-images, or of "
        "--diffbench-report, that the session wrote: --images FOLDER"
    ),
}


def refusal(obstacle: Obstacle) -> str:
    """Why a result is refused, without a full stop."""
    return _TEXTS[obstacle]


def slide_text(slide: Slide) -> str:
    """All that went further since the first generation than one step may, without a full stop."""
    items = format_list([_item(item) for item in slide.items])
    return f"since generation {slide.generation} ({slide.started[:10]}), over several accepted steps: {items}"


def _item(item: SlideItem) -> str:
    match item.kind:
        case "images":
            before, after = (
                ", ".join(f"{width} x {height} px" for width, height in sizes) or "none" for sizes in item.sizes_px
            )
            return f"images {before} -> {after}"
        case "colour_levels":
            return (
                f"colour shift of image {item.image} at least {item.after:.1f}/255 (limit per step {item.before:.3g})"
            )
        case "psnr_db":
            return f"PSNR of image {item.image} at most {item.after:.1f} dB (limit per step {item.before:.4g} dB)"
        case "parts":
            before, after = (
                ", ".join(f"{part_name(part)} ({size_text(part)})" for part in parts) or "none"
                for parts in item.shapes
            )
            return f"outputs {before} -> {after}"
        case "part":
            assert item.part is not None
            metric = PART_METRICS[item.metric]
            bound = "at most" if metric.higher_is_better else "at least"
            of = f"{metric.label} of {part_name(item.part)} {bound} {metric.text(item.after)}"
            return f"{of} (limit per step {metric.limit_text(item.before)})"
        case "denoiser_calls":
            calls = format_count(int(item.after), "denoiser call")
            return f"{int(item.before):,} -> {calls} (limit per step: no change)"
        case "flops":
            figures = f"{format_flops(int(item.before))} -> {format_flops(int(item.after))}"
            limit = f" {100 * item.allowed:g} %" if item.allowed else ": no change"
            return f"{figures} ({_growth(item)}, limit per step{limit})"
        case "peak_bytes":
            figures = f"{format_bytes(int(item.before))} -> {format_bytes(int(item.after))}"
            return f"peak memory {figures} ({_growth(item)}, limit per step +{format_bytes(int(item.allowed))})"


def _growth(item: SlideItem) -> str:
    return format_percent(item.after / item.before - 1, signed=True)
