"""Where the time of each model goes, what truncation and renorm cost or save, and what observing costs: in Markdown.

    python benchmarks/full_size_table.py [--weights random|mini|pretrained] [--device auto] [--dtype bfloat16]
        [--models flux lumina2 neta-lumina] [--steps N] [--side PX] [--rounds 3] [--blocks 6] [--precision 0.01]
        [--values 1.0 0.7 0.5 0.25] [--sections stages truncation renorm overhead]

Each model is called with its prompt, size and steps as recommended, full-size ones at 1024x1024. Prints

1. medians over timed rounds by stage; attention layers (projections included) and the denoiser's other layers, as
   shares of a pass of their own; the share of attention's own operators or kernels in the denoiser, from the profiled
   call; peak memory; achieved arithmetic of the denoiser;
2. truncation on the first Lumina model, renorm off: interleaved, against what the saved calls predict;
3. renorm on against off on that model, without truncation, interleaved;
4. the timed round against the bare call of the first model, as bare, timed, timed, bare.

Each row and section goes to standard error too as soon as it is measured: a run that is cut off has told it.
With `--weights mini` it runs on a CPU in minutes, for trying it out. Exits with 1 where a measurement is incomplete.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from typing import TYPE_CHECKING, Any

import overhead
import truncation_sweep

if TYPE_CHECKING:
    from pytest_diffbench.records import Observation, PipelineSpec, Profile, Stage
    from pytest_diffbench.session.compared import Compared

_SECTIONS = ("stages", "truncation", "renorm", "overhead")

_ATTENTION = re.compile(r"attention|flash|fmha|sdpa|softmax", re.IGNORECASE)
"""Names of operators and kernels that are attention's alone, whichever library they come from."""


