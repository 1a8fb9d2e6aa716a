"""The table of other plugins is what its script prints where each row is as the script expects it."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import beside_plugins  # noqa: E402 - a script


def test_the_page_has_every_row_as_printed_by_the_script() -> None:
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    lines = page.splitlines()
    first = lines.index(beside_plugins.HEAD[0])
    assert lines[first + 1] == beside_plugins.HEAD[1]
    rows = lines[first + 2 : first + 2 + len(beside_plugins.ROWS)]
    for line, row in zip(rows, beside_plugins.ROWS, strict=True):
        name = line.split("|")[1].strip()
        version = name.removeprefix(row.name).strip() if row in beside_plugins.PLUGINS else ""
        outcome = beside_plugins.Outcome(version, row.status, row.cases, row.differs, "")
        assert line == beside_plugins.line(row, outcome)
    assert len({row.name for row in beside_plugins.ROWS}) >= 30
