"""Names the stages and steps that carry a difference in time, and a proven slowdown by them."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

import msgspec

from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.judge.time import telemetry
from pytest_diffbench.judge.time.figures import TOTAL, kind_of, label, times_of
from pytest_diffbench.records import STAGES, format_steps
from pytest_diffbench.records.details import PartTime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.judge.gate_input import GateInput
    from pytest_diffbench.judge.time.rule import Figure
    from pytest_diffbench.records import Run, Verdict
    from pytest_diffbench.records.details import TimeDetails


_ATTENTION_SHIFT_REL = 0.05
"""Shares come from one pass each; smaller shifts than this are that pass's noise."""


def moved_parts(now: Sequence[Run], past: Sequence[Run], share_rel: float) -> tuple[PartTime, ...]:
    """Stages and steps that carry at least a share of the call's difference, the largest stage first, then steps.

    There is at least one run on either side.
    """
    total_s = statistics.median(run.median_s for run in now) - statistics.median(run.median_s for run in past)
    if total_s == 0:
        return ()
    return (*_stages(now, past, total_s, share_rel), *_steps(now, past, total_s, share_rel))


def moved_steps(now: Sequence[Run], past: Sequence[Run]) -> PartTime | None:
    """The steps that moved by at least half of what each would, had all moved alike, with their median time of each.

    Returns:
        None where steps weren't seen alike in all runs, or moved against each other.
    """
    after_runs, before_runs = [run.step_medians_s for run in now], [run.step_medians_s for run in past]
    count = len(after_runs[0])
    if not count or any(len(steps_s) != count for steps_s in (*after_runs, *before_runs)):
        return None
    before = [statistics.median(times_s) for times_s in zip(*before_runs, strict=True)]
    after = [statistics.median(times_s) for times_s in zip(*after_runs, strict=True)]
    gaps_s = [after_s - before_s for before_s, after_s in zip(before, after, strict=True)]
    even_s = math.fsum(gaps_s) / len(gaps_s)
    if not math.isfinite(even_s) or even_s == 0:
        return None
    moved = [step for step, gap_s in enumerate(gaps_s) if gap_s / even_s >= 0.5]
    if not moved:
        return None
    noun = "step" if len(moved) == 1 else "steps"
    return PartTime(
        name=f"all {count} steps" if len(moved) == count else f"{noun} {format_steps(moved).replace(',', ', ')}",
        before_s=statistics.median(before[step] for step in moved),
        after_s=statistics.median(after[step] for step in moved),
        kind="step",
        each=True,
        share_rel=len(moved) / count,
    )


def attention_shift(gate_input: GateInput) -> tuple[float, float] | None:
    """Attention's share of the denoiser's time before and now, where it shifted."""
    now, base = gate_input.observation.layers, gate_input.baseline.baseline.layers
    if now is None or base is None or now.attention_rel is None or base.attention_rel is None:
        return None
    if abs(now.attention_rel - base.attention_rel) < _ATTENTION_SHIFT_REL:
        return None
    return base.attention_rel, now.attention_rel


def _stages(now: Sequence[Run], past: Sequence[Run], total_s: float, share_rel: float) -> list[PartTime]:
    after_runs, before_runs = [run.stage_medians_s for run in now], [run.stage_medians_s for run in past]
    parts = []
    for stage in STAGES:
        if all(stage in stages_s for stages_s in (*after_runs, *before_runs)):
            before_s = statistics.median(stages_s[stage] for stages_s in before_runs)
            after_s = statistics.median(stages_s[stage] for stages_s in after_runs)
            part_rel = (after_s - before_s) / total_s
            if part_rel >= share_rel:
                parts.append(PartTime(name=stage, before_s=before_s, after_s=after_s, share_rel=part_rel))
    return sorted(parts, key=lambda part: (-(part.share_rel or 0.0), part.name))


def _steps(now: Sequence[Run], past: Sequence[Run], total_s: float, share_rel: float) -> list[PartTime]:
    moved = moved_steps(now, past)
    if moved is None or moved.share_rel is None:
        return []
    count = round(moved.share_rel * len(now[0].step_medians_s))
    part_rel = count * (moved.after_s - moved.before_s) / total_s
    if part_rel < share_rel:
        return []
    return [msgspec.structs.replace(moved, share_rel=part_rel)]


def part_of(now: Sequence[Run], past: Sequence[Run], figure: Figure) -> PartTime:
    """A time before and after: geometric means, whose ratio is the mean ratio of pairs."""
    before_s, after_s = (statistics.geometric_mean(times_of(runs)[figure.name]) for runs in (past, now))
    name, kind = label(figure.name, len(now[0].step_medians_s)), kind_of(figure.name)
    return PartTime(name=name, kind=kind, before_s=before_s, after_s=after_s)


def slower_verdict(
    now: Sequence[Run], past: Sequence[Run], slower: Sequence[Figure], details: TimeDetails, *, more_runs_count: bool
) -> Verdict:
    """Name what is proven: the total where it is, else the stages, else the steps.

    Args:
        now: runs of this session, or of one side of pairs.
        past: those that they are held against.
        slower: what is proven to be slower, the least likely by chance first.
        details: what is known of the case besides.
        more_runs_count: one more run, or pair, would be made use of.
    """
    # the reason follows what weighs most, whichever of them is least likely
    leading = min(slower, key=lambda figure: (figure.name != TOTAL, kind_of(figure.name) == "step"))
    clocks = telemetry.clocks_explain(now, past, leading, slower)
    details = msgspec.structs.replace(
        details,
        slower=tuple(part_of(now, past, figure) for figure in slower),
        leading_floor_rel=math.expm1(leading.floor_log),
        confirmed=leading.agreeing(),
        fresh_runs=leading.fresh,
        clocks=clocks,
        more_runs_help=clocks is not None and more_runs_count,
        waited=None if clocks is not None else telemetry.waited(now, past, leading.floor_log),
    )
    if clocks is not None:
        return verdict("time.clocks", details=details)
    part = kind_of(leading.name)
    return verdict("time.slower" if part == "total" else f"time.{part}_slower", details=details)
