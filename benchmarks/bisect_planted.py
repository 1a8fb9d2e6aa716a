"""Does `diffbench bisect` find a planted commit? Histories of 30 to 100 commits, with faults of three kinds.

    python benchmarks/bisect_planted.py [--histories 20] [--seed 0]

Each history is a git repository whose one module sets a tiny pipeline up; one of its commits changes guidance, work
or output, and every tenth can't be imported. The tests' processes are forked from one that has imported everything,
so the times are those of the runs and not of importing torch. Exits with 1 unless all are found.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "helpers"))


def main() -> int:
    """Plant, bisect, and print what was found."""
    from planted_history import FAULTS, write_history
    from warm_python import WarmPython

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--histories", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    helpers = os.pathsep.join(map(str, (ROOT / "tests" / "helpers", ROOT)))
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": helpers}
    print("| commits | planted at | gate | found | skipped beside it | runs | time |")
    print("|---|---|---|---|---|---|---|")
    times_s, right = [], 0
    with tempfile.TemporaryDirectory(prefix="warm-", dir="/tmp") as warm:
        python = WarmPython.start(Path(warm))
        sys.executable = str(python.executable)
        for _ in range(options.histories):
            count = chance.randint(30, 100)
            bad_at, fault = chance.randint(1, count - 1), chance.choice(sorted(FAULTS))
            broken = {number for number in range(1, count - 1) if number % 10 == 7} - {bad_at, bad_at - 1}
            with tempfile.TemporaryDirectory(prefix="history-") as folder:
                commits = write_history(Path(folder), count, bad_at, fault, broken=tuple(broken))
                begin_s = time.perf_counter()
                named_at, gate, skipped, runs = _bisect(Path(folder), commits)
                times_s.append(time.perf_counter() - begin_s)
            right += named_at == bad_at and gate == fault
            print(
                f"| {count} | {bad_at} | {fault} | {named_at} by {gate} | {skipped} | {runs} | {times_s[-1]:.1f} s |",
                flush=True,
            )
        python.stop()
    print(f"\n{right} of {options.histories} found; median {statistics.median(times_s):.1f} s.")
    return int(right < options.histories)


def _bisect(folder: Path, commits: list[str]) -> tuple[int, str, int, int]:
    """The number of the commit that is found, the gate, how many beside it were skipped, and the runs it took."""
    from pytest_diffbench.commands import bisect

    parser = argparse.ArgumentParser()
    bisect.add_arguments(parser)
    words = [
        commits[0],
        commits[-1],
        f"--project={folder / 'project'}",
        "--in-place",
        "--",
        str(folder / "test_paint.py"),
    ]
    with contextlib.chdir(folder), contextlib.redirect_stderr(io.StringIO()):
        _, outcome = bisect.bisect(parser.parse_args(words), lambda *_: None)
    gates = [finding.gate for finding in outcome.findings]
    # another picture follows from other guidance, and is told behind it
    gate = next((gate for gate in ("guidance", "work", "output") if gate in gates), "none")
    return commits.index(outcome.first_bad), gate, len(outcome.skipped), outcome.runs


if __name__ == "__main__":
    sys.exit(main())
