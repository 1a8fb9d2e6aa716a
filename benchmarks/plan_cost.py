"""What planning a full-size pipeline costs: wall time, CPU time and peak memory of whole processes, imports included.

    python benchmarks/plan_cost.py [--times 3]

Runs `diffbench plan MODEL --height 1024 --width 1024` in fresh processes, one after the other, as a shell would.
Exits with 1 where even the fastest process took longer than its model's goal, or any needed more than 1.5 GiB.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

GOALS_S = {"lumina2": 8.0, "neta-lumina": 8.0, "flux": 12.0}
GOAL_BYTES = 1.5 * 2**30


def main() -> int:
    """Plan each model a few times; print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=3, help="processes a model")
    options = parser.parse_args()
    print("| plan | wall, least | wall, median | CPU, median | peak RSS | work | goal |")
    print("|---|---|---|---|---|---|---|")
    missed = False
    for model, goal_s in GOALS_S.items():
        runs = [_planned(model) for _ in range(max(options.times, 1))]
        wall_s, cpu_s, rss = zip(*(run[:3] for run in runs), strict=True)
        flops = {run[3] for run in runs}
        assert len(flops) == 1, "two plans of one call differ"
        print(
            f"| {model} | {min(wall_s):.1f} s | {statistics.median(wall_s):.1f} s | {statistics.median(cpu_s):.1f} s "
            f"| {max(rss) / 2**30:.2f} GiB | {flops.pop() / 1e12:,.0f} TFLOP | {goal_s:g} s, 1.5 GiB |"
        )
        missed |= min(wall_s) > goal_s or max(rss) > GOAL_BYTES
    print()
    print(f"{os.cpu_count()} processors, load average {os.getloadavg()[0]:.1f}.")
    return int(missed)


def _planned(model: str) -> tuple[float, float, int, int]:
    """Wall and CPU seconds, peak resident bytes, and the FLOPs that the plan counted."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin_s = time.perf_counter()
    # A process of its own measures the one that plans: the peak of all children would be that of the largest so far.
    code = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run([sys.executable, '-m', 'pytest_diffbench.commands.main', 'plan', *sys.argv[1:]])\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)\n"
        "sys.exit(done.returncode)\n"
    )
    command = [sys.executable, "-c", code, model, "--height", "1024", "--width", "1024", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    wall_s = time.perf_counter() - begin_s
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    unit = 1 if sys.platform == "darwin" else 1024
    plan = json.loads(done.stdout)
    return wall_s, cpu_s, int(done.stderr.split()[-1]) * unit, sum(plan["work"]["flops"].values())


if __name__ == "__main__":
    sys.exit(main())
