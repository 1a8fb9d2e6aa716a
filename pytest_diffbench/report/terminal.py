"""What the terminal shows of a session: what it ran on, its cases with the gravest first, counts, and what to do."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_diffbench.records import DECISIONS
from pytest_diffbench.report.cases import MARKUP, Table
from pytest_diffbench.report.comparisons import comparison_lines
from pytest_diffbench.report.figures import (
    STATUSES,
    attempts_text,
    node_id,
    save_command,
    status_of,
    was_saved,
)
from pytest_diffbench.report.lines import (
    SEPARATOR,
    Line,
    Segment,
    flow,
    hang,
    labelled,
    segment,
    spread,
    visible,
    width_of,
)
from pytest_diffbench.report.machine import machine_lines
from pytest_diffbench.report.sentences.saving import saved_text
from pytest_diffbench.report.units import format_count
from pytest_diffbench.report.verification import summary_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from pytest_diffbench.records import CaseReport, SessionReport

_LABEL_WIDTH = 14
_MOST_LISTED = 10
"""Names listed under the table before the rest is only counted."""


def case_lines(report: CaseReport, width: int) -> list[Line]:
    """Draw one case: three or four lines where it passed, more where something has to be said."""
    return Table([report], width, verbose=False).block(report)


def summary_lines(session: SessionReport, width: int, verbose: bool, explained: Collection[str] = ()) -> list[Line]:
    """Draw a session: what it ran on, its cases by pipeline with the gravest first, counts, and what to do next.

    Args:
        session: all of it.
        width: of a line, in columns.
        verbose: with the messages of gates that passed, and further figures.
        explained: ids of cases whose failures are on the screen already: of what got worse the reasons are enough.
    """
    lines = [*_skipped(session, width), *_header(session, width)]
    table = Table(session.cases, width, verbose=verbose, explained=explained)
    for title, reports in _groups(session.cases):
        lines += [[], *_title(title, reports, width)]
        for report in reports:
            lines += table.block(report)
    compared = comparison_lines(session.comparisons, width)
    lines += [[], *compared] if compared else []
    return [*lines, [], *_foot(session, width)]


def _groups(reports: Sequence[CaseReport]) -> list[tuple[str, list[CaseReport]]]:
    """Cases by pipeline and weights, those with the gravest case first, and within them the gravest first."""
    groups: dict[str, list[CaseReport]] = {}
    for report in sorted(reports, key=lambda report: STATUSES.index(status_of(report))):
        definition = report.observation.case.definition
        model = f"{definition.model} {definition.weights}{SEPARATOR}" if definition.model is not None else ""
        offload = f"{SEPARATOR}offload {definition.offload}" if definition.offload != "none" else ""
        tuning = "".join(
            f"{SEPARATOR}{option.replace('_', ' ')}{'' if value is True else f' {value}'}"
            for option, value in definition.tuning.items()
        )
        title = f"{model}{definition.pipeline}{SEPARATOR}{definition.dtype}{offload}{tuning}"
        groups.setdefault(title, []).append(report)
    return list(groups.items())


def _title(title: str, reports: Sequence[CaseReport], width: int) -> list[Line]:
    case_counts = Counter(status_of(report) for report in reports)
    left: Line = [segment(visible(title), "bold")]
    counts = [
        [segment(f"{case_counts[status]} {status}", *MARKUP[status])] for status in STATUSES if case_counts[status]
    ]
    counts[0].insert(0, segment(f"{format_count(len(reports), 'case')}: ", "light"))
    right = flow(counts, width, 0, segment(", ", "light"))
    if len(right) == 1 and width_of(left) + 2 + width_of(right[0]) <= width:
        return [spread(left, right[0], width)]
    return [left, *right]


def _header(session: SessionReport, width: int) -> list[Line]:
    runs = [case.observation.run.environment for case in session.cases]
    facts: list[tuple[str, list[object]]] = [
        ("machine", [run.machine for run in runs]),
        ("device", [run.hardware.get("device") or run.family for run in runs]),
        ("dtype", [case.observation.case.definition.dtype for case in session.cases]),
        ("torch", [run.software.get("torch") for run in runs]),
        ("diffusers", [run.software.get("diffusers") for run in runs]),
        ("diffbench", [session.diffbench]),
    ]
    cells = [
        labelled(name, ", ".join(visible(str(value)) for value in known))
        for name, values in facts
        if (known := [value for value in dict.fromkeys(values) if value is not None])
    ]
    return flow(cells, width, 0)


def _skipped(session: SessionReport, width: int) -> list[Line]:
    """First of all: what isn't known. Reasons that many tests share stand there once."""
    if not session.skipped:
        return []
    reasons = Counter(skipped.reason for skipped in session.skipped)
    named = {skipped.reason: skipped.test for skipped in session.skipped}
    lines = [
        f"{named[reason] if count == 1 else format_count(count, 'test')}: {reason}"
        for reason, count in reasons.items()
    ]
    return [*_entries("skipped", lines, width, "yellow"), []]


