"""`diffbench report`: stored sessions as a page; `diffbench table`: their comparisons as tables to publish."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_diffbench.errors import DiffbenchError, OptionError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from pytest_diffbench.records import CaseReport, Comparison
    from pytest_diffbench.records.artifacts import Sides
    from pytest_diffbench.records.history import Series
    from pytest_diffbench.report.html.views import Past
    from pytest_diffbench.store import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "sessions", metavar="RESULT.json", nargs="+", type=Path, help="sessions, written by pytest --diffbench-json"
    )
    parser.add_argument(
        "--images",
        metavar="FOLDER",
        type=Path,
        action="append",
        default=[],
        help="folder with images of the sessions: from --diffbench-images; can be repeated",
    )
    parser.add_argument(
        "--baselines", metavar="DIR", type=Path, default=None, help="baselines that the sessions were compared with"
    )
    parser.add_argument(
        "--history", metavar="FILE", type=Path, default=None, help="also show each case over time: a history"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        type=Path,
        default=Path("report.html"),
        help="FILE.html for a single file, or a folder (default: report.html)",
    )


def report(arguments: argparse.Namespace) -> Path:
    """Make the page; gives the file to open.

    Raises:
        DiffbenchError: a session or a folder can't be used, or the page can't be written.
    """
    from pytest_diffbench.commands.judge import kept_with
    from pytest_diffbench.report import session_json
    from pytest_diffbench.report.html import page
    from pytest_diffbench.store import Store

    folders: list[Path] = arguments.images
    baselines: Path | None = arguments.baselines
    named = [("--images", folder) for folder in folders]
    named += [("--baselines", baselines)] if baselines is not None else []
    for option, folder in named:
        if not folder.is_dir():
            raise OptionError(f"{option} {folder}: isn't a folder. Name one that pytest wrote.")
    store = Store(baselines) if baselines is not None else None
    past = _past(arguments.history) if arguments.history is not None else None
    sources: list[page.SessionSource] = []
    for path in arguments.sessions:
        session = session_json.load(path)
        look = functools.partial(_sides, [*folders, *kept_with(session, path)], store)
        sources.append(page.SessionSource(session, look, str(path), past))
    return page.write(arguments.output, sources)


def _sides(folders: Sequence[Path], store: Store | None, report: CaseReport, arrays: bool) -> Sides:
    from pytest_diffbench.store import sides_of

    return sides_of(folders, report.observation, store, arrays=arrays)


def _past(path: Path) -> Callable[[CaseReport], tuple[Past, ...]]:
    """The curves of a case from a history. Of a call that was defined anew, the newest series is shown."""
    from pytest_diffbench.judge.trend import trends
    from pytest_diffbench.report.history import trend_change, trend_since
    from pytest_diffbench.report.html.past import past_rows
    from pytest_diffbench.store.history import History

    with History(path, create=False) as history:
        series = history.series()
    changed: dict[tuple[str, str], dict[str, str]] = {}
    for trend in reversed(trends(series)):
        words = f"{trend_change(trend)}, {trend_since(trend)}"
        changed.setdefault((trend.case, trend.machine), {})[trend.figure] = words
    by_case: dict[tuple[str, str], list[Series]] = {}
    for curve in sorted(series, key=lambda item: item.started[-1]):
        by_case.setdefault((curve.case, curve.machine), []).append(curve)

    def of_case(report: CaseReport) -> tuple[Past, ...]:
        key = report.observation.case.id, report.observation.run.environment.machine
        return past_rows(by_case.get(key, []), changed.get(key, {}))

    return of_case


def add_table_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    from pytest_diffbench.report.table import FORMATS

    parser.add_argument(
        "sessions", metavar="RESULT.json", nargs="+", type=Path, help="sessions, written by pytest --diffbench-json"
    )
    parser.add_argument("--format", choices=FORMATS, default="terminal")


def comparisons(arguments: argparse.Namespace) -> list[Comparison]:
    """All comparisons of the sessions that were named.

    Raises:
        DiffbenchError: a session can't be read, or none holds a comparison.
    """
    from pytest_diffbench.report import session_json

    paths: list[Path] = arguments.sessions
    found = [comparison for path in paths for comparison in session_json.load(path).comparisons]
    if not found:
        raise DiffbenchError(
            f"{', '.join(map(str, paths))}: no comparison. A table is made of what diffbench.compare or "
            "diffbench.sweep measured."
        )
    return found
