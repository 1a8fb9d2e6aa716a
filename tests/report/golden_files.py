"""Compares text with the files under `golden/`.

Look at a change before accepting it: `DIFFBENCH_REGENERATE_GOLDEN=1 pytest tests/report` writes all of them anew.
"""

from __future__ import annotations

import os
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"
REPOSITORY = Path(__file__).parents[2]
VARIABLE = "DIFFBENCH_REGENERATE_GOLDEN"


def assert_golden(name: str, text: str) -> None:
    """Compare with a file under `golden/`."""
    assert_equals_file(GOLDEN / name, text)


def assert_equals_file(path: Path, text: str) -> None:
    """Compare with a file, or write it where the variable asks for that."""
    if os.environ.get(VARIABLE) == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    assert path.exists(), f"{path} is missing; {VARIABLE}=1 writes it"
    assert text == path.read_bytes().decode(), f"{path.name} differs; look at it, then accept it with {VARIABLE}=1"