def _foot(session: SessionReport, width: int) -> list[Line]:
    counts = [
        [segment(f"{session.counts[decision]:,} {decision}", *MARKUP[decision])]
        for decision in DECISIONS
        if session.counts.get(decision)
    ]
    lines = flow(counts or [[segment("none, no case was judged")]], width, _LABEL_WIDTH)
    lines[0][0] = _label("verdicts")
    lines += _entries("machine", machine_lines(session.cases), width, "yellow")
    saved = Counter(saved_text(case.saved) for case in session.cases if was_saved(case))
    if saved:
        lines += _entry("saved", ", ".join(f"{count} {what}" for what, count in saved.items()), width)
    for label, markup, text_of in _OF_CASES:
        texts = [(case.observation.case.id, text_of(case)) for case in session.cases]
        lines += _entries(label, [f"{case_id}: {text}" for case_id, text in texts if text is not None], width, markup)
    changed = Counter(change for case in session.cases for change in case.changed_since)
    changes = [
        what if count == len(session.cases) else f"{what} ({format_count(count, 'case')})"
        for what, count in changed.items()
    ]
    lines += _entries("changed since", changes, width)
    verified = [text for verification in session.verifications for text in summary_texts(verification)]
    lines += _entries("verified", verified, width)
    lines += _missing(session, width)
    if session.interrupted:
        text = "the session ended early: cases that it didn't reach aren't here"
        lines += _entry("interrupted", text, width, "yellow", "bold")
    return lines


_OF_CASES: tuple[tuple[str, str, Callable[[CaseReport], str | None]], ...] = (
    ("not saved", "red", lambda case: case.saved.why if case.saved is not None and case.saved.refused else None),
    ("not timed", "yellow", lambda case: case.times_left_out),
    ("run again", "yellow", attempts_text),
    ("slid", "yellow", lambda case: case.slid),
    ("damaged", "yellow", lambda case: case.baseline_damage),
)
"""What stands below the table of some cases: its label, its colour, and its text; None where there is none."""


def _missing(session: SessionReport, width: int) -> list[Line]:
    missing = session.missing_baselines
    if not missing:
        return []
    nodes = [node_id(case_id) for case_id in missing]
    if len(missing) > _MOST_LISTED:
        nodes = [] if len(missing) == len(session.cases) else [node.partition("::")[0] for node in nodes]
    # Command and folder are never broken into lines, so that they can be copied.
    command: Line = [
        _label("to add them" if len(missing) > 1 else "to add it"),
        segment(save_command(nodes, session.command, session.root)),
    ]
    # Without a configuration file, pytest's folder of a project depends on the arguments, and baselines are there.
    looked_in = Path(session.root, str(session.settings.get("baselines") or "baselines")).as_posix()
    return [
        *_entries("no baseline", missing, width, "cyan"),
        [_label("looked in"), segment(looked_in)],
        command,
    ]


def _entries(label: str, texts: Sequence[str], width: int, *markup: str) -> list[Line]:
    """A label before the first of several texts, of which only the first few are shown."""
    lines: list[Line] = []
    for number, text in enumerate(texts[:_MOST_LISTED]):
        lines += _entry("" if number else label, text, width, *markup)
    if len(texts) > _MOST_LISTED:
        lines += _entry("", f"and {len(texts) - _MOST_LISTED} more", width)
    return lines


def _entry(label: str, text: str, width: int, *markup: str) -> list[Line]:
    return hang([_label(label, *markup)], text, width, _LABEL_WIDTH)


def _label(label: str, *markup: str) -> Segment:
    return segment(f"{label:{_LABEL_WIDTH}}", *(markup or ("light",)))
