"""A session as Markdown, for the summary page of a CI job: a table of cases and gates, then what needs a reader."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from pytest_diffbench.records import DECISIONS, GATES
from pytest_diffbench.report.comparisons import (
    calls_text,
    confidence_text,
    latents_text,
    likeness_label,
    likeness_names,
    likeness_text,
    ratio_text,
    remarks,
    speedup_text,
)
from pytest_diffbench.report.curve import curve
from pytest_diffbench.report.efficiency import efficiency_of, rate_text
from pytest_diffbench.report.figures import (
    STATUSES,
    grouped,
    is_rough,
    node_id,
    save_command,
    status_of,
    to_tell,
    verdict_of,
)
from pytest_diffbench.report.markup import code, escaped, fenced
from pytest_diffbench.report.sentences.saving import saved_text
from pytest_diffbench.report.units import format_bytes, format_count, format_flops, format_seconds

if TYPE_CHECKING:
    from pytest_diffbench.records import CaseReport, Gate, SessionReport, Stage

_RATED: tuple[tuple[Stage, str], ...] = (("text_encode", "text"), ("denoise", "denoise"), ("vae_decode", "decode"))

_MOST_BYTES = 900_000
"""GitHub drops a step's summary beyond 1 MiB; details are left out before that."""


def summary(session: SessionReport) -> str:
    """Write a session as GitHub-flavoured Markdown, the gravest cases first."""
    reports = sorted(session.cases, key=lambda case: STATUSES.index(status_of(case)))
    lines = ["## diffbench", "", _headline(session), ""]
    if reports:
        lines += [
            "| case | total | calls | FLOPs | memory | " + " | ".join(GATES) + " |",
            "|:---|---:|---:|---:|---:|" + ":---|" * len(GATES),
            *(_row(report) for report in reports),
        ]
    end = [
        *_comparisons(session),
        *_missing(session),
        *_skipped(session),
        *_run_again(session),
    ]
    size = sum(len(line.encode()) + 1 for line in (*lines, *end))
    lines.append("")
    detailed = [report for report in reports if _needs_telling(report)]
    for number, report in enumerate(detailed):
        details = _details(report)
        size += sum(len(detail.encode()) + 1 for detail in details)
        if size > _MOST_BYTES:
            left = format_count(len(detailed) - number, "case")
            lines += [f"Details of {left} left out: this page would be too long. See the JSON file.", ""]
            break
        lines += details
    return "\n".join([*lines, *end]).rstrip("\n") + "\n"


def _skipped(session: SessionReport) -> list[str]:
    """Benchmarks of which nothing is known, and why."""
    if not session.skipped:
        return []
    return [
        "",
        "Skipped:",
        "",
        *(f"- {code(skipped.test)}: {escaped(skipped.reason)}" for skipped in session.skipped),
    ]


def _run_again(session: SessionReport) -> list[str]:
    """Tests that took several attempts."""
    lines = [
        f"- {code(case.observation.case.id)}: {case.attempts} attempts, of which the last counts"
        for case in session.cases
        if case.attempts > 1
    ]
    return ["", "Run again:", "", *lines] if lines else []


def _headline(session: SessionReport) -> str:
    counts = [f"{session.counts[decision]} {decision}" for decision in DECISIONS if session.counts.get(decision)]
    machines = dict.fromkeys(code(case.observation.run.environment.machine) for case in session.cases)
    broken = sum(status_of(case) == "error" for case in session.cases)
    parts = [
        f"**{format_count(len(session.cases), 'case')}**",
        *([f"**{format_count(broken, 'error')}**"] if broken else []),
        *([f"**{len(session.skipped)} skipped**"] if session.skipped else []),
        "verdicts: " + (", ".join(counts) or "none"),
        *machines,
        *(["**interrupted**: cases that the session didn't reach aren't here"] if session.interrupted else []),
    ]
    return " · ".join(parts)


def _row(report: CaseReport) -> str:
    observation = report.observation
    work, memory = observation.work, observation.memory
    cells = [
        code(observation.case.id),
        format_seconds(observation.run.median_s) if observation.run.rounds else "",
        f"{work.denoiser_calls:,}" if work is not None and work.denoiser else "",
        format_flops(work.total_flops) if work is not None and work.total_flops else "",
        "" if memory is None else format_bytes(memory.peak_bytes) + (" rough" if is_rough(memory) else ""),
        *(_gate(report, gate) for gate in GATES),
    ]
    # Within a table a bar ends a cell, in code too.
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _gate(report: CaseReport, gate: Gate) -> str:
    verdict = verdict_of(report, gate)
    if verdict is None:
        return "**error**" if status_of(report) == "error" else ""
    what = verdict.reason.partition(".")[2]
    word = f"**{verdict.decision}**" if verdict.decision == "worse" else verdict.decision
    return word if what == verdict.decision else f"{word} {code(what)}"


