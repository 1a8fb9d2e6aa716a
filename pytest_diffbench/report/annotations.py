"""Annotations of GitHub: what got worse, as workflow commands that it shows beside the test."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_diffbench.report.figures import node_id, status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_diffbench.records import SessionReport


def annotation_lines(session: SessionReport, read: Callable[[str], str | None]) -> Iterator[str]:
    """A line for each gate of a case that got worse, and for each case that broke off.

    Args:
        session: what was measured.
        read: gives the text of a test's file by its path, None where it isn't there.
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
