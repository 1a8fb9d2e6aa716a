"""Names the stages, steps and kinds of layer that carry a difference in time."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from pytest_diffbench.judge.text import percent, seconds, step_list
from pytest_diffbench.records import STAGES, format_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.judge.question import Question
    from pytest_diffbench.records import Run

_ATTENTION_SHIFT_REL = 0.05
"""Shares come from one pass each; smaller shifts than this are that pass's noise."""


def carriers(question: Question, now: Sequence[Run], past: Sequence[Run]) -> list[str]:
    """Tell where the difference to past runs lies, the largest part first.

    Args:
        question: the case.
        now: runs of this session, at least one.
        past: runs of the baseline that may be compared, at least one.

    Returns:
        Lines such as `denoise: 12.1 s -> 14.9 s (+23 %), 97 % of the difference`.
    """
    return moved_parts(now, past, question.limits.stage_share_rel) + _attention(question)


def moved_parts(now: Sequence[Run], past: Sequence[Run], share_rel: float) -> list[str]:
    """Tell which stages and steps carry at least a share of the difference, as `carriers` does."""
    total_s = statistics.median(run.median_s for run in now) - statistics.median(run.median_s for run in past)
    if total_s == 0:
        return []
    return _stages(now, past, total_s, share_rel) + _steps(now, past, total_s, share_rel)


def moved_steps(now: Sequence[Run], past: Sequence[Run]) -> tuple[list[int], float, float] | None:
    """The steps that moved by at least half of what each would, had all moved alike.

    Returns:
        The steps, and their median time before and after; None where steps weren't seen alike in all runs, or moved
        against each other.
    """
    mine, theirs = [run.step_medians_s for run in now], [run.step_medians_s for run in past]
    if not mine[0] or any(len(one) != len(mine[0]) for one in (*mine, *theirs)):
        return None
    before = [statistics.median(times) for times in zip(*theirs, strict=True)]
    after = [statistics.median(times) for times in zip(*mine, strict=True)]
    gaps_s = [after_s - before_s for before_s, after_s in zip(before, after, strict=True)]
    even_s = math.fsum(gaps_s) / len(gaps_s)
    if not math.isfinite(even_s) or even_s == 0:
        return None
    moved = [step for step, gap_s in enumerate(gaps_s) if gap_s / even_s >= 0.5]
    if not moved:
        return None
    return moved, statistics.median(before[step] for step in moved), statistics.median(after[step] for step in moved)


def _stages(now: Sequence[Run], past: Sequence[Run], total_s: float, share_rel: float) -> list[str]:
    mine, theirs = [run.stage_medians_s for run in now], [run.stage_medians_s for run in past]
    found = []
    for stage in STAGES:
        if all(stage in one for one in (*mine, *theirs)):
            before_s = statistics.median(their[stage] for their in theirs)
            after_s = statistics.median(one[stage] for one in mine)
            part_rel = (after_s - before_s) / total_s
            if part_rel >= share_rel:
                found.append(
                    (part_rel, f"{stage}: {pair(before_s, after_s)}, {100 * part_rel:.0f} % of the difference")
                )
    return [text for _, text in sorted(found, reverse=True)]


def _steps(now: Sequence[Run], past: Sequence[Run], total_s: float, share_rel: float) -> list[str]:
    found = moved_steps(now, past)
    if found is None:
        return []
    moved, before_s, after_s = found
    steps = len(now[0].step_medians_s)
    part_rel = len(moved) * (after_s - before_s) / total_s
    if part_rel < share_rel:
        return []
    where = f"all {steps} steps" if len(moved) == steps else step_list(format_steps(moved))
    return [f"{where}: {pair(before_s, after_s)} each, {100 * part_rel:.0f} % of the difference"]


def _attention(question: Question) -> list[str]:
    reference = question.baseline
    now, base = question.observation.layers, reference.baseline.layers
    if now is None or base is None or now.attention_rel is None or base.attention_rel is None:
        return []
    if abs(now.attention_rel - base.attention_rel) < _ATTENTION_SHIFT_REL:
        return []
    return [f"attention: {100 * base.attention_rel:.0f} % -> {100 * now.attention_rel:.0f} % of the denoiser's time"]


def pair(before_s: float, after_s: float) -> str:
    """Write a time before and after, and by how much it changed."""
    share = f" ({percent((after_s - before_s) / before_s)})" if before_s > 0 else ""
    return f"{seconds(before_s)} -> {seconds(after_s)}{share}"