def _comparisons(session: SessionReport) -> list[str]:
    """A table for each comparison; figures that weren't measured are empty cells."""
    lines: list[str] = []
    for comparison in session.comparisons:
        names = likeness_names([comparison])
        of = escaped(comparison.argument) if comparison.argument is not None else "variant"
        lines += [
            f"**Variants** of {code(comparison.id)}, {comparison.blocks} blocks interleaved in one process:",
            "",
            f"| {of} | total | speed-up ({confidence_text(comparison)}) | denoise | predicted | calls |"
            + "".join(f" {likeness_label(name)} |" for name in names)
            + " latents |",
            "|:---|---:|---:|---:|---:|---:|" + "---:|" * (len(names) + 1),
        ]
        for row in comparison.variants:
            is_reference = row.name == comparison.reference
            cells = [
                "" if row.median_s is None else format_seconds(row.median_s),
                "reference"
                if is_reference
                else "**error**"
                if row.error
                else speedup_text(row.speedup_rel) + " **inert**" * bool(row.inert),
                *(
                    "" if is_reference else text
                    for text in (
                        speedup_text(row.stage_speedups_rel.get("denoise")),
                        ratio_text(row.predicted_speedup_rel),
                    )
                ),
                calls_text(row),
                *(
                    "" if is_reference else text
                    for text in (*(likeness_text(row, name) for name in names), latents_text(row))
                ),
            ]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in (code(row.name), *cells)) + " |")
        notes = [
            *remarks(comparison),
            *(f"{row.name}: {row.error}" for row in comparison.variants if row.error is not None),
        ]
        lines += ["", *(f"- {escaped(text)}" for text in notes), *([""] if notes else [])]
    return lines


def _missing(session: SessionReport) -> list[str]:
    missing = session.missing_baselines
    if not missing:
        return []
    command = save_command((node_id(case_id) for case_id in missing), session.command, session.root)
    return [f"No baseline for {format_count(len(missing), 'case')}. To add:", "", *fenced(command), ""]


def _needs_telling(report: CaseReport) -> bool:
    return status_of(report) in ("error", "refused") or bool(to_tell(report))


def _details(report: CaseReport) -> list[str]:
    status = status_of(report)
    # Only what turns a test red is open from the start.
    opened = " open" if status in ("worse", "error") else ""
    name = html.escape(report.observation.case.id)
    lines = [f"<details{opened}><summary><b>{status}</b> <code>{name}</code></summary>", ""]
    if report.error is not None:
        lines += [f"- **error**: {escaped(report.error)}"]
    if report.saved is not None:
        lines += [f"- saved: {escaped(saved_text(report.saved))}"]
    if report.times_left_out is not None:
        lines += [f"- times left out: {escaped(report.times_left_out)}"]
    if report.slid is not None:
        lines += [f"- slid: {escaped(report.slid)}"]
    for heading, verdict in grouped(to_tell(report)):
        lines.append(f"- **{verdict.decision}** {code(heading)}: {escaped(verdict.message)}")
        lines += [f"  - {escaped(change)}" for change in verdict.changes]
        if (drawn := curve(verdict)) is not None:
            lines.append(f"  - {escaped(drawn)}")
    lines += [f"- remark: {escaped(remark)}" for remark in report.observation.remarks]
    if left := report.observation.left_behind:
        lines.append(f"- left behind: {escaped('; '.join(left))}")
    if achieved := _achieved(report):
        lines.append(f"- achieved: {achieved}")
    if report.changed_since:
        lines += ["- changed since the baseline:", *(f"  - {escaped(change)}" for change in report.changed_since)]
    return [*lines, "", "</details>", ""]


def _achieved(report: CaseReport) -> str:
    """How well the device was used; empty where nothing was counted."""
    efficiency = efficiency_of(report.observation)
    if efficiency is None:
        return ""
    return ", ".join(
        f"{name} {rate_text(efficiency, stage)}" for stage, name in _RATED if stage in efficiency.flops_per_s
    )
