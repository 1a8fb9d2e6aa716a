"""The text that fails a test: what got worse and how, what else changed, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.judge.reasons import NEVER_ACCEPTED, REASONS
from pytest_diffbench.records import DECISIONS
from pytest_diffbench.report.curve import curve
from pytest_diffbench.report.figures import (
    PASSING,
    by_gravity,
    grouped,
    headline_verdicts,
    node_id,
    save_command,
    was_refused,
)
from pytest_diffbench.report.lines import encodable, hang, plain, segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.records import CaseReport

_WIDTH = 100
"""Of messages; the text is written before it is known where it will be read."""

_DISTANCES = {
    "machine": "",
    "family": " (of another machine with this type of device)",
    "any": " (of another machine)",
}


def failure_text(
    report: CaseReport, nodeid: str | None = None, command: Sequence[str] = ("pytest",), root: str = ""
) -> str:
    """Say why a case fails its test. Plain text of several lines; the first says it all in short.

    Args:
        report: the case, with something worse, with no baseline, undecided, or not saved.
        nodeid: pytest's id of the test, for the command; taken from the case's id by default.
        command: what that command begins with.
        root: path to the folder that node ids begin at.
    """
    case_id = report.observation.case.id
    typed = save_command([nodeid if nodeid is not None else node_id(case_id)], command, root)
    if report.error is not None:
        first, _, further = report.error.partition("\n")
        return f"diffbench: {first}\n\n{case_id}" + (f"\n{_indented(further)}" if further else "")
    named = headline_verdicts(report)
    rest = [verdict for verdict in by_gravity(report.verdicts) if verdict not in named]
    lines = [f"diffbench: {headline(report)}", "", case_id]
    for heading, verdict in grouped(named):
        changes = (f"    - {change}" for change in verdict.changes)
        lines += ["", f"{verdict.decision}: {heading}", _indented(verdict.message), *changes]
        if (drawn := curve(verdict)) is not None:
            # Where it will be written isn't known, and pytest writes what can't be encoded as one line of escapes.
            lines.append(_indented(encodable(drawn, "ascii"), "    - "))
        if remedy := REASONS[verdict.reason].remedy:
            lines.append(_indented(remedy, "    To do: "))
    if rest:
        lines += ["", "other gates:", *(f"    {verdict.decision:12}  {verdict.reason}" for verdict in rest)]
    if report.changed_since:
        since = "the baseline" if report.against is None else "the other environment"
        lines += ["", f"changed since {since}:", *(f"    {change}" for change in report.changed_since)]
    if report.against is not None:
        lines += ["", f"held against: {report.against}"]
    elif report.baseline_path is not None:
        lines += ["", f"baseline: {report.baseline_path}{_DISTANCES[report.baseline_distance or 'machine']}"]
    words, accepts = ending(report, typed)
    last = [words, *([f"    {accepts}"] if accepts is not None else [])]
    return "\n".join([*lines, "", *last] if words else lines)


def headline(report: CaseReport) -> str:
    """Why a case fails, in short: `worse in work, output`."""
    worse = [verdict.gate for verdict in report.verdicts if verdict.decision == "worse"]
    if report.saved is not None and report.saved.refused:
        return f"not saved, {report.saved.why}" + (f" (worse in {', '.join(worse)})" if worse else "")
    if worse:
        return f"worse in {', '.join(worse)}"
    if report.baseline_path is None:
        return "no baseline"
    if _is_redefined(report):
        return "defined differently from its baseline"
    outcomes = [
        f"{decision} in {', '.join(gates)}"
        for decision in DECISIONS
        if decision not in PASSING
        and (gates := [verdict.gate for verdict in report.verdicts if verdict.decision == decision])
    ]
    return "; ".join(outcomes) or "nothing is wrong"


def _is_redefined(report: CaseReport) -> bool:
    return any(verdict.reason.endswith(".definition_changed") for verdict in report.verdicts)


def _indented(text: str, head: str = "    ") -> str:
    return plain(hang([segment(head)], text, _WIDTH, len(head))).rstrip("\n")


def ending(report: CaseReport, command: str) -> tuple[str, str | None]:
    """What becomes of the baseline, and the command for it where one helps.

    Returns:
        A sentence, empty where there is nothing to say, and the command or None.
    """
    verdicts = headline_verdicts(report)
    if report.against is not None:
        return "There is no baseline to update: whoever reviews the change accepts it.", None
    if faults := [verdict.reason for verdict in verdicts if verdict.reason in NEVER_ACCEPTED]:
        return f"{', '.join(faults)}: no baseline makes this pass.", None
    if was_refused(report):
        return "The baseline was not updated. Fix the problem above, then rerun:", command
    if _is_redefined(report) or any(verdict.decision == "worse" for verdict in verdicts):
        return "If the change is intended, accept it:", command
    if report.baseline_path is None:
        return "To save it:", command
    if any(REASONS[verdict.reason].helps == "save" for verdict in verdicts):
        return "To update the baseline:", command
    return "", None
