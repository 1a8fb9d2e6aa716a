"""`diffbench plan` in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from test_plan_command import (
    folder,  # noqa: F401 - a fixture
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.pipeline
def test_a_separate_process_prints_the_table_alone(folder: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest_diffbench.commands.main",
        "plan",
        str(folder),
        "--height",
        "64",
        "--width",
        "64",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "denoiser calls in 50 steps" in done.stdout or "denoiser calls in 30 steps" in done.stdout
