"""Words for what changed between two baselines of a case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.judge.definition import definition_changes
from pytest_diffbench.outputs.metrics import METRICS
from pytest_diffbench.report.sentences.output import tolerance_change
from pytest_diffbench.report.units import format_count, format_flops, format_percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_diffbench.records import Acceptance, Definition, GuidanceGroup, Output, ToleranceChange, Work

WHAT: dict[str, str] = {
    "added": "added",
    "removed": "removed",
    "redefined": "redefined",
    "new_generation": "new generation",
    "changed": "changed",
}
"""What became of a baseline, by its code."""


def definition(before: Definition, after: Definition) -> list[str]:
    """Each argument of the call that is another one: `steps 20 -> 30`."""
    return [
        f"{change.field} {'absent' if change.before is None else change.before} -> "
        f"{'absent' if change.after is None else change.after}"
        for change in definition_changes(before, after)
    ]


def counts(before: Work, after: Work) -> Iterator[tuple[str, str]]:
    """Counts of work that changed, each with its label."""
    if before.denoiser_calls != after.denoiser_calls:
        calls = f"{before.denoiser_calls:,}", format_count(after.denoiser_calls, "denoiser call")
        yield "calls", change(before.denoiser_calls, after.denoiser_calls, *calls)
    if before.total_flops != after.total_flops:
        flops = format_flops(before.total_flops), format_flops(after.total_flops)
        yield "FLOPs", change(before.total_flops, after.total_flops, *flops)


def change(before: float, after: float, before_text: str, after_text: str) -> str:
    """Two figures with the change of the second: `1.2 s -> 1.3 s (+8.3 %)`."""
    grown = f" ({format_percent(after / before - 1, signed=True)})" if before else ""
    return f"{before_text} -> {after_text}{grown}"


def guidance(groups: Sequence[GuidanceGroup]) -> str:
    """What each step did: `0-14 guided, scale 4, renorm rows; 15-29 cond`."""
    texts = []
    for group in groups:
        text = f"{group.steps} {group.used}"
        if group.scale is not None:
            text += f", scale {group.scale:.4g}"
        if group.renorm not in ("none", "unknown"):
            text += f", renorm {group.renorm}"
        texts.append(text)
    return "; ".join(texts) or "not seen"


def metrics(figures: Mapping[str, float]) -> str:
    """The distances of images: `PSNR 31.4 dB, SSIM 0.9871`."""
    return ", ".join(f"{METRICS[name].label} {METRICS[name].text(value)}" for name, value in figures.items())


def returned(output: Output) -> str:
    """What a call returned: `1 image, 1 other part`."""
    counted = [(len(output.images), "image"), (len(output.parts), "other part")]
    return ", ".join(format_count(count, noun) for count, noun in counted if count) or "nothing"


def runs(added: int, gone: int, now: int) -> str:
    """How many runs came and went: `+1, now 4 with times`."""
    moved = [f"+{added}"] if added else []
    moved += [f"-{gone}"] if gone else []
    return f"{', '.join(moved)}, now {now} with times"


def times_anew(new: bool) -> str:
    """That times count anew."""
    return "another time was accepted: times count anew from " + ("a run that is new" if new else "an earlier run")


def tolerance(changed: ToleranceChange) -> str:
    """A change of a threshold, with its reason."""
    return tolerance_change(changed).removeprefix("tolerance ")


def acceptance(accepted: Acceptance) -> str:
    """What was accepted without measuring again: when, why, and by which command."""
    reason = f": {accepted.reason}" if accepted.reason else ", no reason given"
    return f"{accepted.accepted[:10]}{reason} ({accepted.command})"


def total(whats: Sequence[str]) -> str:
    """How many baselines changed: `3 baselines differ: 1 added, 2 new generation`."""
    if not whats:
        return "no baseline differs"
    counted = [f"{whats.count(what)} {word}" for what, word in WHAT.items() if what in whats]
    verb = "differs" if len(whats) == 1 else "differ"
    return f"{format_count(len(whats), 'baseline')} {verb}: {', '.join(counted)}"
