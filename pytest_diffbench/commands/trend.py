"""`diffbench trend`: since when figures of a history are others, by how much, how surely, and what else changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from pytest_diffbench.records.history import Trend


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    from pytest_diffbench.commands.history import add_database, add_since

    parser.add_argument(
        "case", metavar="CASE", nargs="?", help="id of a case, or a part of it that no other has (default: all)"
    )
    add_database(parser)
    add_since(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON object a line")
    parser.add_argument("--exit-code", action="store_true", help="exit with 1 where something got worse")


def trend(arguments: argparse.Namespace) -> tuple[list[Trend], int]:
    """Look for steps and drifts; gives those since the date that was given, and the number of series.

    Args:
        arguments: as `add_arguments` declares them.

    Raises:
        DiffbenchError: there is no history, or no such case in it.
    """
    from pytest_diffbench.commands.history import case_of
    from pytest_diffbench.judge.trend import is_noisy, trends
    from pytest_diffbench.store.history import History

    with History(arguments.db, create=False) as history:
        case = case_of(history, arguments.case) if arguments.case is not None else None
        series = history.series(case)
        noisy = sum(count for figure, count in history.figure_counts().items() if is_noisy(figure))
    beside = noisy - sum(is_noisy(item.figure) for item in series)
    # All values tell what is usual, also those before the date.
    recent = [
        item for item in trends(series, beside=beside) if arguments.since is None or item.since >= arguments.since
    ]
    return recent, len(series)
