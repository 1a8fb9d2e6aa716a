"""What fails, as rows: model, configuration, metric, latest, baseline, change, threshold."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_diffbench.outputs.kinds import PART_METRICS
from pytest_diffbench.outputs.metrics import METRICS
from pytest_diffbench.records.details import MemoryDetails, OutputDetails, TimeDetails, WorkDetails
from pytest_diffbench.report.units import format_bytes, format_flops, format_percent, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_diffbench.records import CaseReport, Verdict


@dataclasses.dataclass(frozen=True, slots=True)
class TriageRow:
    """One gate of a case that got worse; texts are empty where there is no such figure.

    `configuration` is of the test and of the pipeline: `test_cfg[4.0], mini, float32`; `change` is that of `latest`
    against `baseline`, and `threshold` what it counts beyond.
    """

    case: str
    gate: str
    machine: str
    model: str
    configuration: str
    metric: str
    latest: str = ""
    baseline: str = ""
    change: str = ""
    threshold: str = ""


def triage(report: CaseReport) -> list[TriageRow]:
    """A row for each gate of a case that got worse, and one for a case that broke off."""
    rows = [_row(report, verdict) for verdict in report.verdicts if verdict.decision == "worse"]
    if report.error is not None or not report.observation.complete:
        rows.append(dataclasses.replace(_head(report, ""), metric="error"))
    return rows


def _head(report: CaseReport, gate: str) -> TriageRow:
    observation = report.observation
    definition = observation.case.definition
    name = observation.case.id.rpartition("::")[2]
    offload = [] if definition.offload == "none" else [f"offload {definition.offload}"]
    tuning = [f"{option}={value}" for option, value in sorted(definition.tuning.items())]
    return TriageRow(
        case=observation.case.id,
        gate=gate,
        machine=observation.run.environment.machine,
        model=definition.model or definition.pipeline,
        configuration=", ".join([name, definition.weights, definition.dtype, *offload, *tuning]),
        metric="",
    )


def _row(report: CaseReport, verdict: Verdict) -> TriageRow:
    head = _head(report, verdict.gate)
    match verdict.details:
        case TimeDetails(median_s=float(now_s), baseline_s=float(then_s)) as details:
            stages = details.stage_ratios
            slowest = max(stages, key=lambda stage: stages[stage], default=None)
            metric = f"time, most in {slowest}" if slowest is not None else "time"
            threshold = f"{format_percent(details.floor_rel, signed=True)}" if details.floor_rel is not None else ""
            return _filled(head, metric, (then_s, now_s), format_seconds, threshold)
        case MemoryDetails() as details:
            return _filled(head, "peak memory", details.peak_bytes, lambda value: format_bytes(round(value)))
        case WorkDetails() as details if details.denoiser_calls[0] != details.denoiser_calls[1]:
            return _filled(
                head, "denoiser calls", details.denoiser_calls, lambda value: f"{round(value):,}", "no change"
            )
        case WorkDetails() as details if details.flops[0] != details.flops[1]:
            allowed = (
                format_percent(details.flops_allowed_rel, signed=True) if details.flops_allowed_rel else "no change"
            )
            return _filled(head, "FLOPs", details.flops, lambda value: format_flops(round(value)), allowed)
        case OutputDetails(worst=worst) if worst is not None and worst.value is not None:
            known = METRICS.get(worst.metric) or PART_METRICS.get(worst.metric)
            latest = known.text(worst.value) if known is not None else f"{worst.value:.3g}"
            limit = known.limit_text(worst.limit) if known is not None else f"{worst.limit:.3g}"
            label = known.label if known is not None else worst.metric
            return dataclasses.replace(head, metric=label, latest=latest, threshold=limit)
    return dataclasses.replace(head, metric=verdict.reason)


def _filled(
    head: TriageRow,
    metric: str,
    pair: tuple[float, float],
    text: Callable[[float], str],
    threshold: str = "",
) -> TriageRow:
    """A row of two figures, the baseline's first."""
    before, after = pair
    change = format_percent(after / before - 1, signed=True) if before else ""
    return dataclasses.replace(
        head, metric=metric, latest=text(after), baseline=text(before), change=change, threshold=threshold
    )
