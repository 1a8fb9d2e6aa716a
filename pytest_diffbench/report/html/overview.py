"""What the page says before its cases: sessions, gates, and variants beside their references."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pytest_diffbench.records import DECISIONS, GATES
from pytest_diffbench.report.comparisons import columns_of, remarks
from pytest_diffbench.report.figures import node_id, save_command, was_saved
from pytest_diffbench.report.html import views
from pytest_diffbench.report.html.charts import decision_bar
from pytest_diffbench.report.html.frontier import frontier
from pytest_diffbench.report.machine import machine_lines
from pytest_diffbench.report.sentences.invariants import CLAIMS, broken_sentence
from pytest_diffbench.report.sentences.saving import saved_text
from pytest_diffbench.report.units import format_count
from pytest_diffbench.report.verification import counts_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_diffbench.records import Comparison, SessionReport, Verification

_MOST_LISTED = 40


def gate_views(cases: Sequence[views.Case]) -> tuple[views.Gate, ...]:
    """Decisions of each gate over all cases."""
    gates: list[views.Gate] = []
    for gate in GATES:
        decisions = Counter(decision for case in cases for name, decision in case.gates if name == gate)
        counts = tuple((decision, decisions[decision]) for decision in DECISIONS if decisions[decision])
        if counts:
            text = f"{gate}: " + ", ".join(f"{count} {decision}" for decision, count in counts)
            gates.append(views.Gate(gate, counts, decision_bar(counts, text)))
    return tuple(gates)


def session_view(session: SessionReport, label: str, by_id: Mapping[str, views.Case]) -> views.Session:
    """A session's machine and settings, and what there is to say of all of its cases, which `by_id` holds."""
    environments = [case.observation.run.environment for case in session.cases]
    facts: list[tuple[str, list[object]]] = [
        ("machine", [environment.machine for environment in environments]),
        (
            "device",
            [environment.hardware.get("device") or environment.hardware.get("cpu") for environment in environments],
        ),
        ("torch", [environment.software.get("torch") for environment in environments]),
        ("diffusers", [environment.software.get("diffusers") for environment in environments]),
        ("commit", [environment.software.get("git_commit") for environment in environments]),
        ("diffbench", [session.diffbench]),
        ("started", [session.started.replace("T", " ").replace("+00:00", " UTC")]),
    ]
    shown = [
        (name, ", ".join(str(value) for value in known))
        for name, values in facts
        if (known := [value for value in dict.fromkeys(values) if value is not None])
    ]
    missing = session.missing_baselines
    command = save_command((node_id(case_id) for case_id in missing), session.command, session.root)
    return views.Session(
        label=label,
        facts=tuple(shown),
        notes=tuple(_notes(session)),
        missing=missing[:_MOST_LISTED],
        save=command if missing and len(missing) <= _MOST_LISTED else "",
        skipped=tuple((skipped.test, skipped.reason) for skipped in session.skipped[:_MOST_LISTED]),
        comparisons=tuple(_comparison(comparison, by_id) for comparison in session.comparisons),
        verifications=tuple(_verification(verification) for verification in session.verifications),
    )


def _verification(verification: Verification) -> views.Verification:
    """Broken invariants as the verdicts that they are; a waived one is shown with its reason."""
    verdicts = [
        views.Verdict(
            decision="broken" if check.waived is None else "waived",
            reason=check.code,
            message=broken_sentence(check),
            changes=(f"accepted: {check.waived}",) if check.waived is not None else (),
            meaning=CLAIMS[check.code].meaning,
            remedy=CLAIMS[check.code].remedy,
            detectable="",
        )
        for waived in (False, True)
        for check in verification.having("broken", waived=waived)
        if check.code in CLAIMS
    ]
    return views.Verification(
        title=verification.test or verification.source or verification.pipeline,
        about=f"{verification.pipeline}: {counts_text(verification)}",
        verdicts=tuple(verdicts),
    )


def _notes(session: SessionReport) -> list[tuple[str, str]]:
    notes: list[tuple[str, str]] = []
    if session.interrupted:
        notes.append(("interrupted", "the session ended early: cases that it didn't reach aren't here"))
    notes += [("machine", line) for line in machine_lines(session.cases)]
    changed = Counter(change for case in session.cases for change in case.changed_since)
    notes += [
        ("changed since", what if count == len(session.cases) else f"{what} ({format_count(count, 'case')})")
        for what, count in changed.most_common(12)
    ]
    saved = Counter(saved_text(case.saved) for case in session.cases if was_saved(case))
    notes += [("saved", f"{count} {what}") for what, count in saved.items()]
    if len(session.skipped) > _MOST_LISTED:
        notes.append(("skipped", format_count(len(session.skipped), "test")))
    if len(session.missing_baselines) > _MOST_LISTED:
        notes.append(("no baseline", format_count(len(session.missing_baselines), "case")))
    return notes


def _comparison(comparison: Comparison, by_id: Mapping[str, views.Case]) -> views.Comparison:
    columns = [column for column in columns_of(comparison) if column.head != "denoise"]
    variants: list[views.Variant] = []
    for number, row in enumerate(comparison.variants):
        case = by_id.get(row.case_id)
        variants.append(
            views.Variant(
                row.name,
                case.slug if case is not None else "",
                tuple(column.cells[number] for column in columns),
                row.error or "",
                case.thumb if case is not None else None,
                row.name == comparison.reference,
            )
        )
    return views.Comparison(
        title=comparison.id,
        about=f"{format_count(comparison.blocks, 'block')}, interleaved in one process",
        heads=(comparison.argument or "variant", *(column.head for column in columns)),
        variants=tuple(variants),
        chart=frontier(comparison),
        remarks=tuple(remarks(comparison)),
    )
