"""How well the kernels of the pace predict a pipeline's call while other processes want the same cores.

    python benchmarks/pace_predicts.py [--model lumina2] [--steps 4] [--calls 6] [--repeats 4] [--threads 1 2]

A mini's call and a reading of the kernels alternate in blocks: alone, beside one and beside two busy loops, which are
processes that this one starts and ends. The blocks come in turns, so that what the machine does by itself meets all.
A table for each number of threads gives the ratio to the block alone before it: of the call by the wall clock, of the
call without what its threads waited, of each kernel, and of the kernels' geometric mean; medians over blocks, and the
extremes. The kernels predict the call where the last ratio is that of the call without waiting.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from pytest_diffbench.measure.machine import hardware_facts, machine_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_diffbench.measure.pace import Pace

PROMPT = "a large red circle on a blue background"
MOST_BESIDE = 2
WALL, NET, MEAN = "call, wall", "call, net", "mean of the kernels"


def main() -> int:
    """Measure, and print a Markdown table for each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="lumina2")
    parser.add_argument("--steps", type=int, default=4, help="of a call")
    parser.add_argument("--calls", type=int, default=6, help="of a block")
    parser.add_argument("--repeats", type=int, default=4, help="blocks of each kind")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="torch's")
    options = parser.parse_args()
    if min(options.steps, options.calls, options.repeats, *options.threads) < 1:
        parser.error("all numbers are at least 1")
    print(f"{machine_name('cpu', hardware_facts('cpu'))}, load {os.getloadavg()[0]:.1f} before\n")
    for threads in options.threads:
        _print(threads, _ratios(options.model, options.steps, options.calls, options.repeats, threads))
    print(f"load {os.getloadavg()[0]:.1f} behind")
    return 0


def _ratios(model: str, steps: int, calls: int, repeats: int, threads: int) -> dict[int, list[dict[str, float]]]:
    """By the number of busy loops, what each block's medians are to those of the block alone before it."""
    import torch

    from pytest_diffbench.measure.pace import Pace
    from pytest_diffbench.pipelines.loader import load
    from pytest_diffbench.records import PipelineSpec

    torch.set_num_threads(threads)
    pipeline: Any = load(PipelineSpec(model=model, weights="mini", device="cpu", dtype="float32"))
    pipeline.set_progress_bar_config(disable=True)
    pace = Pace("cpu")
    _block(pipeline, steps, 2, pace)
    ratios: dict[int, list[dict[str, float]]] = {beside: [] for beside in range(MOST_BESIDE + 1)}
    for _ in range(repeats):
        alone = _block(pipeline, steps, calls, pace)
        for beside, ratios_of_block in ratios.items():
            with _busy_loops(beside):
                block = _block(pipeline, steps, calls, pace)
            ratios_of_block.append({name: block_s / alone[name] for name, block_s in block.items()})
    return ratios


def _block(pipeline: Any, steps: int, calls: int, pace: Pace) -> dict[str, float]:
    """Medians of a block, in seconds."""
    import torch

    from pytest_diffbench.measure.waiting import Waiting, net_s, waited_s

    waiting = Waiting()
    times_s: dict[str, list[float]] = {}
    for _ in range(calls):
        for name, kernel_s in pace.read().items():
            times_s.setdefault(name, []).append(kernel_s)
        generator = torch.Generator().manual_seed(0)
        gc.collect()
        gc.disable()
        before, computed_s, begin_s = waiting.read(), time.thread_time(), time.perf_counter()
        pipeline(PROMPT, num_inference_steps=steps, generator=generator)
        wall_s = time.perf_counter() - begin_s
        computed_s = time.thread_time() - computed_s
        waits_s = waited_s(before, waiting.read())
        gc.enable()
        times_s.setdefault(WALL, []).append(wall_s)
        times_s.setdefault(NET, []).append(net_s(wall_s, waits_s, computed_s))
    medians_s = {name: statistics.median(all_s) for name, all_s in times_s.items()}
    kernels_s = [kernel_s for name, kernel_s in medians_s.items() if name not in (WALL, NET)]
    return medians_s | {MEAN: statistics.geometric_mean(kernels_s)}


@contextlib.contextmanager
def _busy_loops(count: int) -> Iterator[None]:
    command = [sys.executable, "-c", "print('on', flush=True)\nwhile True: pass"]
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            loop = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            stack.callback(loop.kill)
            assert loop.stdout is not None
            loop.stdout.readline()
        yield


def _print(threads: int, ratios: dict[int, list[dict[str, float]]]) -> None:
    names = list(ratios[0][0])
    names = [WALL, NET, *(name for name in names if name not in (WALL, NET))]
    print(f"{threads} thread{'s' * (threads > 1)}, against the block alone before:\n")
    print(f"| beside | {' | '.join(names)} |")
    print("|---" * (len(names) + 1) + "|")
    for beside, blocks in ratios.items():
        cells = []
        for name in names:
            block_ratios = sorted(block[name] for block in blocks)
            cells.append(f"{statistics.median(block_ratios):.2f} ({block_ratios[0]:.2f} to {block_ratios[-1]:.2f})")
        what = ("nothing", "one busy loop", "two busy loops")[beside]
        print(f"| {what} | {' | '.join(cells)} |", flush=True)
    print()


if __name__ == "__main__":
    sys.exit(main())
