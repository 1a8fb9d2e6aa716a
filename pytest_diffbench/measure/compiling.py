"""What torch compiled, and how long it compiled and tuned kernels, by its own counters."""

from __future__ import annotations

import sys
from collections import Counter

_COMPILING = ("_compile.compile_inner",)
"""From the first look at the bytecode to the compiled graph, backend included; what every table of
`torch._dynamo.utils.compile_times` begins with."""

_TUNING = ("CachingAutotuner.benchmark_all_configs", "CachingAutotuner.coordinate_descent_tuning")
"""Done when a kernel is first called, so mostly outside of compiling."""


class CompileMeter:
    """Adds up what torch compiles and tunes between `begin` and `end`: measurements take turns in one process.

    Attributes:
        total_s: seconds so far.
        counts: what `compile_counts` counts, so far; without those that are 0.
    """

    def __init__(self) -> None:
        self.total_s = 0.0
        self.counts: Counter[str] = Counter()
        self._before_s = 0.0
        self._before: Counter[str] = Counter()

    def begin(self) -> None:
        """Begin to count."""
        self._before_s = compiled_s() or 0.0
        self._before = compile_counts()

    def end(self) -> None:
        """Count what came since `begin`."""
        self.total_s += max(0.0, (compiled_s() or 0.0) - self._before_s)
        self.counts += compile_counts() - self._before


def compile_counts() -> Counter[str]:
    """How many graphs this process compiled, how many graph breaks it met, and how often the recompile limit."""
    if "torch._dynamo" not in sys.modules:
        return Counter()
    try:
        from torch._dynamo.utils import counters

        return Counter(
            {
                "graphs": counters["stats"]["unique_graphs"],
                "graph breaks": sum(counters["graph_break"].values()),
                "recompile limits hit": sum(
                    count for reason, count in counters["unimplemented"].items() if "recompile limit" in reason
                ),
            }
        )
    except Exception:
        return Counter()


def compiled_s() -> float | None:
    """Seconds that this process spent compiling and tuning so far; None where it did neither, or torch doesn't tell.

    `compile_times` is what torch documents for this purpose. Tuning that takes place within compiling isn't told
    apart and would count twice, so it counts only where it exceeds the compiling.
    """
    if "torch._dynamo" not in sys.modules:
        return None  # nothing was compiled, and asking would cost seconds
    try:
        from torch._dynamo.utils import compile_times

        names, values = compile_times(repr="csv", aggregate=True)
        times_s = {name: float(str(value)) for name, value in zip(names, values, strict=True)}
    except Exception:
        return None
    compiling_s = sum(times_s.get(name, 0.0) for name in _COMPILING)
    tuning_s = sum(times_s.get(name, 0.0) for name in _TUNING)
    return max(compiling_s, tuning_s) or None
