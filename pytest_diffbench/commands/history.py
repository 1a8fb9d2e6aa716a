"""`diffbench history` and `diffbench trend`: the figures of many sessions, and since when they are others."""

from __future__ import annotations

import argparse
import csv
import io
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pytest_diffbench.errors import DiffbenchError, OptionError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.records.history import HistoryRun, Trend
    from pytest_diffbench.report.lines import Line
    from pytest_diffbench.store.history import History


DEFAULT = Path(".diffbench/history.sqlite")
"""Where a history is kept where nothing else is said."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    commands = parser.add_subparsers(metavar="WHAT", required=True, dest="what")
    add = commands.add_parser("add", help="add sessions; what is there already is left as it is")
    add.add_argument(
        "results", metavar="RESULT", nargs="+", type=Path, help="sessions, written by pytest --diffbench-json"
    )
    listing = commands.add_parser("list", help="list the sessions")
    show = commands.add_parser("show", help="show the figures of a case over time")
    show.add_argument("case", metavar="CASE", help="id of a case, or a part of it that no other has")
    export = commands.add_parser("export", help="write every run with its figures")
    export.add_argument("--format", choices=("jsonl", "csv", "parquet"), default="jsonl")
    export.add_argument("--case", metavar="CASE", help="export one case: its id, or a part of it that no other has")
    export.add_argument("-o", "--output", metavar="FILE", type=Path, help="file to write (default: stdout)")
    for command in (add, listing, show, export):
        add_database(command)
    for command in (show, export):
        add_since(command)


def add_database(parser: argparse.ArgumentParser) -> None:
    """Declare which history is meant."""
    parser.add_argument(
        "--db", metavar="FILE", type=Path, default=DEFAULT, help=f"the history (default: {DEFAULT.as_posix()})"
    )


def add_since(parser: argparse.ArgumentParser) -> None:
    """Declare since when."""
    parser.add_argument(
        "--since", metavar="DATE", type=_date, help="leave out what is older: 2026-01-31, or its beginning"
    )


def _date(text: str) -> str:
    if not re.fullmatch(r"\d{4}(-\d\d(-\d\d([T ]\d.*)?)?)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} isn't a date such as 2026-01-31, or the beginning of one")
    return text.replace(" ", "T")


def history(arguments: argparse.Namespace, width: int) -> list[Line]:
    """Do what was asked for; gives the lines to print.

    Raises:
        DiffbenchError: a file can't be used, or no case is of that name.
    """
    from pytest_diffbench.report import history as drawn
    from pytest_diffbench.store.history import History

    if arguments.what == "add":
        return _add(arguments)
    with History(arguments.db, create=False) as opened:
        if arguments.what == "list":
            return drawn.session_lines(opened.sessions(), width)
        if arguments.what == "show":
            case = case_of(opened, arguments.case)
            return drawn.case_lines(opened.runs(case, arguments.since), width)
        exported = None if arguments.case is None else case_of(opened, arguments.case)
        _export(opened.runs(exported, arguments.since), arguments.format, arguments.output)
    return []


def case_of(opened: History, text: str) -> str:
    """The id of the case that a text means: it itself, or the only one that has it in it.

    Raises:
        OptionError: there is none, or several.
    """
    ids = opened.case_ids()
    if text in ids:
        return text
    alike = [case for case in ids if text in case]
    if len(alike) != 1:
        none = f"is no case of the history{did_you_mean(text, ids)}"
        which = f"means {len(alike)} cases: {', '.join(alike[:3])} ..." if alike else none
        raise OptionError(f"{text}: {which}. Name one: diffbench history list, diffbench history export.")
    return alike[0]


def _add(arguments: argparse.Namespace) -> list[Line]:
    from pytest_diffbench.commands.accept import session_file
    from pytest_diffbench.report import history as drawn
    from pytest_diffbench.report import session_json
    from pytest_diffbench.store.history import History

    lines: list[Line] = []
    sessions = [(path, session_json.load(session_file(path))) for path in arguments.results]
    with History(arguments.db) as opened:
        for path, session in sessions:
            added = opened.add(session)
            lines.append(drawn.added_line(str(path), added, len(session.cases) - added))
    return lines


def _export(runs: Sequence[HistoryRun], kind: str, output: Path | None) -> None:
    if kind == "parquet":
        if output is None:
            raise OptionError("--format parquet: is no text. Name a file: --output FILE.")
        _write_parquet(runs, output)
        return
    data = _csv(runs) if kind == "csv" else b"".join(msgspec.json.encode(run) + b"\n" for run in runs)
    if output is None:
        sys.stdout.write(data.decode())
        return
    try:
        output.write_bytes(data)
    except OSError as error:
        raise DiffbenchError(f"{output}: can't be written: {error.strerror}. Name another file.") from None


def _csv(runs: Sequence[HistoryRun]) -> bytes:
    """A row for each run that has figures, and a column for each figure that all of these have.

    So there is no empty cell, which Apache Otava, for one, refuses to read as a number.
    """
    whole = [run for run in runs if run.figures]
    figures = sorted(set.intersection(*(set(run.figures) for run in whole))) if whole else []
    names = ("started", "commit", "case", "model", "machine")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, *figures])
    writer.writerows(
        [*(getattr(run, name) or "" for name in names), *(run.figures[name] for name in figures)] for run in whole
    )
    return text.getvalue().encode()


def _write_parquet(runs: Sequence[HistoryRun], output: Path) -> None:
    """A row for each figure of each run."""
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise OptionError(
            "--format parquet: needs the package pyarrow, which isn't installed. Run: pip install "
            "'pytest-diffbench[parquet]', or use --format jsonl."
        ) from None
    names = ("case", "run", "started", "model", "machine", "commit", "definition", "saved", "error")
    rows = [(run, figure, value) for run in runs for figure, value in run.figures.items()]
    columns = {name: [getattr(run, name) for run, _, _ in rows] for name in names}
    columns |= {"figure": [figure for _, figure, _ in rows], "value": [value for _, _, value in rows]}
    schema = arrow.schema(
        [
            *((name, arrow.string()) for name in (*names, "figure")),
            ("value", arrow.float64()),
        ]
    )
    try:
        parquet.write_table(arrow.table(columns, schema=schema), output)
    except OSError as error:
        raise DiffbenchError(f"{output}: can't be written: {error}. Name another file.") from None


def add_trend_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""

    parser.add_argument(
        "case", metavar="CASE", nargs="?", help="id of a case, or a part of it that no other has (default: all)"
    )
    add_database(parser)
    add_since(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON object a line")
    parser.add_argument("--exit-code", action="store_true", help="exit with 1 where something got worse")


def trend(arguments: argparse.Namespace) -> tuple[list[Trend], int]:
    """Look for steps and drifts; gives those since the date that was given, and the number of series.

    Raises:
        DiffbenchError: there is no history, or no such case in it.
    """
    from pytest_diffbench.judge.trend import is_noisy, trends
    from pytest_diffbench.store.history import History

    with History(arguments.db, create=False) as history:
        case = case_of(history, arguments.case) if arguments.case is not None else None
        series = history.series(case, moved_only=True)
        noisy = sum(count for figure, count in history.figure_counts().items() if is_noisy(figure))
        asked = sum(history.figure_counts(case).values())
    beside = noisy - sum(is_noisy(item.figure) for item in series)
    # All values tell what is usual, also those before the date.
    recent = [
        item for item in trends(series, beside=beside) if arguments.since is None or item.since >= arguments.since
    ]
    return recent, asked
