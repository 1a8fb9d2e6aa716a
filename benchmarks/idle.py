"""What the plugin costs a session that measures nothing: 200 trivial tests collected with it and without it.

    python benchmarks/idle.py [--pairs 300] [--limit-ms 5]

Processes alternate as with, without, without, with, so that a drift of the machine hits both alike. pytest-benchmark
is on in all of them, other plugins are off, and modules are read as bytecode, as they are after an installation.
Exits with 1 where the interval of the difference lies above the limit as a whole.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_FILES, _TESTS_A_FILE = 10, 20
_LEAST_PAIRS = 15
_OTHERS_OFF = [
    word for name in ("cacheprovider", "anyio", "hypothesispytest", "xdist") for word in ("-p", f"no:{name}")
]


def main() -> int:
    """Time the processes, print a Markdown table and the difference."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=300, help=f"pairs of processes, at least {_LEAST_PAIRS}")
    parser.add_argument("--limit-ms", type=float, default=5.0)
    options = parser.parse_args()
    pairs = max(options.pairs, _LEAST_PAIRS)
    with tempfile.TemporaryDirectory() as folder:
        _write_tests(Path(folder))
        for without in (False, True):  # writes the bytecode, and reads every file once
            _collect(Path(folder), without)
        on, off = _timed_pairs(Path(folder), pairs)
    print("| collecting | processes | wall, median | wall, least | CPU, median | CPU, least |")
    print("|---|---|---|---|---|---|")
    for name, times in (("plugin idle", on), ("`-p no:diffbench`", off)):
        wall_s, cpu_s = zip(*times, strict=True)
        figures = (statistics.median(wall_s), min(wall_s), statistics.median(cpu_s), min(cpu_s))
        print(f"| {name} | {pairs} | {' | '.join(f'{figure_s * 1e3:.1f} ms' for figure_s in figures)} |")
    print()
    wall_ms, cpu_ms = _difference_ms(on, off, 0), _difference_ms(on, off, 1)
    print(
        f"The plugin adds {_in_ms(wall_ms)} of wall time and {_in_ms(cpu_ms)} of CPU time: medians of {pairs} pairs,"
        f" with 95 % intervals. Goal: {options.limit_ms:g} ms."
    )
    return int(wall_ms[0] > options.limit_ms)


def _write_tests(folder: Path) -> None:
    for number in range(_FILES):
        body = "".join(f"def test_{i}():\n    pass\n\n" for i in range(_TESTS_A_FILE))
        (folder / f"test_trivial_{number}.py").write_text(body, encoding="utf-8")


def _timed_pairs(folder: Path, pairs: int) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Wall and CPU seconds with the plugin and without; the order within a pair turns each time."""
    on: list[tuple[float, float]] = []
    off: list[tuple[float, float]] = []
    for pair in range(pairs):
        for without in (False, True) if pair % 2 == 0 else (True, False):
            (off if without else on).append(_collect(folder, without))
    return on, off


def _collect(folder: Path, without: bool) -> tuple[float, float]:
    """Wall and CPU seconds of one process, interpreter's start included."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *_OTHERS_OFF]
    if without:
        command += ["-p", "no:diffbench"]
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTEST_") and name != "PYTHONDONTWRITEBYTECODE"
    } | {"PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    cpu_before_s = _children_cpu_s()
    begin_s = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    wall_s = time.perf_counter() - begin_s
    if f"{_FILES * _TESTS_A_FILE} tests collected" not in done.stdout:
        raise SystemExit(f"pytest didn't collect the tests:\n{done.stdout}{done.stderr}")
    return wall_s, _children_cpu_s() - cpu_before_s


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _difference_ms(
    on: list[tuple[float, float]], off: list[tuple[float, float]], clock: int
) -> tuple[float, float, float]:
    """Median over pairs of the difference, between the ends of its 95 % percentile bootstrap."""
    values = [(a[clock] - b[clock]) * 1e3 for a, b in zip(on, off, strict=True)]
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(4000))
    return medians[100], statistics.median(values), medians[-101]


def _in_ms(difference: tuple[float, float, float]) -> str:
    low, middle, high = difference
    return f"{middle:.1f} ms ({low:.1f} to {high:.1f} ms)"


if __name__ == "__main__":
    sys.exit(main())
