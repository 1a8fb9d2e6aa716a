"""What the page of a report says beyond the messages of verdicts: its headline, and charts for who can't see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.report.units import format_bytes, format_count, format_distance, format_percent, format_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_diffbench.records import Comparison, Stage

_STAGES = {
    "text_encode": "text encoding",
    "vae_encode": "VAE encoding",
    "denoise": "denoising",
    "vae_decode": "VAE decoding",
    "unattributed": "unattributed",
}
_USED = {
    "guided": "guided",
    "reused": "guided, reusing an earlier difference",
    "cond": "conditional only",
    "uncond": "unconditional only",
    "unknown": "not known",
    "plain": "",
}

LEFT_OUT = "Left out to keep this page small. Write the report into a folder to see every picture."
NOT_KEPT = (
    "The pictures weren't at hand when this page was made. Name the folder of --diffbench-images with --images, or "
    "run the tests with --diffbench-report."
)


def headline(cases: int, counts: Mapping[str, int], verified: int = 0, wrong: int = 0) -> str:
    """What a reader wants to know first: `3 of 9 cases got worse`.

    Cases are counted by status; `wrong` are those of the verified pipelines in which something is.
    """
    if not verified:
        return _of_cases(cases, counts)
    pipelines = f"{wrong:,} of {format_count(verified, 'pipeline')}" if wrong else "no pipeline"
    text = f"{pipelines} {'is' if wrong <= 1 else 'are'} wrong without any baseline"
    return f"{_of_cases(cases, counts)}; {text}" if cases else text.capitalize()


def _of_cases(cases: int, counts: Mapping[str, int]) -> str:
    if not cases:
        return "Nothing was measured"
    of_all = f"of {format_count(cases, 'case')}"
    worse, broken = counts.get("worse", 0), counts.get("error", 0) + counts.get("refused", 0)
    if worse and broken:
        return f"{worse:,} {of_all} got worse, {broken:,} failed"
    if worse:
        return f"{worse:,} {of_all} got worse"
    if broken:
        return f"{broken:,} {of_all} failed"
    open_cases = sum(counts.get(status, 0) for status in ("unsure", "incomparable", "unbaselined", "partial"))
    if open_cases:
        return f"Nothing got worse; {open_cases:,} {of_all} couldn't be judged in full"
    return "Nothing got worse" if counts.get("saved", 0) < cases else f"{format_count(cases, 'case')} saved"


def stage_name(stage: str) -> str:
    """A stage in words."""
    return _STAGES.get(stage, stage)


def used_name(used: str) -> str:
    """What a step's prediction is made of, in words."""
    return _USED.get(used, used)


def stages_label(rows: Sequence[Mapping[Stage, float]], labels: Sequence[str]) -> str:
    """Of the bars of stages."""
    texts = [
        f"{label}: " + ", ".join(f"{stage_name(stage)} {format_seconds(value_s)}" for stage, value_s in row.items())
        for row, label in zip(rows, labels, strict=True)
    ]
    return "Time by stage. " + "; ".join(texts)


def step_title(number: int, used: str, value_s: float) -> str:
    """Of a step's bar."""
    return f"step {number}: {format_seconds(value_s)}" + (f", {used_name(used)}" if used_name(used) else "")


def steps_label(steps_s: Sequence[float], base_s: Sequence[float], used: Sequence[str]) -> str:
    """Of the bars of steps."""
    text = format_count(len(steps_s), "step")
    if steps_s:
        text += f", {format_seconds(min(steps_s))} to {format_seconds(max(steps_s))} each"
    if used:
        text += f", {sum(kind == 'guided' for kind in used)} of them guided"
    if base_s:
        text += f"; in the baseline {format_count(len(base_s), 'step')}"
        text += f", {format_seconds(min(base_s))} to {format_seconds(max(base_s))} each"
    return text


def run_title(started: str, median_s: float, rounds: int) -> str:
    """Of a run in the history."""
    return f"{started[:16].replace('T', ' ')}: {format_seconds(median_s)}, {format_count(rounds, 'round')}"


def history_label(runs: int, usual_s: float, now_s: float) -> str:
    """Of the history."""
    change = format_percent(now_s / usual_s - 1, signed=True)
    return (
        f"{format_count(runs, 'run')} of the baseline at about {format_seconds(usual_s)}; this run took "
        f"{format_seconds(now_s)} ({change})"
    )


def divergence_label(steps: int, most_rel: float, place: str | None) -> str:
    """Of the curve of divergence."""
    first = f"; first beyond the threshold at {place}" if place is not None else ""
    over = f"{format_count(steps, 'step')}, up to {format_distance(most_rel)}"
    return f"Distance from the baseline's trace over {over}{first}"


def memory_label(rows: Sequence[tuple[str, int | None, int | None]]) -> str:
    """Of the bars of memory."""
    texts = [
        f"{name} {' -> '.join(format_bytes(size) for size in (before, after) if size)}"
        for name, before, after in rows
    ]
    return "Peak memory. " + "; ".join(texts)


def frontier_label(comparison: Comparison, ticks: Sequence[float]) -> str:
    """Of the chart of a comparison."""
    return (
        f"{format_count(len(comparison.variants), 'variant')}: speed-up {ticks[0]:.2f} to {ticks[-1]:.2f} against "
        "PSNR of the images; the table has the figures"
    )


def frames_label(gaps_levels: Sequence[float]) -> str:
    """Of the bars of frames."""
    worst = max(range(len(gaps_levels)), key=gaps_levels.__getitem__)
    return (
        f"Difference of {format_count(len(gaps_levels), 'frame')} from the baseline's; largest at frame {worst}, "
        f"{gaps_levels[worst]:.1f}/255"
    )


def operator_state(calls: tuple[int, int], seconds: tuple[float, float]) -> str:
    """What became of an operator."""
    if not calls[0]:
        return "new"
    if not calls[1]:
        return "gone"
    return "slower" if seconds[1] > seconds[0] else "faster"
