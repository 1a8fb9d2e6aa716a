"""The run that proves the paths of CUDA on a GPU works from its first part to its table, on a simulated device."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from warm_python import WarmPython

ROOT = Path(__file__).parents[3]


def test_the_whole_run_on_the_simulated_device(tmp_path: Path, warm_python: WarmPython) -> None:
    done = subprocess.run(
        [warm_python.executable, ROOT / "benchmarks" / "gpu_proof.py", "--simulate", "--out", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    logs = "\n".join(path.read_text()[-2000:] for path in tmp_path.glob("*.log"))
    assert {row["part"]: row["state"] for row in rows} == dict.fromkeys(("facts", "minis", "same"), "passed"), logs
    assert done.returncode == 0, done.stdout
    assert "says nothing about any GPU" in done.stdout


def test_what_the_budget_has_no_room_for_is_not_run_and_said_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "gpu_proof.py", "--simulate", "--budget-s", "1", "--out", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout.count("not run: no time left") == 3
