"""Every row of `benchmarks/beside_plugins.py` that needs nothing installed is as the table says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import beside_plugins

ROWS = [row for row in beside_plugins.ROWS if row.installed]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return beside_plugins.save(tmp_path_factory.mktemp("beside"))


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.name} {row.arguments}" for row in ROWS])
@pytest.mark.usefixtures("real_libraries", "quick_processes")
def test_a_row_is_as_the_table_says(row: beside_plugins.Row, saved: Path, tmp_path: Path) -> None:
    outcome = beside_plugins.tried(row, saved, tmp_path)
    assert outcome.is_expected(row), (outcome, outcome.words)
