"""Text and code in GitHub-flavoured Markdown, and further sections of a session: comparisons, what has no verdict."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from pytest_diffbench.report.comparisons import (
    calls_text,
    confidence_text,
    latents_text,
    likeness_label,
    likeness_names,
    likeness_text,
    ratio_text,
    remarks,
    speedup_text,
)
from pytest_diffbench.report.figures import node_id, save_command
from pytest_diffbench.report.units import format_count, format_seconds

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
        f"- {code(case.observation.case.id)}: {case.attempts} attempts, of which the last counts"
        for case in session.cases
        if case.attempts > 1
    ]


def comparison_lines(comparison: Comparison) -> list[str]:
    """The table of a comparison; figures that weren't measured are empty cells."""
    names = likeness_names([comparison])
    of = escaped(comparison.argument) if comparison.argument is not None else "variant"
    lines = [
        f"{comparison.blocks} blocks interleaved in one process:",
        "",
        f"| {of} | total | speed-up ({confidence_text(comparison)}) | denoise | predicted | calls |"
        + "".join(f" {likeness_label(name)} |" for name in names)
        + " latents |",
        "|:---|---:|---:|---:|---:|---:|" + "---:|" * (len(names) + 1),
    ]
    for row in comparison.variants:
        is_reference = row.name == comparison.reference
        cells = [
            "" if row.median_s is None else format_seconds(row.median_s),
            "reference"
            if is_reference
            else "**error**"
            if row.error
            else speedup_text(row.speedup_rel) + " **inert**" * bool(row.inert),
            *(
                "" if is_reference else text
                for text in (
                    speedup_text(row.stage_speedups_rel.get("denoise")),
                    ratio_text(row.predicted_speedup_rel),
                )
            ),
            calls_text(row),
            *(
                "" if is_reference else text
                for text in (*(likeness_text(row, name) for name in names), latents_text(row))
            ),
        ]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in (code(row.name), *cells)) + " |")
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
