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


def carriers(question: Question, runs: Sequence[Run]) -> list[str]:
    """Tell where the difference to past runs lies, the largest part first.

    Args:
        question: the case.
        runs: past runs that may be compared, at least one.

    Returns:
        Lines such as `denoise: 12.1 s -> 14.9 s (+23 %), 97 % of the difference`.
    """
    now = question.observation.run
    total_s = now.median_s - statistics.median(run.median_s for run in runs)
    if total_s == 0:
        return []
    lines = _stages(now, runs, total_s, question.limits.stage_share_rel)
    lines += _steps(now, runs, total_s, question.limits.stage_share_rel)
    return lines + _attention(question)


def _stages(now: Run, runs: Sequence[Run], total_s: float, share_rel: float) -> list[str]:
    medians, past = now.stage_medians_s, [run.stage_medians_s for run in runs]
    found = []
    for stage in STAGES:
        if stage in medians and all(stage in one for one in past):
            before_s, after_s = statistics.median(one[stage] for one in past), medians[stage]
            part_rel = (after_s - before_s) / total_s
            if part_rel >= share_rel:
                found.append(
                    (part_rel, f"{stage}: {_pair(before_s, after_s)}, {100 * part_rel:.0f} % of the difference")
                )
    return [text for _, text in sorted(found, reverse=True)]


def _steps(now: Run, runs: Sequence[Run], total_s: float, share_rel: float) -> list[str]:
    mine = now.step_medians_s
    past = [run.step_medians_s for run in runs]
    if not mine or any(len(one) != len(mine) for one in past):
        return []
    before = [statistics.median(times) for times in zip(*past, strict=True)]
    gaps_s = [after_s - before_s for before_s, after_s in zip(before, mine, strict=True)]
    # a step carries its part when it moved by at least half of what it would if all steps moved alike
    even_s = sum(gaps_s) / len(gaps_s)
    if not math.isfinite(even_s) or even_s * total_s <= 0:
        return []
    moved = [step for step, gap_s in enumerate(gaps_s) if gap_s / even_s >= 0.5]
    part_rel = sum(gaps_s[step] for step in moved) / total_s
    if not moved or part_rel < share_rel:
        return []
    figures = _pair(
        statistics.median(before[step] for step in moved), statistics.median(mine[step] for step in moved)
    )
    where = f"all {len(mine)} steps" if len(moved) == len(mine) else step_list(format_steps(moved))
    return [f"{where}: {figures} each, {100 * part_rel:.0f} % of the difference"]


def _attention(question: Question) -> list[str]:
    reference = question.baseline
    now, base = question.observation.layers, reference.baseline.layers
    if now is None or base is None or now.attention_rel is None or base.attention_rel is None:
        return []
    if abs(now.attention_rel - base.attention_rel) < _ATTENTION_SHIFT_REL:
        return []
    return [f"attention: {100 * base.attention_rel:.0f} % -> {100 * now.attention_rel:.0f} % of the denoiser's time"]


def _pair(before_s: float, after_s: float) -> str:
    share = f" ({percent((after_s - before_s) / before_s)})" if before_s > 0 else ""
    return f"{seconds(before_s)} -> {seconds(after_s)}{share}"
