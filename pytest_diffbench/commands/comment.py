"""`diffbench comment`: the body of the one comment on a pull request, or annotations of its files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from pytest_diffbench.records import SessionReport, Verdict
    from pytest_diffbench.records.history import HistoryRun
    from pytest_diffbench.report.triage import TriageRow

_LARGEST_FILE_BYTES = 4 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "result",
        metavar="RESULT",
        type=Path,
        help="session, written by pytest --diffbench-json, or a folder with one",
    )
    parser.add_argument(
        "--artifact-url",
        metavar="URL",
        help="where the page can be opened; one that ends in / is a served folder of --diffbench-report, whose "
        "pictures are shown",
    )
    parser.add_argument("--history", metavar="FILE", type=Path, help="history, to say since when a case fails")
    parser.add_argument("--name", metavar="NAME", help="tells several comments on one pull request apart")
    parser.add_argument(
        "--annotations", action="store_true", help="print annotations of GitHub (::error file=...::) instead"
    )


def comment(arguments: argparse.Namespace) -> str:
    """The text to print.

    Raises:
        DiffbenchError: a file can't be used.
    """
    from pytest_diffbench.commands.accept import session_file
    from pytest_diffbench.report import session_json
    from pytest_diffbench.report.comment import Links, body

    session = session_json.load(session_file(arguments.result))
    if arguments.annotations:
        return annotated(session)
    since = _since(session, arguments.history) if arguments.history is not None else None
    return body(session, Links(arguments.artifact_url, since), arguments.name)


def annotated(session: SessionReport) -> str:
    """Annotations, a line each."""
    from pytest_diffbench.report.comment import annotation_lines

    return "".join(f"{line}\n" for line in annotation_lines(session, _read))


def _read(path: str) -> str | None:
    """The text of a test's file; None where it can't be read. It stands in a session, so it may be any."""
    file = Path(path)
    try:
        if file.suffix != ".py" or file.stat().st_size > _LARGEST_FILE_BYTES:
            return None
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _since(session: SessionReport, path: Path) -> Callable[[TriageRow], str]:
    """Since when a gate of a case has been worse, by the runs of a history."""
    from pytest_diffbench.store.history import History

    with History(path, create=False) as history:
        failing = {report.observation.case.id for report in session.cases if _fails(report.verdicts)}
        runs = {case: history.runs(case) for case in failing}

    def since(row: TriageRow) -> str:
        first = None
        for run in reversed(_on(runs.get(row.case, []), row.machine)):
            if not run.verdicts.get(row.gate, "").startswith("worse"):
                break
            first = run
        if first is None:
            return "now"
        return f"{first.started[:10]}" + (f" {first.commit[:12]}" if first.commit else "")

    return since


def _fails(verdicts: Sequence[Verdict]) -> bool:
    return any(verdict.decision == "worse" for verdict in verdicts)


def _on(runs: list[HistoryRun], machine: str) -> list[HistoryRun]:
    return [run for run in runs if run.machine == machine]
