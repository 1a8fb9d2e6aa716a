"""A case as the page shows it: its verdicts, figures beside the baseline's, charts, and how to measure it again."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from pytest_diffbench.judge.reasons import REASONS
from pytest_diffbench.judge.trace.entries import place_of
from pytest_diffbench.outputs.kinds import PART_METRICS
from pytest_diffbench.outputs.metrics import METRICS
from pytest_diffbench.records import GATES
from pytest_diffbench.records.details import MemoryDetails, OutputDetails, TimeDetails
from pytest_diffbench.report.failure import ending, headline
from pytest_diffbench.report.figures import (
    PASSING,
    STATUSES,
    attempts_text,
    detectable_text,
    grouped,
    image_figures,
    node_id,
    rerun_command,
    save_command,
    status_of,
    to_tell,
    truncation_text,
    verdict_of,
)
from pytest_diffbench.report.html import charts, rows, views
from pytest_diffbench.report.sentences import page as sentences
from pytest_diffbench.report.sentences.saving import saved_text
from pytest_diffbench.report.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_diffbench.records import Baseline, CaseReport, Observation, SessionReport, Stage, Verdict

_LONGEST_ARGUMENT = 2000


def gravity_of(report: CaseReport) -> tuple[int, int, float, str]:
    """Sorts cases with the gravest first: by status, how many gates are worse, and by how much."""
    worse = [verdict for verdict in report.verdicts if verdict.decision == "worse"]
    return STATUSES.index(status_of(report)), -len(worse), -_excess(report), report.observation.case.id


def _excess(report: CaseReport) -> float:
    """How far a case is from its baseline: the worst metric's error in units of the limit's, or the time's growth."""
    details = rows.output_details_of(report)
    excess = 0.0
    if details is not None and details.worst is not None and details.worst.value is not None:
        metric = METRICS.get(details.worst.metric) or PART_METRICS.get(details.worst.metric)
        excess = metric.excess(details.worst.value, details.worst.limit) if metric is not None else 0.0
    return max(min(excess, 1e6), 10 * max(_ratio(report) - 1, 0.0))


def _ratio(report: CaseReport) -> float:
    verdict = verdict_of(report, "time")
    details = verdict.details if verdict is not None else None
    return details.ratio if isinstance(details, TimeDetails) and details.ratio is not None else 1.0


def slug_of(report: CaseReport, taken: set[str]) -> str:
    """A name for links that is the same in every report: a digest of the case's id; a repeated one is numbered."""
    name = f"c{hashlib.blake2b(report.observation.case.id.encode('utf-8', 'replace'), digest_size=5).hexdigest()}"
    slug = next(
        candidate for n in range(1, len(taken) + 2) if (candidate := name if n == 1 else f"{name}-{n}") not in taken
    )
    taken.add(slug)
    return slug


def case_view(
    report: CaseReport,
    session: SessionReport,
    baseline: Baseline | None,
    looks: tuple[views.Look, ...],
    *,
    slug: str,
    number: int,
    kept: bool,
    bare: bool,
) -> views.Case:
    """Everything that the page says of a case.

    Its pictures were `kept` whether or not there was room for them; where it is `bare`, tables have to do.
    """
    observation = report.observation
    definition = observation.case.definition
    run = observation.run
    where, mark, name = observation.case.id.partition("::")
    status = status_of(report)
    to_read = to_tell(report)
    telling = grouped(to_read)
    passing = [verdict for verdict in report.verdicts if verdict.decision in PASSING]
    node = [node_id(observation.case.id)]
    closing, accept = ending(report, save_command(node, session.command, session.root)) if to_read else ("", None)
    figures = image_figures(report) or {}
    output = observation.output
    shows = output is not None and bool(output.images or output.parts)
    memory = rows.stage_memory(report, baseline)
    usual = rows.usual_stages(baseline)
    return views.Case(
        slug=slug,
        case_id=observation.case.id,
        where=where if mark else "",
        name=name if mark else where,
        status=status,
        rank=STATUSES.index(status),
        model=f"{definition.model} {definition.weights}" if definition.model is not None else definition.pipeline,
        facts=_facts(observation),
        gates=tuple((gate, _decision(report, gate)) for gate in GATES),
        stages=_stages(report),
        headline=_headline(report, to_read),
        outcome=_outcome(report),
        verdicts=tuple(_verdict(heading, verdict) for heading, verdict in telling),
        passing=tuple(_verdict(verdict.reason, verdict) for verdict in passing),
        looks=looks,
        looks_note=sentences.NOT_KEPT if shows and not kept else "",
        charts=views.Charts() if bare else _charts(report, baseline, usual, memory),
        figures=rows.figure_rows(report, baseline),
        stage_rows=rows.stage_rows(usual, observation.run.stage_medians_s),
        memory_rows=rows.memory_rows(memory),
        limits=rows.limit_rows(report),
        operators=rows.operator_rows(report),
        profile=rows.profile_rows(observation),
        changed_since=report.changed_since,
        used=_used(observation),
        arguments=tuple((name, _argument(value)) for name, value in definition.arguments.items()),
        notes=_notes(report),
        baseline=report.against or report.baseline_path or "",
        command=rerun_command(node, session.command, session.root),
        closing=closing,
        accept=accept or "",
        session=number,
        total=format_seconds(run.median_s) if run.rounds else "",
        total_s=run.median_s if run.rounds else 0.0,
        ratio=_ratio(report),
        psnr_db=min(figures.get("psnr_db", 999.0), 999.0),
    )


