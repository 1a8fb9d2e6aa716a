"""Records to test the store with: small, valid, and easy to break."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from pytest_diffbench.outputs.pixels import image_digest
from pytest_diffbench.records import (
    CallGroup,
    Case,
    Definition,
    Environment,
    ImageFacts,
    LayerTimes,
    Memory,
    Observation,
    Output,
    RerunNoise,
    Round,
    Run,
    StageMemory,
    Work,
)
from pytest_diffbench.records.artifacts import Artifacts

MODES = {3: "RGB", 4: "RGBA"}


def make_case(test_id: str = "tests/test_cfg.py::test_cfg_trunc[0.5]", **definition: Any) -> Case:
    fields: dict[str, Any] = {
        "pipeline": "Lumina2Pipeline",
        "weights": "mini",
        "model": "lumina2",
        "dtype": "float32",
        "seed": 0,
        "arguments": {"prompt": "ein roter Kreis, 赤い円", "cfg_trunc_ratio": 0.5, "sigmas": None},
    }
    return Case(id=test_id, definition=Definition(**fields | definition))


def make_environment(machine: str = "cpu-model-2c", family: str = "cpu") -> Environment:
    return Environment(
        machine=machine,
        family=family,
        hardware={"cpu": "Model", "cpus": 2},
        settings={"threads": 2},
        software={"torch": "2.9.0"},
        state={"load_1min": 0.25},
    )


def make_run(run_id: str = "run-0", environment: Environment | None = None, total_s: float = 1.1) -> Run:
    rest_s = total_s - 1.0
    timed = Round(
        total_s=total_s,
        stages_s={"text_encode": 0.1, "denoise": 0.8, "vae_decode": 0.1, "unattributed": rest_s},
        steps_s=(0.1, 1 / 3, 0.2 + 0.1),
        output_digest="0123456789abcdef",
    )
    return Run(
        id=run_id,
        started="2026-01-02T03:04:05Z",
        warmup_s=(1.5,),
        rounds=(timed, timed),
        calibration_s=(0.01, 0.011),
        environment=environment or make_environment(),
    )


def make_image(value: int = 7, shape: tuple[int, ...] = (6, 5, 3)) -> np.ndarray[Any, np.dtype[np.uint8]]:
    size = int(np.prod(shape))
    return ((np.arange(size) * 31 + value) % 256).astype(np.uint8).reshape(shape)


def make_artifacts(value: int = 7, shape: tuple[int, ...] = (6, 5, 3), images: int = 1) -> Artifacts:
    return Artifacts(
        images=tuple(make_image(value + index, shape) for index in range(images)),
        trace={
            "latents/final": np.linspace(-2, 2, 24, dtype=np.float32).reshape(1, 4, 2, 3) + np.float32(value),
            "latents/0": np.full(256, value, dtype=np.float32),
        },
    )


def make_output(artifacts: Artifacts) -> Output:
    return Output(
        images=tuple(
            ImageFacts(
                width_px=image.shape[1],
                height_px=image.shape[0],
                mode=MODES[image.shape[2]] if image.ndim == 3 and image.shape[2] > 1 else "L",
                constant=False,
                digest=image_digest(image),
            )
            for image in artifacts.images
        ),
        finite=True,
        latents_shape=(1, 4, 2, 3),
        latents_dtype="float32",
        rerun=RerunNoise(rounds=2, identical=True),
    )


def make_work(flops: int = 10**15) -> Work:
    group = CallGroup(
        component="transformer",
        branch="cond",
        batch=1,
        shapes={"hidden_states": (1, 4, 2, 3), "timestep": (1,)},
        flops=flops,
        steps="0-2",
    )
    return Work(
        steps=3,
        denoiser=(group, msgspec.structs.replace(group, branch="uncond", steps="0,1")),
        component_calls={"transformer": 5, "vae.decode": 1},
        flops={"transformer": 5 * flops, "vae": 3},
        parameters={"transformer": 1000},
        attention_parameters={"transformer": 100},
    )


def make_observation(
    artifacts: Artifacts,
    run: Run | None = None,
    case: Case | None = None,
    **changes: Any,
) -> Observation:
    observation = Observation(
        case=case or make_case(),
        run=run or make_run(),
        work=make_work(),
        output=make_output(artifacts),
        memory=Memory(source="process_rss", peak_bytes=1 << 30, stages={"denoise": StageMemory(peak_bytes=1 << 29)}),
        layers=LayerTimes(attention_s=0.1, other_s=0.2, attention_layers=4),
    )
    return msgspec.structs.replace(observation, **changes)
