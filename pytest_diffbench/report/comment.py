"""A session as Markdown for a comment or a CI page, verdict first, in at most 60 lines; and annotations of GitHub."""

from __future__ import annotations

import dataclasses
import html
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from pytest_diffbench.report.curve import curve
from pytest_diffbench.report.figures import (
    by_gravity,
    node_id,
    rerun_command,
    save_command,
    status_of,
    to_tell,
    verdict_of,
)
from pytest_diffbench.report.markdown import code, comparison_lines, escaped, fenced, missing_lines, odd_lines
from pytest_diffbench.report.sentences import comment as sentences
from pytest_diffbench.report.triage import TriageRow, triage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_diffbench.records import CaseReport, SessionReport


MOST_LINES = 60
MOST_BYTES = 60_000
"""GitHub refuses a comment beyond 65,536 characters."""

_MOST_ROWS = 11
_MOST_DETAILS = 9
_MOST_OTHERS = 5
_MOST_PICTURES = 6
_MOST_COMMANDS = 5
_LONGEST_TEXT = 400

_HEAD = ("model", "configuration", "metric", "latest", "baseline", "change", "threshold")


@dataclasses.dataclass(frozen=True, slots=True)
class Links:
    """Where a reader finds more.

    Attributes:
        artifact_url: of the page, or of the folder that holds it, which then ends in `/`; None where there is none.
        since: tells since when a row fails, empty where that isn't known; None without a history.
    """

    artifact_url: str | None = None
    since: Callable[[TriageRow], str] | None = None


def marker(name: str | None = None) -> str:
    """The hidden first line, by which a workflow finds its own comment; a name tells several on one page apart."""
    suffix = "" if name is None else ": " + "".join(char if char.isalnum() or char in "-_." else "-" for char in name)
    return f"<!-- pytest-diffbench{suffix} -->"


def body(session: SessionReport, links: Links, name: str | None = None) -> str:
    """Write the comment: its marker, and the page."""
    return f"{marker(name)}\n{page(session, links)}"


def page(session: SessionReport, links: Links) -> str:
    """A session as GitHub-flavoured Markdown: the verdict, what fails, what else changed; the rest is folded.

    Sections that don't fit any more are left out, the least telling ones first.
    """
    failing = [report for report in session.cases if status_of(report) in ("error", "worse", "refused")]
    head = [f"### diffbench: {sentences.verdict(session, failing)}", "", " · ".join(_facts(session, links)), ""]
    rows = [row for report in failing for row in triage(report)]
    sections = [  # as they stand, with the order in which they are given room
        (0, _table(rows, links)),
        (4, _pictures(failing, links)),
        (2, missing_lines(session)),
        *(
            (6, _folded(f"Variants of {comparison.id}", comparison_lines(comparison)))
            for comparison in session.comparisons
        ),
        (3, _folded("Details", _details(failing))),
        (7, _folded("Undecided, and better", _others(session, failing))),
        (5, _folded("Skipped, and run again", _first(odd_lines(session), _MOST_OTHERS))),
        (1, _commands(session, failing)),
    ]
    room = MOST_LINES - len(head) - 2  # the marker, and what says that something was left out
    kept: set[int] = set()
    for number in sorted(range(len(sections)), key=lambda number: sections[number][0]):
        if len(sections[number][1]) <= room:
            room -= len(sections[number][1])
            kept.add(number)
    lines = [*head, *(line for number in sorted(kept) for line in sections[number][1])]
    if len(kept) < len(sections):
        lines.append(sentences.more_sections(len(sections) - len(kept)))
    text = "\n".join(lines).rstrip("\n") + "\n"
    if len(text.encode()) <= MOST_BYTES:
        return text
    return "\n".join([*head[:3], "", sentences.TOO_LONG]) + "\n"


def _facts(session: SessionReport, links: Links) -> list[str]:
    environments = [report.observation.run.environment for report in session.cases]
    commits = dict.fromkeys(
        str(facts.software["git_commit"]) for facts in environments if facts.software.get("git_commit")
    )
    facts = [sentences.counts(session)]
    facts += [code(commit[:12]) for commit in list(commits)[:2]]
    facts += [code(machine) for machine in list(dict.fromkeys(facts.machine for facts in environments))[:2]]
    if links.artifact_url is not None:
        facts.append(f"[report]({_address(links.artifact_url)})")
    return facts


