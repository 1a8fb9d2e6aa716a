"""Realistic records for the judges' tests: a 30-step Lumina2 call of which half the steps are guided."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from pytest_diffbench.judge import Limits, judge
from pytest_diffbench.records import (
    Baseline,
    CallGroup,
    Case,
    Definition,
    Environment,
    Guidance,
    GuidanceStep,
    ImageFacts,
    LayerTimes,
    Memory,
    Observation,
    Output,
    RatioRun,
    RerunNoise,
    Round,
    Run,
    StageMemory,
    Verdict,
    Work,
)
from pytest_diffbench.records.artifacts import Artifacts, Reference
from pytest_diffbench.report.sentences import all_worded, worded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_diffbench.outputs.metrics import ImageMetric
    from pytest_diffbench.records import Distance, Gate

STEPS = 30
GUIDED = 15
TFLOP = 10**12
GIB = 2**30
MIB = 2**20
SHAPES = {"hidden_states": (1, 16, 128, 128), "encoder_hidden_states": (1, 256, 64)}


def definition(**arguments: Any) -> Definition:
    passed = {"prompt": "a red circle", "num_inference_steps": STEPS, "cfg_trunc_ratio": 0.5} | arguments
    return Definition(
        pipeline="Lumina2Pipeline", weights="mini", model="lumina2", dtype="float32", seed=0, arguments=passed
    )


def environment(family: str = "cpu", **changed: Any) -> Environment:
    fields: dict[str, Any] = {
        "machine": f"{family}-test",
        "family": family,
        "hardware": {"name": "test processor", "memory_bytes": 16 * GIB},
        "settings": {"threads": 1, "attention_backend": "native"},
        "software": {"torch": "2.13.0"},
        "state": {"xdist_workers": 1},
    }
    return Environment(**(fields | changed))


def run(
    median_s: float = 12.0,
    *,
    totals_s: Sequence[float] | None = None,
    calibration_s: float | None = 0.02,
    decode_s: float = 0.5,
    slow_steps: dict[int, float] | None = None,
    env: Environment | None = None,
    started: str = "2026-01-01T00:00:00Z",
) -> Run:
    """A run of five rounds that lie within 1 % of `median_s`; `slow_steps` adds seconds to single steps."""
    times = (
        totals_s if totals_s is not None else [median_s * (1 + part) for part in (-0.004, 0.003, 0, 0.004, -0.003)]
    )
    rounds = []
    for total_s in times:
        denoise_s = total_s - 0.1 - decode_s - 0.01
        extra = slow_steps or {}
        step_s = (denoise_s - sum(extra.values())) / STEPS
        stages = {"text_encode": 0.1, "denoise": denoise_s, "vae_decode": decode_s, "unattributed": 0.01}
        rounds.append(
            Round(
                total_s=total_s,
                stages_s=stages if denoise_s > 0 else {},  # type: ignore[arg-type]  # names of stages
                steps_s=tuple(step_s + extra.get(step, 0.0) for step in range(STEPS)) if denoise_s > 0 else (),
            )
        )
    return Run(
        id="run",
        started=started,
        warmup_s=(median_s * 1.2,),
        rounds=tuple(rounds),
        calibration_s=(calibration_s,) * 6 if calibration_s is not None else (),
        environment=env or environment(),
    )


def group(branch: str, steps: str, **changed: Any) -> CallGroup:
    fields: dict[str, Any] = {
        "component": "transformer",
        "branch": branch,
        "batch": 1,
        "shapes": SHAPES,
        "flops": 18 * TFLOP,
        "steps": steps,
    }
    return CallGroup(**(fields | changed))


def work(denoiser: Sequence[CallGroup] | None = None, **changed: Any) -> Work:
    groups = (
        tuple(denoiser)
        if denoiser is not None
        else (group("cond", f"0-{STEPS - 1}"), group("uncond", f"0-{GUIDED - 1}"))
    )
    fields: dict[str, Any] = {"steps": STEPS, "denoiser": groups}
    counted = Work(
        **fields,
        component_calls={"text_encoder": 2, "transformer": 0, "vae.decode": 1},
        flops={"text_encoder": TFLOP // 2, "transformer": 0, "vae.decode": 2 * TFLOP},
        parameters={"text_encoder": 2_000_000, "transformer": 5_000_000, "vae": 1_000_000},
        attention_parameters={"transformer": 1_000_000},
    )
    counted = msgspec.structs.replace(
        counted,
        component_calls=counted.component_calls | {"transformer": counted.denoiser_calls},
        flops=counted.flops | {"transformer": sum(_calls(group) * group.flops for group in groups)},
    )
    return msgspec.structs.replace(counted, **changed)


def _calls(group: CallGroup) -> int:
    return Work(
        steps=1, denoiser=(group,), component_calls={}, flops={}, parameters={}, attention_parameters={}
    ).denoiser_calls


def guided_step(**changed: Any) -> GuidanceStep:
    fields: dict[str, Any] = {
        "branches": ("cond", "uncond"),
        "used": "guided",
        "sign": -1,
        "scale": 4.0,
        "gain_min": 0.4,
        "gain_max": 0.7,
        "norm_ratio_min": 1 - 1.2e-7,
        "norm_ratio_max": 1 + 2e-6,
        "residual_rel": 1e-6,
    }
    return GuidanceStep(**(fields | changed))


def plain_step(**changed: Any) -> GuidanceStep:
    fields: dict[str, Any] = {
        "branches": ("cond",),
        "used": "cond",
        "sign": -1,
        "gain_min": 1.0,
        "gain_max": 1.0,
        "norm_ratio_min": 1.0,
        "norm_ratio_max": 1.0,
    }
    return GuidanceStep(**(fields | changed))


def guidance(
    steps: Sequence[GuidanceStep] | None = None, *, pipeline: str = "Lumina2Pipeline", **arguments: Any
) -> Guidance:
    asked = {
        "num_inference_steps": STEPS,
        "guidance_scale": 4.0,
        "cfg_trunc_ratio": 0.5,
        "cfg_normalization": True,
    } | arguments
    taken = steps if steps is not None else [guided_step()] * GUIDED + [plain_step()] * (STEPS - GUIDED)
    return Guidance(pipeline=pipeline, arguments=asked, dtype_eps=2.0**-23, steps=tuple(taken))


def picture(seed: int = 0, size_px: int = 128) -> NDArray[np.uint8]:
    """A drawn shape on a shaded background with a little grain, uint8 RGB."""
    y, x = np.mgrid[0:size_px, 0:size_px]
    image = np.stack([60 + 0.5 * x, 80 + 0.4 * y, 120 + 0 * x], axis=-1).astype(np.float64)
    image[(x - size_px / 2) ** 2 + (y - size_px / 2) ** 2 < (size_px / 4) ** 2] = (200, 40, 40)
    image += np.random.default_rng(seed).normal(0, 4, image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def noisy(image: NDArray[np.uint8], deviation: float, seed: int = 1) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(0, deviation, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def trace(scale: float = 0.0, from_step: int = 0, texts: float = 0.0) -> dict[str, NDArray[np.float32]]:
    """Sketches that are `scale` (relative) off from `from_step` on, and text embeddings that are `texts` off."""
    rng = np.random.default_rng(5)
    entries = {f"text/{n}": rng.normal(size=64) * (1 + texts) for n in range(2)}
    entries |= {f"latents/{step}": rng.normal(size=64) * (1 + scale * (step >= from_step)) for step in range(STEPS)}
    entries["latents/final"] = rng.normal(size=(1, 16, 8, 8)) * (1 + scale)
    return {name: value.astype(np.float32) for name, value in entries.items()}


def facts(image: NDArray[np.uint8]) -> ImageFacts:
    return ImageFacts(
        width_px=image.shape[1],
        height_px=image.shape[0],
        mode={2: "L", 3: "RGB"}[image.ndim] if image.ndim == 2 or image.shape[2] == 3 else "RGBA",
        constant=bool((image == image.reshape(-1)[0]).all()),
        digest=hashlib.sha256(image.tobytes()).hexdigest(),
    )


def output(*images: NDArray[np.uint8], **changed: Any) -> Output:
    fields: dict[str, Any] = {
        "images": tuple(facts(image) for image in images),
        "finite": True,
        "latents_shape": (1, 16, 8, 8),
        "latents_dtype": "float32",
        "rerun": RerunNoise(rounds=5, identical=True),
    }
    return Output(**(fields | changed))


def memory(peak_bytes: int = 8 * GIB, **changed: Any) -> Memory:
    fields: dict[str, Any] = {
        "source": "cuda_allocator",
        "peak_bytes": peak_bytes,
        "reserved_bytes": peak_bytes + GIB,
        "stages": {
            "text_encode": StageMemory(peak_bytes=5 * GIB),
            "denoise": StageMemory(peak_bytes=7 * GIB),
            "vae_decode": StageMemory(peak_bytes=peak_bytes),
        },
    }
    return Memory(**(fields | changed))


BASE_IMAGE = picture()


def observation(**changed: Any) -> Observation:
    fields: dict[str, Any] = {
        "case": Case(id="tests/test_bench.py::test_cfg_trunc", definition=definition()),
        "run": run(),
        "work": work(),
        "guidance": guidance(),
        "output": output(BASE_IMAGE),
        "memory": memory(),
        "layers": LayerTimes(attention_s=3.0, other_s=7.0, attention_layers=26),
    }
    return Observation(**(fields | changed))


def artifacts(*images: NDArray[np.uint8], **entries: float) -> Artifacts:
    return Artifacts(images=images or (BASE_IMAGE,), trace=trace(**entries))  # type: ignore[arg-type]  # a step is a number


def reference(
    base: Observation | None = None,
    *,
    stored: Artifacts | None = None,
    runs: Sequence[Run] | None = None,
    distance: Distance = "machine",
    **changed: Any,
) -> Reference:
    """A baseline of five runs that spread by 1 %, accepted from `base`."""
    base = base or observation()
    fields: dict[str, Any] = {
        "case": base.case,
        "runs": tuple(runs)
        if runs is not None
        else tuple(run(12.0 * (1 + part / 100)) for part in (0, 1, -1, 0.5, -0.5)),
        "work": base.work,
        "output": base.output,
        "memory": base.memory,
        "layers": base.layers,
    }
    kept = stored if stored is not None else artifacts()
    return Reference(
        baseline=Baseline(**(fields | changed)),
        distance=distance,
        path="baselines/cpu-test/case",
        artifacts=lambda: kept,
    )


def judge_all(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
    """Judge, and make the messages."""
    return all_worded(judge(*args, **kwargs))


def ask(
    gate: Gate,
    measured: Observation,
    against: Reference | None = None,
    *,
    returned: Artifacts | None = None,
    limits: Limits | None = None,
    saving: bool = False,
    more_runs: Sequence[Run] = (),
    more_ratios: Sequence[RatioRun] = (),
    peer_runs: Mapping[str, Sequence[Run]] | None = None,
    family_size: int = 1,
    metrics: Sequence[ImageMetric] = (),
) -> Any:
    """The verdict of one gate, after a trip through JSON, which every verdict must survive."""
    (answer,) = judge(
        measured,
        returned or artifacts(),
        against,
        limits or Limits(),
        [gate],
        saving=saving,
        more_runs=more_runs,
        more_ratios=more_ratios,
        peer_runs=peer_runs or {},
        family_size=family_size,
        metrics=metrics,
    )
    answer = worded(answer)
    again = msgspec.json.decode(msgspec.json.encode(answer), type=Verdict)
    assert msgspec.json.decode(msgspec.json.encode(again)) == msgspec.json.decode(msgspec.json.encode(answer))
    assert answer.gate == gate
    return answer
