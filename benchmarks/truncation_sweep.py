"""Truncation on a mini: time against likeness, and whether the measured speed-up is the one that calls predict.

    python benchmarks/truncation_sweep.py [--model lumina2] [--steps 30] [--rounds 6] [--values 1.0 0.7 0.5 0.25]
                                          [--float64] [--publish FILE.md]

All ratios are measured in one process with one thread, their rounds interleaved as `diffbench.sweep` does it. Prints
a Markdown table of medians, speed-ups with 99 % intervals, and the prediction T / (T - D s), where T and D are the
untruncated call's total and denoise stage, and s the share of denoiser work that is saved. Exits with 1 where a
prediction lies outside its interval.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_diffbench.records import PipelineSpec, Speedup
    from pytest_diffbench.session.compared import Compared

PROMPT = "a large red circle on a blue background"
ARGUMENT = "cfg_trunc_ratio"


def main() -> int:
    """Measure, print the table and what became of the predictions."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="lumina2", choices=["lumina2", "neta-lumina"])
    parser.add_argument("--steps", type=int, help="the mini's own number by default")
    parser.add_argument("--rounds", type=int, default=6, help="blocks at first; up to four times as many follow")
    parser.add_argument("--precision", type=float, default=0.02, help="half width of intervals that is enough")
    parser.add_argument("--values", type=float, nargs="+", default=[1.0, 0.7, 0.5, 0.25])
    parser.add_argument("--float64", action="store_true", help="tell the tiers, by a call in float64")
    parser.add_argument("--publish", type=Path, metavar="FILE", help="write the table to publish: .md, .csv, .tex")
    options = parser.parse_args()
    spec, pipeline, arguments = _mini(options.model, options.steps)
    compared = sweep(
        pipeline,
        spec,
        arguments,
        ARGUMENT,
        options.values,
        options.rounds,
        options.precision,
        threads=1,
        float64=options.float64,
    )
    print(table(compared))
    if options.publish is not None:
        from pytest_diffbench.session.publishing import How, write_table

        write_table(compared.comparison, How(None, 0.99, options.precision, publish=options.publish))
    rows = [variant for variant in compared if variant.name != compared.reference]
    agree = sum(variant.agrees_with_prediction for variant in rows)
    print(
        f"\n{compared.blocks} blocks. {agree} of {len(rows)} predictions lie inside the interval that was measured."
    )
    return int(agree < len(rows))


def _mini(model: str, steps: int | None) -> tuple[PipelineSpec, Any, dict[str, Any]]:
    from pytest_diffbench.pipelines.loader import load
    from pytest_diffbench.pipelines.registry import model_named
    from pytest_diffbench.records import PipelineSpec

    spec = PipelineSpec(model=model, weights="mini", device="cpu", dtype="float32")
    shared = dict(model_named(model).mini_recommended) | ({"num_inference_steps": steps} if steps else {})
    return spec, load(spec), shared


def sweep(
    pipeline: Any,
    spec: PipelineSpec,
    arguments: Mapping[str, Any],
    argument: str,
    values: Sequence[float | bool],
    rounds: int,
    precision_rel: float,
    threads: int | None = None,
    *,
    float64: bool = False,
) -> Compared:
    """Measure the values of an argument against the first of them."""
    from pytest_diffbench.measure.argument_values import describe
    from pytest_diffbench.measure.definition import bind, name_of
    from pytest_diffbench.measure.rounds import drive_plainly
    from pytest_diffbench.measure.runner import Plan
    from pytest_diffbench.records import Definition
    from pytest_diffbench.session.comparing import Asked, compare

    asked = []
    for value in values:
        call = dict(arguments) | {argument: value}
        definition = Definition(
            pipeline=name_of(pipeline),
            weights=spec.weights,
            model=spec.model,
            dtype=spec.dtype,
            seed=0,
            arguments=describe(bind(pipeline, (PROMPT,), call)),
        )
        plan = Plan(
            case_id=f"sweep#{argument}={value!r}",
            device=spec.device,
            definition=definition,
            rounds=rounds,
            threads=threads,
        )
        asked.append(Asked(repr(value), plan, pipeline, (PROMPT,), call, value))
    return compare(
        asked,
        repr(values[0]),
        comparison_id=f"sweep of {argument}",
        argument=argument,
        confidence=0.99,
        precision_rel=precision_rel,
        seed=0,
        drive=drive_plainly,
        progress=lambda *_: None,
        measurements=[],
        comparisons=[],
        float64=float64,
    )


def table(compared: Compared) -> str:
    """The values in Markdown: what each saves, as measured and as counted."""
    lines = [
        f"| `{compared.comparison.argument}` | calls | total | denoise | speed-up (99 %) | predicted "
        "| of denoise (99 %) | PSNR | SSIM |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for variant in compared:
        calls, saved_rel = variant.denoiser_calls, variant.work_saved_rel
        cells = [
            f"{variant.name}",
            f"{calls}" + (f" (-{100 * saved_rel:.1f} %)" if saved_rel else ""),
            f"{variant.result.median_s * 1e3:.0f} ms",
            f"{variant.result.stages_s['denoise'] * 1e3:.0f} ms",
        ]
        if variant.name == compared.reference:
            cells += ["reference", "", "", "", ""]
        else:
            difference = variant.image_difference
            inside = "" if variant.agrees_with_prediction else " **outside**"
            cells += [
                _interval(variant.speedup_rel),
                f"{variant.predicted_speedup_rel:.3f}{inside}",
                _interval(variant.stage_speedups_rel["denoise"]),
                "equal" if difference.psnr_db is None else f"{difference.psnr_db:.1f} dB",
                "" if difference.ssim is None else f"{difference.ssim:.3f}",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _interval(speedup: Speedup) -> str:
    return f"{speedup.value:.3f} ({speedup.low:.3f} to {speedup.high:.3f})"


if __name__ == "__main__":
    sys.exit(main())
