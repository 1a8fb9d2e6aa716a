"""Replays the recorded runs through the time gate and prints the tables of docs/verdicts.md.

    python benchmarks/time_gate_replay.py

The recording (tests/judge/data) holds no calibration; it is simulated to follow the machine's pace with some noise.
"""

from __future__ import annotations

import collections
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "judge"))

import test_judge_replay as replay

DRAWS = 25


def shares(noise_rel: float, count: int, planted: float | None) -> collections.Counter[str]:
    """Reasons given over all draws of the simulated calibration."""
    total: collections.Counter[str] = collections.Counter()
    for seed in range(DRAWS if noise_rel else 1):
        total += replay.replay(replay.recorded_runs("follows", noise_rel, seed), count, planted)
    return total


def main() -> None:
    """Print a row for each number of past runs and noise of the calibration."""
    print(f"usual run: {replay.usual_s():.3f} s, {len(replay.recording())} runs")
    print(f"spread of medians: {statistics.stdev(map(statistics.median, replay.recording())):.3f} s")
    for planted in (None, 1.5):
        print("\nidentical code" if planted is None else f"\nplanted {planted}x")
        print(f"{'past runs':>9} {'noise':>6} {'windows':>8} {'worse':>7} {'better':>7} {'same':>7} {'unsure':>7}")
        for count in replay.WINDOWS:
            for noise_rel in (0.0, 0.03, 0.05, 0.08):
                answers = shares(noise_rel, count, planted)
                all_ = answers.total()
                worse, better, same = (answers[f"time.{one}"] / all_ for one in ("slower", "faster", "same"))
                rest = 1 - worse - better - same
                print(f"{count:9} {noise_rel:6.0%} {all_:8} {worse:7.1%} {better:7.1%} {same:7.1%} {rest:7.1%}")


if __name__ == "__main__":
    main()
