"""What observing a timed round costs: the instrumented call against the bare call of the same pipeline.

    python benchmarks/overhead.py [--calls 60] [--models lumina2 flux] [--limit 1.01] [--device cpu]

The calls alternate as bare, timed, timed, bare in one process with one thread. Both sides start from the same random
state and have the garbage collector off, as a timed round has it. The ratio is the median over blocks of four calls;
its interval is a bootstrap over the blocks. The last column is the same figure for the two bare calls of each block:
what the machine makes of equal code. Exits with 1 where the interval lies above the limit as a whole.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_diffbench.measure.rounds import Caller, TimedRound
    from pytest_diffbench.measure.telemetry import TelemetryWatch

PROMPT = "a large red circle on a blue background"
_LEAST_CALLS = 60

Block: TypeAlias = tuple[float, float, float, float]


def main() -> int:
    """Time both kinds of call for each model, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=_LEAST_CALLS, help=f"of each kind, at least {_LEAST_CALLS}")
    parser.add_argument("--models", nargs="+", default=["lumina2", "flux"])
    parser.add_argument("--limit", type=float, default=1.01)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    over = False
    print("| mini | calls | steps | bare call | timed round | ratio | 95 % interval | bare against bare |")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.models:
        steps, blocks = _blocks_s(name, options.device, max(options.calls, _LEAST_CALLS) // 2)
        ratio, low, high = ratio_of([(sum(block[1:3]), block[0] + block[3]) for block in blocks])
        control, control_low, control_high = ratio_of([(block[3], block[0]) for block in blocks])
        over |= low > options.limit
        bare_s = statistics.median(round_s for block in blocks for round_s in (block[0], block[3]))
        timed_s = statistics.median(round_s for block in blocks for round_s in block[1:3])
        print(
            f"| `{name}` | 2 x {2 * len(blocks)} | {steps} | {bare_s * 1e3:.1f} ms | {timed_s * 1e3:.1f} ms"
            f" | {ratio:.4f} | {low:.4f} to {high:.4f} | {control:.4f} ({control_low:.4f} to {control_high:.4f}) |",
            flush=True,
        )
    return int(over)


def _blocks_s(name: str, device: str, count: int) -> tuple[int, list[Block]]:
    """Steps of a mini's call, and the seconds of its blocks."""
    import torch

    from pytest_diffbench.pipelines.loader import load
    from pytest_diffbench.pipelines.registry import model_named
    from pytest_diffbench.records import PipelineSpec

    torch.set_num_threads(1)
    pipeline: Any = load(PipelineSpec(model=name, weights="mini", device=device, dtype="float32"))
    arguments = dict(model_named(name).mini_recommended)
    return int(str(arguments["num_inference_steps"])), blocks_s(pipeline, arguments, device, count, threads=1)


def blocks_s(
    pipeline: Any, arguments: Mapping[str, Any], device: str, count: int, threads: int | None = None
) -> list[Block]:
    """Seconds of the bare, timed, timed and bare call of each block, after two calls of each kind."""
    from pytest_diffbench.measure.clock import clock_for
    from pytest_diffbench.measure.components import sites_of
    from pytest_diffbench.measure.rounds import Caller, TimedRound
    from pytest_diffbench.measure.state import preserved
    from pytest_diffbench.measure.telemetry import TelemetryWatch

    clock = clock_for(device)
    caller = Caller(pipeline, (PROMPT,), dict(arguments), 0, clock)
    timed = TimedRound(caller, list(sites_of(pipeline)), clock)
    watch = TelemetryWatch(device)
    with preserved(threads=threads):
        for _ in range(2):
            _bare_s(caller)
            _timed_s(timed, watch)
        return [
            (_bare_s(caller), _timed_s(timed, watch), _timed_s(timed, watch), _bare_s(caller)) for _ in range(count)
        ]


def _bare_s(caller: Caller) -> float:
    caller.prepare()
    gc.disable()
    begin_s = time.perf_counter()
    caller.call()
    taken_s = time.perf_counter() - begin_s
    gc.enable()
    return taken_s


def _timed_s(timed: TimedRound, watch: TelemetryWatch) -> float:
    """Seconds from outside: putting the hooks on and taking them off is part of it; telemetry is read around it."""
    timed.prepare()
    watch.before()
    gc.disable()
    begin_s = time.perf_counter()
    timed.run()
    taken_s = time.perf_counter() - begin_s
    gc.enable()
    watch.after()
    timed.finish("round")
    return taken_s


def ratio_of(blocks: list[tuple[float, float]]) -> tuple[float, float, float]:
    """Median ratio over blocks, with a 95 % percentile bootstrap."""
    ratios = [over / under for over, under in blocks]
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(4000))
    return statistics.median(ratios), medians[100], medians[-101]


if __name__ == "__main__":
    sys.exit(main())