def _facts(observation: Observation) -> tuple[str, ...]:
    definition = observation.case.definition
    return tuple(
        fact
        for fact in (
            f"{definition.model} {definition.weights}" if definition.model is not None else definition.weights,
            definition.pipeline,
            definition.dtype,
            f"seed {definition.seed}",
            f"offload {definition.offload}" if definition.offload != "none" else "",
            *(f"{name} {value}" for name, value in definition.tuning.items()),
            observation.run.environment.machine,
        )
        if fact
    )


def _decision(report: CaseReport, gate: Any) -> str:
    verdict = verdict_of(report, gate)
    return verdict.decision if verdict is not None else "none"


def _stages(report: CaseReport) -> tuple[str, ...]:
    """Stages in which time or memory moved, or in which the traces part."""
    stages: dict[str, None] = {}
    for verdict in report.verdicts:
        if verdict.decision in PASSING:
            continue
        match verdict.details:
            case TimeDetails() as details:
                stages |= dict.fromkeys(part.name for part in details.slower if part.kind == "stage")
                stages |= dict.fromkeys("denoise" for part in details.slower if part.kind == "step")
                stages |= dict.fromkeys(change.stage for change in details.operators)
            case MemoryDetails() as details:
                stages |= dict.fromkeys(
                    change.stage for change in details.stages if change.peak_moved or change.workspace_moved
                )
            case OutputDetails(trace=trace) if trace is not None and trace.place is not None:
                place = place_of(trace.place)
                named = {"encoder": "text_encode", "text": "text_encode", "decoded": "vae_decode"}
                stages[named.get(place.kind, "denoise") if place is not None else "denoise"] = None
    return tuple(stages)


def _headline(report: CaseReport, to_read: Sequence[Verdict]) -> str:
    """The first thing to know of a case, short enough for a list."""
    if report.error is not None:
        return report.error.partition("\n")[0]
    if not to_read:
        return ""
    return to_read[0].message or headline(report)


def _outcome(report: CaseReport) -> str:
    if report.error is not None:
        return report.error
    if not report.observation.complete:
        return "The measurement was interrupted."
    if report.saved is None:
        return ""
    return report.saved.why if report.saved.refused else saved_text(report.saved)


def _verdict(heading: str, verdict: Verdict) -> views.Verdict:
    reason = REASONS.get(verdict.reason)
    return views.Verdict(
        decision=verdict.decision,
        reason=heading,
        message=verdict.message,
        changes=verdict.changes,
        meaning=reason.meaning if reason is not None else "",
        remedy=reason.remedy if reason is not None else "",
        detectable=detectable_text(verdict) or "",
    )


def _charts(
    report: CaseReport,
    baseline: Baseline | None,
    usual: Mapping[Stage, float],
    memory: Sequence[tuple[str, int | None, int | None]],
) -> views.Charts:
    run = report.observation.run
    last = baseline.times[-1] if baseline is not None and baseline.times else None
    stages = [row for row in (usual, run.stage_medians_s) if row]
    details = rows.output_details_of(report)
    decisions = {verdict.gate: verdict.decision for verdict in report.verdicts}
    steps_s = run.step_medians_s
    same_trace = decisions.get("output") in PASSING
    return views.Charts(
        stages=charts.stage_bars(stages, ("baseline", "this run")[-len(stages) :]) if stages else None,
        steps=(
            charts.step_strip(
                steps_s,
                last.step_medians_s if last is not None else (),
                report.observation.guidance,
                brief=status_of(report) in PASSING,
            )
            if len(steps_s) > 1 and max(steps_s) > 0
            else None
        ),
        history=(
            charts.history(report, baseline, rows.time_details_of(report), worse=decisions.get("time") == "worse")
            if baseline is not None
            else None
        ),
        divergence=(
            charts.divergence(details.trace)
            if details is not None and details.trace is not None and not same_trace
            else None
        ),
        memory=charts.memory_bars(memory) if memory else None,
    )


def _used(observation: Observation) -> tuple[str, ...]:
    """What steps were made of, in the order in which it occurs."""
    guidance = observation.guidance
    return tuple(dict.fromkeys(step.used for step in guidance.steps)) if guidance is not None else ()


def _argument(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_ARGUMENT else f"{text[:_LONGEST_ARGUMENT]}…"


def _notes(report: CaseReport) -> tuple[str, ...]:
    notes: Iterable[str | None] = (
        truncation_text(report),
        *report.observation.remarks,
        f"left behind: {'; '.join(report.observation.left_behind)}" if report.observation.left_behind else None,
        f"slid: {report.slid}" if report.slid is not None else None,
        f"baseline damaged: {report.baseline_damage}" if report.baseline_damage is not None else None,
        f"times left out: {report.times_left_out}" if report.times_left_out is not None else None,
        attempts_text(report),
        *report.observation.notes,
    )
    return tuple(note for note in notes if note)
