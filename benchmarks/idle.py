"""What the plugin costs a session that measures nothing: 200 trivial tests collected with it and without it.

    python benchmarks/idle.py [--pairs 40] [--limit-ms 5]

Processes alternate as with, without, without, with, so that a drift of the machine hits both alike. pytest-benchmark
is on in all of them. Exits with 1 where the difference is over the limit, its interval included.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FILES, TESTS_A_FILE = 10, 20
_LEAST_PAIRS = 15


def main() -> int:
    """Time the processes, print a Markdown table and the difference."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=40, help=f"pairs of processes, at least {_LEAST_PAIRS}")
    parser.add_argument("--limit-ms", type=float, default=5.0)
    options = parser.parse_args()
    pairs = max(options.pairs, _LEAST_PAIRS)
    with tempfile.TemporaryDirectory() as folder:
        _write_tests(Path(folder))
        for without in (False, True):  # compiles the tests and reads every file once
            _collection_s(Path(folder), without)
        on_s, off_s = _timed_pairs_s(Path(folder), pairs)
    differences_ms = [(on - off) * 1e3 for on, off in zip(on_s, off_s, strict=True)]
    low_ms, high_ms = _interval_of_median(differences_ms)
    middle_ms = statistics.median(differences_ms)
    print(f"| collecting {FILES * TESTS_A_FILE} tests | processes | median | quickest |")
    print("|---|---|---|---|")
    for name, times_s in (("plugin idle", on_s), ("`-p no:diffbench`", off_s)):
        print(f"| {name} | {pairs} | {statistics.median(times_s) * 1e3:.1f} ms | {min(times_s) * 1e3:.1f} ms |")
    print()
    print(
        f"The plugin adds {middle_ms:.1f} ms: median of {pairs} pairs, 95 % interval {low_ms:.1f} to {high_ms:.1f} ms."
        f" Goal: {options.limit_ms:g} ms."
    )
    return int(low_ms > options.limit_ms)


def _write_tests(folder: Path) -> None:
    for number in range(FILES):
        body = "".join(f"def test_{i}():\n    pass\n\n" for i in range(TESTS_A_FILE))
        (folder / f"test_trivial_{number}.py").write_text(body, encoding="utf-8")


def _timed_pairs_s(folder: Path, pairs: int) -> tuple[list[float], list[float]]:
    """Times with and without the plugin; the order within a pair turns each time."""
    on_s: list[float] = []
    off_s: list[float] = []
    for pair in range(pairs):
        for without in (False, True) if pair % 2 == 0 else (True, False):
            (off_s if without else on_s).append(_collection_s(folder, without))
    return on_s, off_s


def _collection_s(folder: Path, without: bool) -> float:
    """Wall time of one process, interpreter's start included."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    if without:
        command += ["-p", "no:diffbench"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    begin_s = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    taken_s = time.perf_counter() - begin_s
    if f"{FILES * TESTS_A_FILE} tests collected" not in done.stdout:
        raise SystemExit(f"pytest didn't collect the tests:\n{done.stdout}{done.stderr}")
    return taken_s


def _interval_of_median(values: list[float]) -> tuple[float, float]:
    """95 % percentile bootstrap of the median."""
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(4000))
    return medians[100], medians[-101]


if __name__ == "__main__":
    sys.exit(main())