def _table(rows: Sequence[TriageRow], links: Links) -> list[str]:
    if not rows:
        return []
    head = [*_HEAD, *(["fails since"] if links.since is not None else [])]
    lines = [_line(head), _line([":---"] * 3 + ["---:"] * 4 + [":---"] * (len(head) - 7))]
    for row in rows[:_MOST_ROWS]:
        cells = [
            escaped(row.model),
            code(_short(row.configuration)),
            escaped(row.metric),
            *(escaped(text) for text in (row.latest, row.baseline)),
            f"**{escaped(row.change)}**" if row.change else "",
            escaped(row.threshold),
        ]
        cells += [escaped(links.since(row))] if links.since is not None else []
        lines.append(_line([cell.replace("|", "\\|") if cell.startswith("`") else cell for cell in cells]))
    left = len(rows) - _MOST_ROWS
    return [*lines, "", *([sentences.more_rows(left), ""] if left > 0 else [])]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _pictures(failing: Sequence[CaseReport], links: Links) -> list[str]:
    """Thumbnails of what differs, where the page's folder is served: they are loaded from there."""
    if links.artifact_url is None or not links.artifact_url.endswith("/"):
        return []
    pictures = []
    for report in failing:
        verdict, output = verdict_of(report, "output"), report.observation.output
        if verdict is not None and verdict.decision == "worse" and output is not None and output.images:
            address = _address(f"{links.artifact_url}kept/{quote(output.images[0].digest)}.png")
            title = html.escape(report.observation.case.id)
            pictures.append(f'<img src="{address}" width="128" alt="{title}" title="{title}">')
    return [" ".join(pictures[:_MOST_PICTURES]), ""] if pictures else []


def _details(failing: Sequence[CaseReport]) -> list[str]:
    lines: list[str] = []
    for report in failing:
        name = code(_short(report.observation.case.id))
        if report.error is not None:
            lines.append(f"- {name} **error**: {escaped(_short(report.error))}")
        worse = [verdict for verdict in by_gravity(report.verdicts) if verdict.decision == "worse"]
        for verdict in worse:
            lines.append(f"- {name} {code(verdict.reason)}: {escaped(_short(verdict.message))}")
            if (drawn := curve(verdict)) is not None:
                lines.append(f"  - {escaped(drawn)}")
        if worse and report.changed_since:
            changed = ", ".join(report.changed_since)
            lines.append(f"  - changed since the baseline: {escaped(_short(changed))}")
    return _first(lines, _MOST_DETAILS)


def _others(session: SessionReport, failing: Sequence[CaseReport]) -> list[str]:
    """What isn't as it was and fails nothing."""
    failed = {id(report) for report in failing}
    lines = []
    for report in session.cases:
        if id(report) in failed:
            continue
        name = code(_short(report.observation.case.id))
        better = [verdict for verdict in report.verdicts if verdict.decision == "better"]
        lines += [
            f"- {name} **{verdict.decision}** {code(verdict.reason)}: {escaped(_short(verdict.message))}"
            for verdict in (*better, *to_tell(report))
        ]
    return _first(lines, _MOST_OTHERS)


def _commands(session: SessionReport, failing: Sequence[CaseReport]) -> list[str]:
    tests = list(dict.fromkeys(node_id(report.observation.case.id) for report in failing))[:_MOST_COMMANDS]
    if not tests:
        return []
    again = rerun_command(tests, session.command, session.root)
    accept = save_command(tests, session.command, session.root)
    return _folded(sentences.AGAIN, fenced(f"{again}\n# {sentences.IF_INTENDED}\n{accept}"))


def _folded(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    return [f"<details><summary>{html.escape(title)}</summary>", "", *lines, "", "</details>", ""]


def _first(lines: Sequence[str], most: int) -> list[str]:
    left = len(lines) - most
    return [*lines[:most], *([f"- {sentences.more_lines(left)}"] if left > 0 else [])]


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"


def _address(url: str) -> str:
    """An address that ends neither a link nor an attribute."""
    return quote(url, safe=":/?#@!$&*+,;=%~-._")


def annotation_lines(session: SessionReport, read: Callable[[str], str | None]) -> Iterator[str]:
    """A line for each gate of a case that got worse, and for each case that broke off.

    `read` gives the text of a test's file by its path, None where it isn't there.
    """
    for report in session.cases:
        test = node_id(report.observation.case.id)
        path = f"{session.root}{test.partition('::')[0]}"
        place = {"file": path, "line": line_of(read(path), test)}
        if report.error is not None or status_of(report) == "error":
            yield command("error", report.error or "the measurement isn't complete", {**place, "title": test})
        for verdict in report.verdicts:
            if verdict.decision == "worse":
                yield command("error", verdict.message, {**place, "title": f"{verdict.reason}: {test}"})


def command(kind: str, message: str, properties: dict[str, str | None]) -> str:
    """A workflow command, escaped as GitHub's own toolkit does it: a message can't end it, nor begin another one.

    Args:
        kind: `error`, `warning` or `notice`.
        message: of any lines.
        properties: those that are None or empty are left out.
    """
    fields = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    return f"::{kind} {fields}::{_data(message)}"


def line_of(text: str | None, test: str) -> str | None:
    """The line of a test's function, from 1; None where it isn't found."""
    name = test.rpartition("::")[2].partition("[")[0]
    match = re.search(rf"^[ \t]*(?:async )?def {re.escape(name)}\b", text or "", re.MULTILINE)
    return None if text is None or match is None else str(text.count("\n", 0, match.start()) + 1)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
