"""What faults are planted in: real pipelines, small ones, each measured and judged as the plugin does it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import guidance_pipelines
import msgspec
import numpy as np

from pytest_diffbench.judge import Limits, judge
from pytest_diffbench.measure import definition
from pytest_diffbench.measure.argument_values import describe
from pytest_diffbench.measure.rounds import drive_plainly
from pytest_diffbench.measure.runner import Measurement, Plan
from pytest_diffbench.pipelines.mini import build_mini
from pytest_diffbench.pipelines.registry import MODELS
from pytest_diffbench.records import Baseline, Case, Definition, Observation
from pytest_diffbench.records.artifacts import Artifacts, Reference
from pytest_diffbench.report.sentences import all_worded

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from pytest_diffbench.records import Distance, Gate

    Plant = Callable[[Any], AbstractContextManager[object]]
    """Changes a pipeline for a while."""

GATES: tuple[Gate, ...] = ("work", "guidance", "output")
"""Time and memory have faults of their own."""

PROMPT = "a large red circle on a blue background"
NEGATIVE = "a small green triangle on a yellow background"


@dataclasses.dataclass(frozen=True)
class Subject:
    """A call of a pipeline, whose sound result is the baseline that faults are held against.

    Attributes:
        build: makes the pipeline; the same object each time, since faults are taken out again.
        arguments: of the call.
        weights: `mini` or `own`.
    """

    build: Callable[[], Any]
    arguments: dict[str, Any]
    weights: str = "own"

    @functools.cached_property
    def accepted(self) -> tuple[Observation, Artifacts]:
        """What the sound pipeline gives."""
        return measured(self, rounds=2)


def _mini(name: str) -> Any:
    pipeline: Any = build_mini(MODELS[name])
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


mini = functools.cache(_mini)

_LUMINA2 = {
    "prompt": PROMPT,
    "negative_prompt": NEGATIVE,
    "num_inference_steps": 6,
    "cfg_trunc_ratio": 0.5,
    "height": 128,
    "width": 128,
    "max_sequence_length": 64,
}
_SMALL = {"prompt": PROMPT, "num_inference_steps": 4, "height": 128, "width": 128}

SUBJECTS: dict[str, Subject] = {
    "lumina2": Subject(lambda: mini("lumina2"), _LUMINA2, "mini"),
    "lumina2, renorm off": Subject(lambda: mini("lumina2"), _LUMINA2 | {"cfg_normalization": False}, "mini"),
    "flux": Subject(lambda: mini("flux"), _SMALL | {"num_inference_steps": 6, "max_sequence_length": 32}, "mini"),
    "flux, true CFG": Subject(
        lambda: mini("flux"),
        _SMALL | {"max_sequence_length": 32, "negative_prompt": NEGATIVE, "true_cfg_scale": 3.0},
        "mini",
    ),
    "sdxl": Subject(
        guidance_pipelines.stable_diffusion_xl, _SMALL | {"negative_prompt": NEGATIVE, "guidance_rescale": 0.7}
    ),
    "sd3": Subject(guidance_pipelines.stable_diffusion_3, _SMALL | {"negative_prompt": NEGATIVE}),
}
"""By the name that the table of faults uses. Those of diffusers' other classes have random weights, so that their
pictures show nothing; what they compute is real all the same."""


def measured(
    subject: Subject, plant: Plant | None = None, *, rounds: int = 1, threads: int = 1, **arguments: Any
) -> tuple[Observation, Artifacts]:
    """Measure a subject, with a fault or without one.

    Args:
        subject: what is measured.
        plant: changes it for a while.
        rounds: timed rounds.
        threads: of torch.
        **arguments: of the call that differ; the case's definition doesn't say so.
    """
    pipeline = subject.build()
    asked = subject.arguments | arguments
    plan = Plan(
        case_id="a case",
        device="cpu",
        definition=Definition(
            pipeline=definition.name_of(pipeline),
            weights=subject.weights,  # type: ignore[arg-type]  # `mini` or `own`
            dtype="float32",
            seed=0,
            arguments=describe(definition.bind(pipeline, (), subject.arguments)),
        ),
        rounds=rounds,
        warmup_rounds=0,
        threads=threads,
    )
    with plant(pipeline) if plant is not None else contextlib.nullcontext():
        measurement = Measurement(plan, pipeline, (), asked)
        measurement.take(drive_plainly, lambda *_: None)
    return measurement.observation(complete=True), measurement.artifacts()


def verdicts(
    subject: Subject,
    measurement: tuple[Observation, Artifacts],
    *,
    distance: Distance = "machine",
    limits: Limits | None = None,
) -> dict[Gate, Any]:
    """What the gates say of a measurement beside the subject's own."""
    observation, artifacts = measurement
    then, kept = subject.accepted
    baseline = Baseline(
        case=Case(id=then.case.id, definition=observation.case.definition),
        runs=(then.run,),
        work=then.work,
        output=then.output,
    )
    reference = Reference(baseline=baseline, distance=distance, path="the baseline", artifacts=lambda: kept)
    answers = all_worded(judge(observation, artifacts, reference, limits or Limits(), GATES))
    return {answer.gate: answer for answer in answers}


def measured_afresh(python: Path, name: str, threads: int, folder: Path) -> tuple[Observation, Artifacts]:
    """Measure a sound subject in a process of its own, of that interpreter."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [str(python), str(Path(__file__)), name, str(threads), str(folder)]
    subprocess.run(command, check=True, env=environment)
    observation = msgspec.json.decode((folder / "observation.json").read_bytes(), type=Observation)
    with np.load(folder / "images.npz") as images, np.load(folder / "trace.npz") as trace:
        return observation, Artifacts(images=tuple(images.values()), trace=dict(trace))


def _measure_for_caller(name: str, threads: str, folder: str) -> None:
    observation, artifacts = measured(SUBJECTS[name], threads=int(threads))
    (Path(folder) / "observation.json").write_bytes(msgspec.json.encode(observation))
    np.savez(Path(folder) / "images.npz", *artifacts.images)
    np.savez(Path(folder) / "trace.npz", **artifacts.trace)  # type: ignore[arg-type]  # names of arrays


if __name__ == "__main__":
    _measure_for_caller(*sys.argv[1:])
