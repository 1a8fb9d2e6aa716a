"""What is seen in pipelines of diffusers, and how much of a call no stage accounts for.

    python benchmarks/zoo.py table [--only NAME ...]
    python benchmarks/zoo.py times [--only NAME ...] [--steps 30] [--rounds 15] [--plain]

`table` prints the table of docs/zoo.md: each class is measured, saved, measured again, and measured with each of its
scales off by a twentieth. Exits with 1 where a second run differs, or a scale that is off isn't red by guidance.

All pipelines are those of tests/full/zoo: tiny, with random weights, on one thread.

`times` measures a call of each text-to-image class with guidance, or without where it has none or `--plain` asks for
it, and prints a Markdown table; a time is the median over the rounds, the unattributed share the ratio of two such
medians. Exits with 1 where more than 5 % of a call of at least 100 ms is unattributed.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests" / "full" / "zoo"), str(ROOT / "tests" / "helpers")]

import zoo_check  # noqa: E402 - found by the line above
import zoo_entry  # noqa: E402
import zoo_kinds as zoo  # noqa: E402
from zoo_table import ENTRIES  # noqa: E402

from pytest_diffbench.records import STAGES, parse_steps  # noqa: E402 - sorted behind those above

if TYPE_CHECKING:
    from pytest_diffbench.records import GuidanceGroup, Observation

_LIMIT = 0.05
_LONG_ENOUGH_S = 0.1


def main() -> int:
    """Measure each class, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True)
    table = commands.add_parser("table", help="what is read of each class")
    table.add_argument("--only", nargs="+", default=list(ENTRIES), choices=list(ENTRIES), metavar="NAME")
    table.set_defaults(run=_print_table)
    times = commands.add_parser("times", help="the shares of stages")
    times.add_argument("--only", nargs="+", default=list(zoo.ZOO), choices=list(zoo.ZOO), metavar="NAME")
    times.add_argument("--steps", type=int, default=30, help="of each denoising loop")
    times.add_argument("--rounds", type=int, default=15)
    times.add_argument("--plain", action="store_true", help="call without guidance where the class can be")
    times.set_defaults(run=_print_times)
    options = parser.parse_args()
    _be_quiet()
    return int(options.run(options))


def _print_table(options: argparse.Namespace) -> int:
    import diffusers
    import torch
    import transformers

    print(f"diffusers {diffusers.__version__}, torch {torch.__version__}, transformers {transformers.__version__}\n")
    print("| class | output | calls | stages | guidance as read | same bits again | a scale off |")
    print("|---|---|---|---|---|---|---|")
    zoo_entry.build(ENTRIES["QwenImagePipeline"])  # libraries are imported as they are needed
    gc.collect()
    gc.freeze()  # each measurement begins with a collection, over all that was imported
    red, amiss = 0, []
    for name in options.only:
        with tempfile.TemporaryDirectory() as folder:
            examined = zoo_check.examine(name, Path(folder))
        same = any(verdict.reason == "output.same_bits" for verdict in examined.again)
        missed = [scale for scale, verdict in examined.off.items() if verdict.decision != "worse"]
        red += bool(examined.off) and not missed
        amiss += [name] if missed or same is bool(ENTRIES[name].draws) else []
        print(_table_row(name, examined, same=same, missed=missed), flush=True)
    print(f"\n{len(options.only)} lines, {red} red by guidance where a scale is off")
    print(f"amiss: {', '.join(amiss) or 'none'}")
    return 1 if amiss else 0


def _table_row(name: str, examined: zoo_check.Examined, *, same: bool, missed: list[str]) -> str:
    observation = examined.observation
    assert observation.work is not None
    calls = ", ".join(f"{part} {number}" for part, number in observation.work.component_calls.items())
    stages = observation.run.rounds[0].stages_s
    off = ", ".join(f"`{scale}` {'missed' if scale in missed else 'red'}" for scale in examined.off)
    cells = [
        f"`{name}`",
        zoo_check.kind_of(observation),
        calls,
        ", ".join(stage for stage in STAGES if stage in stages and stage != "unattributed"),
        _guidance(observation),
        "yes" if same else f"no: {ENTRIES[name].draws} draws from the global generator",
        off or f"none: {ENTRIES[name].no_guidance}",
    ]
    return f"| {' | '.join(cells)} |"


def _guidance(observation: Observation) -> str:
    groups = observation.guidance.groups() if observation.guidance is not None else ()
    return "; ".join(
        f"{', '.join(group.components) + ', ' if group.components else ''}{group.steps}: {_formula(group)}"
        for group in groups
    )


def _formula(group: GuidanceGroup) -> str:
    """What the scheduler's input is made of: `uncond + 4 (cond - uncond)`."""
    match group.used:
        case "guided" | "reused":
            scale = "?" if group.scale is None else f"{group.scale:.3g}"
            if group.scale_span is not None:
                scale = "({:.3g} to {:.3g})".format(*group.scale_span)
            formula = f"uncond + {scale} (cond - uncond)"
        case "mixed":
            formula = " + ".join(f"{share:.3g} p{number}" for number, share in enumerate(group.shares, 1)).replace(
                "+ -", "- "
            )
        case _:
            formula = group.used
    formula = f"-({formula})" if group.sign == -1 and not group.converted else formula
    renorm = ", renormalised" if group.renorm in ("rows", "other") else ""
    return f"{formula}{renorm}{', with the latents' if group.converted else ''}"


def _print_times(options: argparse.Namespace) -> int:
    over = []
    print("| class | stages | denoiser calls | other calls | steps | guided | call | unattributed |")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.only:
        observation = _measured(name, options.steps, options.rounds, guided=not options.plain)
        total_s = statistics.median(timed.total_s for timed in observation.run.rounds)
        share = statistics.median(timed.stages_s["unattributed"] for timed in observation.run.rounds) / total_s
        if share > _LIMIT and total_s >= _LONG_ENOUGH_S:
            over.append(name)
        print(_row(name, observation, total_s, share), flush=True)
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


def _row(name: str, observation: Observation, total_s: float, share: float) -> str:
    assert observation.work is not None
    calls: dict[str, int] = {}
    for group in observation.work.denoiser:
        key = f"{group.component} {group.branch}"
        calls[key] = calls.get(key, 0) + len(parse_steps(group.steps))
    denoisers = {group.component for group in observation.work.denoiser}
    others = {part: number for part, number in observation.work.component_calls.items() if part not in denoisers}
    stages = [
        stage for stage in ("text_encode", "denoise", "vae_decode") if stage in observation.run.rounds[0].stages_s
    ]
    guided = observation.guidance.guided_steps if observation.guidance is not None else 0
    cells = [
        f"`{name}`",
        ", ".join(stages),
        ", ".join(f"{key} {number}" for key, number in calls.items()),
        ", ".join(f"{part} {number}" for part, number in others.items()),
        str(observation.work.steps),
        str(guided),
        f"{total_s * 1000:.0f} ms",
        f"{share:.1%}",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