def main() -> int:
    """Measure model after model, one in memory at a time."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", default="random", choices=["random", "mini", "pretrained"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", help="by default that of the weights and the device")
    parser.add_argument("--models", nargs="+", default=["flux", "lumina2", "neta-lumina"])
    parser.add_argument("--steps", type=int, help="of every model; its recommended number by default")
    parser.add_argument("--side", type=int, help="height and width in pixels; as recommended by default")
    parser.add_argument("--rounds", type=int, default=3, help="timed, of each model")
    parser.add_argument("--blocks", type=int, default=6, help="of interleaved rounds, at first; at least 6")
    parser.add_argument("--precision", type=float, default=0.01, help="half width of intervals that is enough")
    parser.add_argument("--values", type=float, nargs="+", default=[1.0, 0.7, 0.5, 0.25])
    parser.add_argument("--sections", nargs="+", default=[*_SECTIONS], choices=_SECTIONS)
    options = parser.parse_args()
    stages: list[list[str]] = []
    sections: list[tuple[str, str]] = []
    complete = True
    for number, name in enumerate(options.models):
        spec, pipeline, arguments = _loaded(name, options)
        if not number:
            print(_heading(spec), flush=True)
        if "stages" in options.sections:
            observation = _observed(pipeline, spec, arguments, options.rounds)
            complete &= observation.complete and bool(observation.run.rounds)
            stages.append(_row(name, observation))
            _tell(" | ".join(stages[-1]))
        if "lumina" in name and not any(title.startswith(("Trunc", "Renorm")) for title, _ in sections):
            sections += _guidance(name, pipeline, spec, arguments, options)
        if not number and "overhead" in options.sections:
            sections.append(_overhead(name, pipeline, spec, arguments, options.blocks))
            _tell(sections[-1][1])
        del pipeline
    if stages:
        print(_stages_table(stages))
    for title, text in sections:
        print(f"\n**{title}**\n\n{text}")
    return int(not complete)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _loaded(name: str, options: argparse.Namespace) -> tuple[PipelineSpec, Any, dict[str, Any]]:
    from pytest_diffbench.pipelines.loader import default_dtype, load, parse_dtype, resolve_device
    from pytest_diffbench.pipelines.registry import model_named
    from pytest_diffbench.records import PipelineSpec

    device = resolve_device(options.device)
    dtype = str(parse_dtype(options.dtype or default_dtype(device, options.weights))).removeprefix("torch.")
    spec = PipelineSpec(model=name, weights=options.weights, device=device, dtype=dtype)
    model = model_named(name)
    arguments = dict(model.mini_recommended if options.weights == "mini" else model.recommended)
    given = {"num_inference_steps": options.steps, "height": options.side, "width": options.side}
    return spec, load(spec), arguments | {key: value for key, value in given.items() if value}


def _observed(pipeline: Any, spec: PipelineSpec, arguments: dict[str, Any], rounds: int) -> Observation:
    from pytest_diffbench.measure.argument_values import describe
    from pytest_diffbench.measure.definition import bind, name_of
    from pytest_diffbench.measure.rounds import drive_plainly
    from pytest_diffbench.measure.runner import Measurement, Plan
    from pytest_diffbench.records import Definition

    call = arguments | ({"cfg_normalization": True} if "lumina" in spec.model else {})
    args = (truncation_sweep.PROMPT,)
    definition = Definition(
        pipeline=name_of(pipeline),
        weights=spec.weights,
        model=spec.model,
        dtype=spec.dtype,
        seed=0,
        arguments=describe(bind(pipeline, args, call)),
    )
    plan = Plan(case_id=spec.model, device=spec.device, definition=definition, rounds=rounds, profile=True)
    measurement = Measurement(plan, pipeline, args, call)
    measurement.take(drive_plainly, lambda *_: None)
    return measurement.observation(complete=True)


def _guidance(
    name: str, pipeline: Any, spec: PipelineSpec, arguments: dict[str, Any], options: argparse.Namespace
) -> list[tuple[str, str]]:
    def swept(argument: str, values: list[Any], **fixed: Any) -> Compared:
        return truncation_sweep.sweep(
            pipeline, spec, arguments | fixed, argument, values, options.blocks, options.precision
        )

    tables = []
    if "truncation" in options.sections:
        ratios = swept("cfg_trunc_ratio", options.values, cfg_normalization=False)
        tables.append((f"Truncation, {name}, {ratios.blocks} blocks", truncation_sweep.table(ratios)))
        _tell(tables[-1][1])
    if "renorm" in options.sections:
        renorm = swept("cfg_normalization", [False, True], cfg_trunc_ratio=1.0)
        on = renorm["True"].speedup_rel
        cost = f"| {name} | {_of(renorm['False'])} | {_of(renorm['True'])} | {1 / on.value:.4f} "
        cost += f"| {1 / on.high:.4f} to {1 / on.low:.4f} |"
        head = "| model | off | on | time, on over off | 99 % interval |\n|---|---|---|---|---|"
        tables.append((f"Renorm, {name}, {renorm.blocks} blocks", f"{head}\n{cost}"))
        _tell(tables[-1][1])
    return tables


def _of(variant: Any) -> str:
    from pytest_diffbench.report.units import format_seconds

    return format_seconds(variant.result.median_s)


def _overhead(name: str, pipeline: Any, spec: PipelineSpec, arguments: dict[str, Any], count: int) -> tuple[str, str]:
    from pytest_diffbench.report.units import format_seconds

    blocks = overhead.blocks_s(pipeline, arguments, spec.device, count)
    ratio, low, high = overhead.ratio_of([(sum(block[1:3]), block[0] + block[3]) for block in blocks])
    control, control_low, control_high = overhead.ratio_of([(block[3], block[0]) for block in blocks])
    bare_s = statistics.median(round_s for block in blocks for round_s in (block[0], block[3]))
    timed_s = statistics.median(round_s for block in blocks for round_s in block[1:3])
    head = "| model | calls | bare call | timed round | ratio | 95 % interval | bare against bare |"
    row = (
        f"| {name} | 2 x {2 * count} | {format_seconds(bare_s)} | {format_seconds(timed_s)} | {ratio:.4f} "
        f"| {low:.4f} to {high:.4f} | {control:.4f} ({control_low:.4f} to {control_high:.4f}) |"
    )
    return f"What observing costs, {name}", f"{head}\n|---|---|---|---|---|---|---|\n{row}"


def _stages_table(rows: list[list[str]]) -> str:
    columns = [
        "model",
        "total",
        "text encoding",
        "denoiser",
        "VAE decode",
        "rest",
        "attention layers",
        "other layers",
        "attention's own",
        "peak memory",
        "denoiser's rate",
    ]
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(name: str, observation: Observation) -> list[str]:
    from pytest_diffbench.report.efficiency import efficiency_of, rate_text
    from pytest_diffbench.report.units import format_bytes, format_seconds

    run, steps = observation.run, len(observation.run.step_medians_s)
    stages_s = run.stage_medians_s
    parts: tuple[Stage, ...] = ("text_encode", "denoise", "vae_decode", "unattributed")
    cells = [f"{name}, {steps} steps", format_seconds(run.median_s)]
    cells += [format_seconds(stages_s[stage]) if stage in stages_s else "not seen" for stage in parts]
    # Shares alone: that pass brackets hundreds of layers, which costs time itself.
    attention_rel = None if observation.layers is None else observation.layers.attention_rel
    shares = (attention_rel, None if attention_rel is None else 1 - attention_rel)
    cells += ["not seen" if share is None else f"{100 * share:.0f} %" for share in shares]
    cells.append(_attention_share(observation.profile))
    cells.append(
        "not seen"
        if observation.memory is None
        else f"{format_bytes(observation.memory.peak_bytes)} ({observation.memory.source})"
    )
    efficiency = efficiency_of(observation)
    rated = efficiency is not None and "denoise" in efficiency.flops_per_s
    cells.append(rate_text(efficiency, "denoise") if efficiency is not None and rated else "not seen")
    return cells


def _attention_share(profile: Profile | None) -> str:
    """Share of operators that are attention's alone in the denoiser's time, as the profiled call has it."""
    if profile is None:
        return "not seen"
    denoising = [operator for operator in profile.operators if operator.stage == "denoise"]
    total_s = sum(operator.self_s for operator in denoising)
    if not total_s:
        return "not seen"
    share = sum(operator.self_s for operator in denoising if _ATTENTION.search(operator.name)) / total_s
    return f"{100 * share:.0f} % of {'kernels' if profile.kind == 'device' else 'operators'}"


def _heading(spec: PipelineSpec) -> str:
    import torch

    from pytest_diffbench.measure.environment import environment_of

    environment = environment_of(spec.device, None)
    device = environment.hardware.get("device") or f"{environment.hardware['cpu']}, {torch.get_num_threads()} threads"
    software = " · ".join(f"{name} {environment.software[name]}" for name in ("torch", "diffusers", "transformers"))
    return f"{device} · {spec.weights} weights · {spec.dtype} · {software}\n"


if __name__ == "__main__":
    sys.exit(main())
