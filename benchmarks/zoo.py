"""What is seen in text-to-image pipelines of diffusers, and how much of a call no stage accounts for.

    python benchmarks/zoo.py [--only NAME ...] [--steps 30] [--rounds 15] [--plain]

Builds the pipelines of tests/full/zoo (tiny, random weights, one thread) and measures one call of each with guidance,
or without where the class has none or `--plain` asks for it. Prints a Markdown table; a time is the median over the
rounds, and the unattributed share the ratio of two such medians. Exits with 1 where more than 5 % of a call of at
least 100 ms is unattributed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests" / "full" / "zoo"), str(ROOT / "tests" / "helpers")]

import zoo_kinds as zoo  # noqa: E402 - found by the line above

from pytest_diffbench.records import parse_steps  # noqa: E402 - sorted behind the one above

if TYPE_CHECKING:
    from pytest_diffbench.records import Observation

_LIMIT = 0.05
_LONG_ENOUGH_S = 0.1


def main() -> int:
    """Measure each class, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=list(zoo.ZOO), choices=list(zoo.ZOO), metavar="NAME")
    parser.add_argument("--steps", type=int, default=30, help="of each denoising loop")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--plain", action="store_true", help="call without guidance where the class can be")
    options = parser.parse_args()
    _be_quiet()
    over = []
    print("| class | stages | denoiser calls | other calls | steps | guided | call | unattributed |")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.only:
        seen = _measured(name, options.steps, options.rounds, guided=not options.plain)
        total_s = statistics.median(timed.total_s for timed in seen.run.rounds)
        share = statistics.median(timed.stages_s["unattributed"] for timed in seen.run.rounds) / total_s
        if share > _LIMIT and total_s >= _LONG_ENOUGH_S:
            over.append(name)
        print(_row(name, seen, total_s, share), flush=True)
    print(f"\nover {_LIMIT:.0%} of at least {_LONG_ENOUGH_S * 1000:.0f} ms: {', '.join(over) or 'none'}")
    return 1 if over else 0


def _be_quiet() -> None:
    import diffusers
    import torch
    import transformers

    warnings.simplefilter("ignore")
    diffusers.utils.logging.set_verbosity_error()
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # transformers leaves it without annotations
    torch.set_num_threads(1)


def _measured(name: str, steps: int, rounds: int, *, guided: bool) -> Observation:
    pipeline = zoo.build(name)
    asked = zoo.arguments(name, pipeline, guided) or zoo.arguments(name, pipeline, not guided)
    assert asked is not None
    asked |= {argument: steps for argument in asked if argument.endswith("num_inference_steps")}
    return zoo.measured(name, pipeline, asked, rounds=rounds)


def _row(name: str, seen: Observation, total_s: float, share: float) -> str:
    assert seen.work is not None
    calls: dict[str, int] = {}
    for group in seen.work.denoiser:
        key = f"{group.component} {group.branch}"
        calls[key] = calls.get(key, 0) + len(parse_steps(group.steps))
    denoisers = {group.component for group in seen.work.denoiser}
    others = {part: number for part, number in seen.work.component_calls.items() if part not in denoisers}
    stages = [stage for stage in ("text_encode", "denoise", "vae_decode") if stage in seen.run.rounds[0].stages_s]
    guided = seen.guidance.guided_steps if seen.guidance is not None else 0
    cells = [
        f"`{name}`",
        ", ".join(stages),
        ", ".join(f"{key} {number}" for key, number in calls.items()),
        ", ".join(f"{part} {number}" for part, number in others.items()),
        str(seen.work.steps),
        str(guided),
        f"{total_s * 1000:.0f} ms",
        f"{share:.1%}",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
