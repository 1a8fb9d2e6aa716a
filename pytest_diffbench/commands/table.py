"""`diffbench table`: the comparisons of stored sessions as tables to publish."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_diffbench.errors import DiffbenchError

if TYPE_CHECKING:
    import argparse

    from pytest_diffbench.records import Comparison


def add_arguments(parser: argparse.ArgumentParser) -> None:
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
