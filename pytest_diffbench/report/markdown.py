"""Text and code in GitHub-flavoured Markdown, and further sections of a session: comparisons, what has no verdict."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from pytest_diffbench.report.comparisons import INERT_MARK, columns_of, remarks
from pytest_diffbench.report.figures import attempts_text, node_id, save_command
from pytest_diffbench.report.units import format_count

if TYPE_CHECKING:
    from pytest_diffbench.records import Comparison, SessionReport


def escaped(text: str) -> str:
    """Text that stays text: no markup, no HTML, no end of a line or of a table's cell."""
    escaped = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~#@])", r"\\\1", escaped)


def code(text: str) -> str:
    """Text as code, whatever backticks it holds."""
    ticks = "`" * (max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{pad}{' '.join(text.split())}{pad}{ticks}"


def fenced(text: str) -> list[str]:
    ticks = "`" * max(3, max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    return [f"{ticks}sh", *text.splitlines(), ticks]


_MOST_TESTS = 5


def odd_lines(session: SessionReport) -> list[str]:
    """Benchmarks that were skipped, and why, and tests that took several attempts."""
    skipped = [f"- {code(skipped.test)} skipped: {escaped(skipped.reason)}" for skipped in session.skipped]
    return skipped + [
        f"- {code(case.observation.case.id)}: {text}"
        for case in session.cases
        if (text := attempts_text(case)) is not None
    ]


def comparison_lines(comparison: Comparison) -> list[str]:
    """The table of a comparison; figures that weren't measured are empty cells."""
    columns = columns_of(comparison)
    of = escaped(comparison.argument) if comparison.argument is not None else "variant"
    lines = [
        f"{comparison.blocks} blocks interleaved in one process:",
        "",
        f"| {of} |" + "".join(f" {column.head} |" for column in columns),
        "|:---|" + "---:|" * len(columns),
    ]
    for number, row in enumerate(comparison.variants):
        total, speedup, *others = (column.cells[number] for column in columns)
        if row.error and row.name != comparison.reference:
            speedup = "**error**"
        elif row.inert and row.name != comparison.reference:
            speedup = f"{speedup.removesuffix(INERT_MARK)} **inert**"
        cells = (code(row.name), total, speedup, *others)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    notes = [
        *remarks(comparison),
        *(f"{row.name}: {row.error}" for row in comparison.variants if row.error is not None),
    ]
    return [*lines, "", *(f"- {escaped(text)}" for text in notes), *([""] if notes else [])]


def missing_lines(session: SessionReport) -> list[str]:
    """How baselines are added that aren't there, for the first few of them."""
    missing = session.missing_baselines
    if not missing:
        return []
    tests = list(dict.fromkeys(map(node_id, missing)))[:_MOST_TESTS]
    command = save_command(tests, session.command, session.root)
    return [f"No baseline for {format_count(len(missing), 'case')}. To add:", "", *fenced(command), ""]
