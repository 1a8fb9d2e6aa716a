"""`benchmarks/full_size_table.py` on the minis: every figure of its tables was measured."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.pipeline
@pytest.mark.usefixtures("quick_processes")
def test_the_table_is_complete_on_the_minis() -> None:
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "benchmarks" / "full_size_table.py"),
            *("--weights", "mini", "--device", "cpu", "--models", "flux", "lumina2"),
            *("--steps", "2", "--side", "64", "--rounds", "1", "--precision", "10", "--values", "1.0", "0.5"),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "not seen" not in done.stdout
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    stages = {row[0]: row for row in rows if row[0] in ("flux, 2 steps", "lumina2, 2 steps")}
    assert len(stages) == 2
    for row in stages.values():
        assert all(re.match(r"[\d.]+ m?s", cell) for cell in row[1:6]), row
        assert sum(int(cell.removesuffix(" %")) for cell in row[6:8]) == pytest.approx(100, abs=1), row
        assert re.fullmatch(r"[1-9]\d? % of operators", row[8]), row
    truncated = next(row for row in rows if row[0] == "0.5")
    assert truncated[1] == "3 (-25.0 %)"
    assert re.match(r"[\d.]+ \([\d.]+ to [\d.]+\)", truncated[4])
    for title in ("Truncation, lumina2", "Renorm, lumina2", "What observing costs, flux"):
        assert f"**{title}" in done.stdout
