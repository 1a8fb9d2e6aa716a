"""Whether a function of 100 ms that gets slower is red, on a busy machine and a quiet one, and again once accepted.

    python benchmarks/small_function.py [--kind sleep|work] [--saves 3] [--sessions 20] [--loops 2]

In a folder of its own: the function is saved so many times, then held against that in sessions, each a process of its
own: unchanged; three times as slow beside so many loops that keep a core busy each; a fifth slower without them. Then
the slow one is accepted with --diffbench-save, and half as slow again must be red. `sleep` waits, `work` computes.

Prints a line for each part: how many sessions were red, the reasons, and how long a session took. Exits with 1 where
an unchanged session was red, where three times as slow was green, or where the accepted one blinded the gate.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_diffbench.report import session_json
from pytest_diffbench.report.sentences.saving import saved_text

if TYPE_CHECKING:
    from collections.abc import Iterator

TEST = '''"""A function that takes as long as its environment says."""

import os
import time

import numpy as np
import pytest

PICTURE = np.tile(np.arange(64, dtype=np.uint8)[:, None, None] * 3, (1, 64, 3))
FACTOR = float(os.environ["SLOWER"])


def paint():
    if os.environ["KIND"] == "sleep":
        time.sleep(0.1 * FACTOR)
    else:
        sum(n * n for n in range(round(int(os.environ["LOOPS"]) * FACTOR)))
    return [PICTURE]


@pytest.mark.diffbench(gates="time")
def test_paint(diffbench):
    diffbench(paint)
'''


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep so many cores busy."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def loops_of_100_ms() -> int:
    """How often the loop of `work` goes round in 100 ms here and now."""
    took_s = []
    for _ in range(5):
        begin_s = time.perf_counter()
        sum(n * n for n in range(1_000_000))
        took_s.append(time.perf_counter() - begin_s)
    return round(1_000_000 * 0.1 / min(took_s))


class Project:
    """A folder with one test.

    Args:
        folder: empty.
        kind: of function.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self._folder = folder
        self._environment = {**os.environ, "KIND": kind, "LOOPS": str(loops_of_100_ms()), "OMP_NUM_THREADS": "1"}
        (folder / "test_paint.py").write_text(TEST, encoding="utf-8")
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")

    def run(self, slower: float, *options: str) -> tuple[int, str, float]:
        """One session: its exit status, the reason of the verdict on time (or what became of saving), its seconds."""
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--diffbench-json=session.json"]
        begin_s = time.monotonic()
        done = subprocess.run(
            [*command, *options],
            cwd=self._folder,
            env=self._environment | {"SLOWER": str(slower)},
            capture_output=True,
            text=True,
            check=False,
        )
        took_s = time.monotonic() - begin_s
        (case,) = session_json.load(self._folder / "session.json").cases
        time_reasons = [verdict.reason for verdict in case.verdicts if verdict.gate == "time"]
        return done.returncode, saved_text(case.saved) or time_reasons[0], took_s

    def sessions(self, what: str, slower: float, count: int) -> int:
        """So many sessions; tells and returns how many were red."""
        sessions = [self.run(slower, "--diffbench") for _ in range(count)]
        red = sum(status != 0 for status, _, _ in sessions)
        reasons = dict(collections.Counter(reason for _, reason, _ in sessions))
        median_s = statistics.median(took_s for _, _, took_s in sessions)
        print(f"{what}: {red} of {count} red, {median_s:.0f} s a session; {reasons}", flush=True)
        return red


def main() -> int:
    """Save, then hold all of it against what was saved."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--kind", choices=("sleep", "work"), default="sleep")
    parser.add_argument("--saves", type=int, default=3)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--loops", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder), options.kind)
        for _ in range(options.saves):
            print("saved:", project.run(1.0, "--diffbench-save")[1], flush=True)
        unchanged = project.sessions("unchanged", 1.0, max(1, options.sessions // 2))
        with busy(options.loops):
            crowded = project.sessions(f"unchanged, {options.loops} busy loops", 1.0, max(1, options.sessions // 4))
            slow = project.sessions(f"+199 %, {options.loops} busy loops", 2.99, options.sessions)
        project.sessions("+20 %", 1.2, options.sessions)
        print("accepted:", project.run(3.0, "--diffbench-save")[1], flush=True)
        again = project.sessions("+50 % on what was accepted", 4.5, max(1, options.sessions // 4))
    return int(unchanged + crowded > 0 or slow < options.sessions or again == 0)


if __name__ == "__main__":
    sys.exit(main())
