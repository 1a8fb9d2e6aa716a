"""Tables of a case: figures beside the baseline's, metrics beside their limits, and operators."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

from pytest_diffbench.outputs.kinds import PART_METRICS
from pytest_diffbench.outputs.metrics import METRICS
from pytest_diffbench.records.details import OutputDetails, TimeDetails
from pytest_diffbench.report.efficiency import efficiency_of, rate_text
from pytest_diffbench.report.figures import verdict_of
from pytest_diffbench.report.html import views
from pytest_diffbench.report.sentences import page as sentences
from pytest_diffbench.report.units import format_bytes, format_count, format_flops, format_percent, format_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_diffbench.outputs.metrics.metric import Metric
    from pytest_diffbench.records import Baseline, CaseReport, Observation, Stage

_MOST_OPERATORS = 14
_MOST_PROFILED = 8


def output_details_of(report: CaseReport) -> OutputDetails | None:
    """The figures of the output gate; None where it compared nothing."""
    verdict = verdict_of(report, "output")
    return verdict.details if verdict is not None and isinstance(verdict.details, OutputDetails) else None


def time_details_of(report: CaseReport) -> TimeDetails | None:
    """The figures of the time gate; None where it compared nothing."""
    verdict = verdict_of(report, "time")
    return verdict.details if verdict is not None and isinstance(verdict.details, TimeDetails) else None


def usual_stages(baseline: Baseline | None) -> dict[Stage, float]:
    """Medians over the runs of a baseline that count, of stages that all have."""
    runs = [run.stage_medians_s for run in baseline.times] if baseline is not None else []
    if not runs:
        return {}
    shared = [stage for stage in runs[-1] if all(stage in run for run in runs)]
    return {stage: statistics.median(run[stage] for run in runs) for stage in shared}


def _change(before: float | None, after: float | None) -> str:
    if not before or after is None:
        return ""
    change_rel = after / before - 1
    return format_percent(change_rel, signed=True) if abs(change_rel) >= 0.005 else ""


def figure_rows(report: CaseReport, baseline: Baseline | None) -> tuple[views.Row, ...]:
    """Figures of the whole call, before and now."""
    observation = report.observation
    run = observation.run
    usual_s = statistics.median(timed.median_s for timed in baseline.times) if baseline and baseline.times else None
    rows: list[views.Row] = []

    def add(name: str, before: float | None, after: float | None, text: Any) -> None:
        if before is None and after is None:
            return
        texts = ["" if value is None else text(value) for value in (before, after)]
        rows.append(views.Row(name, texts[0], texts[1], _change(before, after)))

    add("total", usual_s, run.median_s if run.rounds else None, format_seconds)
    works = [side.work if side is not None else None for side in (baseline, observation)]
    if any(work is not None and work.denoiser for work in works):
        calls = [work.denoiser_calls if work is not None else None for work in works]
        add("denoiser calls", calls[0], calls[1], _counted)
    if any(work is not None and work.total_flops for work in works):
        flops = [work.total_flops if work is not None else None for work in works]
        add("FLOPs", flops[0], flops[1], format_flops)
    memories = [side.memory if side is not None else None for side in (baseline, observation)]
    peaks = [memory.peak_bytes if memory is not None else None for memory in memories]
    add("peak memory", peaks[0], peaks[1], format_bytes)
    efficiency = efficiency_of(observation)
    if efficiency is not None and "denoise" in efficiency.flops_per_s:
        rows.append(views.Row("achieved, denoise", "", rate_text(efficiency, "denoise")))
    if observation.layers is not None and observation.layers.attention_rel is not None:
        rows.append(views.Row("attention", "", format_percent(observation.layers.attention_rel)))
    if run.rounds:
        rows.append(views.Row("rounds", "", f"{len(run.rounds)}"))
    return tuple(rows)


def _counted(count: float) -> str:
    return f"{count:,.0f}"


def stage_rows(usual: Mapping[Stage, float], now: Mapping[Stage, float]) -> tuple[views.Row, ...]:
    """Seconds of each stage, before and now."""
    return tuple(
        views.Row(
            sentences.stage_name(stage),
            format_seconds(usual[stage]) if stage in usual else "",
            format_seconds(now[stage]) if stage in now else "",
            _change(usual.get(stage), now.get(stage)),
            state=stage,
        )
        for stage in dict.fromkeys([*usual, *now])
    )


def stage_memory(report: CaseReport, baseline: Baseline | None) -> list[tuple[str, int | None, int | None]]:
    """Peak bytes of each stage, before and now, by its name in words."""
    before = baseline.memory if baseline is not None else None
    after = report.observation.memory
    stages = dict.fromkeys([*(before.stages if before is not None else ()), *(after.stages if after else ())])
    return [
        (
            sentences.stage_name(stage),
            before.stages[stage].peak_bytes if before is not None and stage in before.stages else None,
            after.stages[stage].peak_bytes if after is not None and stage in after.stages else None,
        )
        for stage in stages
    ]


def memory_rows(memory: Sequence[tuple[str, int | None, int | None]]) -> tuple[views.Row, ...]:
    """The same, written."""
    return tuple(
        views.Row(stage, _size(before), _size(after), _change(before, after)) for stage, before, after in memory
    )


def _size(count: int | None) -> str:
    return "" if count is None else format_bytes(count)


def limit_rows(report: CaseReport) -> tuple[views.Limit, ...]:
    """Metrics of the first image that is beyond a limit, else of the first, and those of other parts."""
    details = output_details_of(report)
    if details is None:
        return ()
    number = details.worst.image or 0 if details.worst is not None else 0
    of_image = details.images[number] if number < len(details.images) else {}
    figures: list[tuple[Metric | None, float | None, float | None]] = [
        (METRICS.get(name), figure.value, details.allowed.get(name)) for name, figure in of_image.items()
    ]
    figures += [(PART_METRICS.get(part.metric), part.value, part.limit) for part in details.parts]
    return tuple(
        views.Limit(metric.label, metric.text(value), metric.limit_text(limit), _is_beyond(metric, value, limit))
        for metric, value, limit in figures
        if metric is not None and limit is not None
    )


def _is_beyond(metric: Metric, value: float | None, limit: float) -> bool:
    """Whether a value is beyond its limit; None stands for what is infinite, or no number."""
    return metric.excess(value if value is not None else math.inf if metric.decibels else math.nan, limit) > 1


def operator_rows(report: CaseReport) -> tuple[views.Row, ...]:
    """Operators and kernels that are new, gone, slower or faster."""
    details = time_details_of(report)
    if details is None:
        return ()
    return tuple(
        views.Row(
            change.name,
            f"{format_count(change.calls[0], 'call')}, {format_seconds(change.seconds[0])}"
            if change.calls[0]
            else "",
            f"{format_count(change.calls[1], 'call')}, {format_seconds(change.seconds[1])}"
            if change.calls[1]
            else "",
            change=format_percent(change.added_rel) if change.added_rel is not None else "",
            state=sentences.operator_state(change.calls, change.seconds),
        )
        for change in details.operators[:_MOST_OPERATORS]
    )


def profile_rows(observation: Observation) -> tuple[views.Row, ...]:
    """The operators that took most time."""
    profile = observation.profile
    if profile is None:
        return ()
    return tuple(
        views.Row(
            operator.label,
            format_count(operator.calls, "call"),
            format_seconds(operator.self_s),
            change=format_percent(operator.self_s / profile.total_s) if profile.total_s else "",
        )
        for operator in profile.operators[:_MOST_PROFILED]
    )
