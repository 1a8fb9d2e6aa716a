"""How the command `diffbench` writes to a terminal."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_diffbench.report.lines import Line


def width() -> int:
    """Columns of the terminal, or of the variable COLUMNS; 100 where neither is known."""
    return shutil.get_terminal_size((100, 24)).columns


def print_lines(lines: Iterable[Line]) -> None:
    """Write lines to stdout, coloured where that is a terminal."""
    from pytest_diffbench.report.lines import ansi, for_encoding, plain

    lines = for_encoding(lines, sys.stdout.encoding)
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    sys.stdout.write(ansi(lines) if coloured else plain(lines))


def complain(message: str) -> None:
    """Write one line to stderr."""
    from pytest_diffbench.report.lines import encodable

    line = " ".join(message.split())
    print(encodable(f"diffbench: {line}", sys.stderr.encoding), file=sys.stderr)
