"""How often `steadiness` doubts times that nothing is wrong with, and how often it sees what was planted.

    python benchmarks/steadiness_alarms.py [TRACE.jsonl ...]

Noise is simulated: normal, with heavy tails (Student, 3 degrees of freedom), skewed (log-normal), and one call in
twenty half as slow again. A trace holds one JSON list of times a line, one line a process; every window of a run's
consecutive times is one sequence. Identical code throughout, so that each doubt about a trace is either a false alarm
or the machine itself.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_diffbench.stats.steadiness import doubt_about, still_falling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_DRAWS = 20_000
_WARMUPS = 2
"""Of each line of a trace."""


def main() -> int:
    """Print two Markdown tables: doubts about nothing, and doubts about something."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("traces", nargs="*", type=Path)
    options = parser.parse_args()
    draw = random.Random(0)
    print("| nothing is wrong | times | drift | two modes | falling |\n|---|---|---|---|---|")
    for count in (6, 11, 21):
        for name, noise in _NOISES.items():
            _row(f"{name}, spread 4 %", count, ([noise(draw, 0.04) for _ in range(count)] for _ in range(_DRAWS)))
    _row("normal, spread 10 %", 6, ([_NOISES["normal"](draw, 0.1) for _ in range(6)] for _ in range(_DRAWS)))
    for path in options.traces:
        lines = [json.loads(line)[_WARMUPS:] for line in path.read_text(encoding="utf-8").splitlines()]
        for count in (6, 11):
            windows = [line[i : i + count] for line in lines for i in range(len(line) - count + 1)]
            _row(path.name, count, windows)
    print("\n| planted, spread 2 % | times | drift | two modes | falling |\n|---|---|---|---|---|")
    for count in (6, 11):
        for size in (0.15, 0.3):
            drifts = [
                [draw.gauss(1, 0.02) * (1 + size * i / (count - 1)) for i in range(count)]
                for _ in range(_DRAWS // 10)
            ]
            _row(f"drift of {size:.0%}", count, drifts)
            modes = [
                [draw.gauss(1, 0.02) * draw.choice((1, 1 + size)) for _ in range(count)] for _ in range(_DRAWS // 10)
            ]
            _row(f"modes {size:.0%} apart", count, modes)
    return 0


def _row(name: str, count: int, sequences: Iterable[Sequence[float]]) -> None:
    total = drifts = modes = falls = 0
    for times_s in sequences:
        total += 1
        doubt = doubt_about(times_s) or ""
        drifts += doubt.startswith("drift")
        modes += doubt.startswith("two modes")
        falls += still_falling(times_s)
    shares = " | ".join(f"{100 * part / total:.2f} %" for part in (drifts, modes, falls))
    print(f"| {name} ({total:,} sequences) | {count} | {shares} |", flush=True)


_NOISES: dict[str, Callable[[random.Random, float], float]] = {
    "normal": lambda draw, spread: max(draw.gauss(1, spread), 0.1),
    "heavy tails": lambda draw, spread: max(
        1 + spread * draw.gauss(0, 1) / (draw.gammavariate(1.5, 2) / 3) ** 0.5, 0.1
    ),
    "skewed": lambda draw, spread: draw.lognormvariate(0, spread),
    "outliers": lambda draw, spread: draw.gauss(1, spread) * (1.5 if draw.random() < 0.05 else 1),
}


if __name__ == "__main__":
    sys.exit(main())
