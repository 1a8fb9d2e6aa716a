"""Whether `compare` finds a fifth more denoiser work in one of two variants, and how often it finds what isn't there.

    python benchmarks/compare_detects.py [--comparisons 20] [--steps 5] [--out results.json]

Each comparison is a fresh process with one thread: two pipelines over the same mini, the second of which calls the
denoiser again at every fifth call and throws the result away; by turns with one that doesn't. Found is a planted
slowdown when the whole interval of the speed-up lies under 1; an alarm is any interval without 1 where nothing was
planted. Prints a Markdown table, and how far ratios of equal code differ from process to process. Exits with 1 where
fewer than 19 of 20 are found, or more than one in 20 is an alarm.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

PROMPT = "a large red circle on a blue background"
_EVERY = 5
_LEAST_DETECTED, _MOST_ALARMS = 0.95, 0.05


def main() -> int:
    """Run the processes, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--comparisons", type=int, default=20, help="of each kind")
    parser.add_argument("--steps", type=int, default=5, help="two calls each: of five, ten")
    parser.add_argument("--out", type=Path, help="JSON file for the figures of each comparison")
    parser.add_argument("--one", choices=["planted", "sound"], help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_comparison(options.one == "planted", options.steps, options.seed)))
        return 0
    results_by_kind: dict[str, list[dict[str, Any]]] = {"planted": [], "sound": []}
    for number in range(options.comparisons):
        for kind, results in results_by_kind.items():
            command = [sys.executable, __file__, "--one", kind, "--steps", str(options.steps), "--seed", str(number)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            results.append(json.loads(done.stdout.splitlines()[-1]))
            summary = {name: value for name, value in results[-1].items() if name != "log_ratios"}
            print(f"{number + 1}: {kind}: {summary}", file=sys.stderr, flush=True)
            if options.out:
                options.out.write_text(json.dumps(results_by_kind, indent=2) + "\n")
    return _tell(results_by_kind)


def _tell(results_by_kind: dict[str, list[dict[str, Any]]]) -> int:
    print(
        "| second variant | comparisons | slower | faster | neither | median speed-up | median half width | blocks |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for kind, results in results_by_kind.items():
        slower = sum(result["high"] < 1 for result in results)
        faster = sum(result["low"] > 1 for result in results)
        middle = statistics.median(result["value"] for result in results)
        width = statistics.median(result["high"] / result["value"] - 1 for result in results)
        blocks = [round(result["blocks"]) for result in results]
        spread = ", ".join(f"{blocks.count(count)} x {count}" for count in sorted(set(blocks)))
        name = "a fifth more denoiser work" if kind == "planted" else "equal"
        print(
            f"| {name} | {len(results)} | {slower} | {faster} | {len(results) - slower - faster} | {middle:.3f}"
            f" | {100 * width:.1f} % | {spread} |"
        )
    sound = results_by_kind["sound"]
    if len(sound) > 1:
        between = statistics.stdev(math.log(result["value"]) for result in sound)
        within = math.sqrt(statistics.fmean(result["standard_error"] ** 2 for result in sound))
        print(
            f"\nEqual variants: speed-ups spread by {100 * between:.2f} % between processes; the standard error"
            f" within one is {100 * within:.2f} %."
        )
    caught = statistics.fmean(result["high"] < 1 for result in results_by_kind["planted"])
    alarms = statistics.fmean(result["high"] < 1 or result["low"] > 1 for result in sound)
    return int(caught < _LEAST_DETECTED or alarms > _MOST_ALARMS)


def _comparison(planted: bool, steps: int, seed: int) -> dict[str, Any]:
    """Compare a pipeline with another one over the same components; returns the speed-up and its interval."""
    from pytest_diffbench.judge.time.speedups import estimate
    from pytest_diffbench.measure.argument_values import describe
    from pytest_diffbench.measure.definition import bind, name_of
    from pytest_diffbench.measure.rounds import drive_plainly
    from pytest_diffbench.measure.runner import Plan
    from pytest_diffbench.pipelines.loader import load
    from pytest_diffbench.pipelines.registry import model_named
    from pytest_diffbench.records import Definition, PipelineSpec
    from pytest_diffbench.session.comparing import Asked, compare

    first: Any = load(PipelineSpec(model="lumina2", weights="mini", device="cpu", dtype="float32"))
    second = _over_the_same(first, planted)
    arguments = dict(model_named("lumina2").mini_recommended) | {"num_inference_steps": steps}
    asked = []
    for name, pipeline in (("first", first), ("second", second)):
        definition = Definition(
            pipeline=name_of(pipeline),
            weights="mini",
            dtype="float32",
            seed=0,
            arguments=describe(bind(pipeline, (PROMPT,), arguments)),
        )
        plan = Plan(case_id=f"detects#{name}", device="cpu", definition=definition, rounds=6, threads=1)
        asked.append(Asked(name, plan, pipeline, (PROMPT,), arguments))
    compared = compare(
        asked,
        "first",
        comparison_id="detects",
        argument=None,
        confidence=0.99,
        precision_rel=0.05,
        seed=seed,
        drive=drive_plainly,
        progress=lambda *_: None,
        measurements=[],
        comparisons=[],
    )
    speedup = compared["second"].speedup_rel
    return {
        "value": speedup.value,
        "low": speedup.low,
        "high": speedup.high,
        "blocks": compared.blocks,
        "standard_error": estimate(compared["second"].report.log_ratios, 0.99).standard_error_log,
        "log_ratios": list(compared["second"].report.log_ratios),
    }


def _over_the_same(pipeline: Any, planted: bool) -> Any:
    """A pipeline of the same class and components, whose calls do a fifth more denoiser work where that is asked."""
    denoiser = pipeline.transformer
    forward = denoiser.forward

    class Second(type(pipeline)):  # type: ignore[misc]  # the class is only known now
        """The same pipeline once more."""

        @functools.wraps(type(pipeline).__call__)
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            calls = 0

            def again(*args: Any, **kwargs: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls % _EVERY == 0:
                    forward(*args, **kwargs)
                return forward(*args, **kwargs)

            if planted:
                denoiser.forward = again
            try:
                return super().__call__(*args, **kwargs)
            finally:
                if planted:
                    del denoiser.forward

    other = Second(**pipeline.components)
    other.set_progress_bar_config(disable=True)
    return other


if __name__ == "__main__":
    sys.exit(main())
