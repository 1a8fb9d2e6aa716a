"""Realistic records for the tests of reports: a mini Lumina2 on two cores, and a full-size FLUX on a GPU."""

from __future__ import annotations

from typing import Any

from pytest_diffbench.records import (
    CallGroup,
    Case,
    Definition,
    Environment,
    Fact,
    Guidance,
    GuidanceStep,
    ImageFacts,
    LayerTimes,
    Memory,
    Observation,
    Output,
    RerunNoise,
    Round,
    Run,
    Stage,
    StageMemory,
    Work,
    format_steps,
)

FILE = "benchmarks/test_guidance.py"
SOFTWARE: dict[str, Fact] = {
    "python": "3.11.9",
    "torch": "2.13.0",
    "diffusers": "0.42.1",
    "git_commit": "1c9d2e7a40b1",
}


def cpu() -> Environment:
    """A small virtual machine with two cores."""
    return Environment(
        machine="cpu-amd-epyc-7b13-2c",
        family="cpu",
        hardware={"cpu": "AMD EPYC 7B13", "cpus": 2},
        settings={"threads": 2, "deterministic": False},
        software=SOFTWARE,
        state={"load_1min": 0.41, "xdist_workers": 1},
    )


def gpu() -> Environment:
    """A machine with a data-centre GPU."""
    return Environment(
        machine="cuda-nvidia-h200",
        family="cuda",
        hardware={
            "cpu": "Intel Xeon 8480",
            "cpus": 16,
            "device": "NVIDIA H200",
            "device_memory_bytes": 150_754_820_096,
        },
        settings={"threads": 16, "allocator": None},
        software=SOFTWARE | {"cuda": "12.9", "driver": "575.51"},
        state={"load_1min": 1.02, "xdist_workers": 1},
    )


def run(environment: Environment, stages_s: dict[Stage, float], steps: int, rounds: int = 5) -> Run:
    """A run whose rounds lie within 2 % of the given stages; the median round has exactly these."""
    factors = [1 + 0.01 * (i - rounds // 2) for i in range(rounds)]
    return Run(
        id="6f0d5c1e2b3a",
        started="2025-06-03T09:14:07+00:00",
        warmup_s=(1.9 * sum(stages_s.values()),),
        rounds=tuple(
            Round(
                total_s=factor * sum(stages_s.values()),
                stages_s={stage: factor * value_s for stage, value_s in stages_s.items()},
                steps_s=(factor * stages_s["denoise"] / steps,) * steps,
                output_digest="a3f1c09d4be27765",
            )
            for factor in factors
        ),
        calibration_s=(0.0105,) * rounds,
        environment=environment,
    )


def lumina(
    name: str,
    *,
    ratio: float = 1.0,
    guided: int | None = None,
    renorm: bool = False,
    steps: int = 30,
    step_s: float = 0.0155,
    total_factor: float = 1.0,
) -> Observation:
    """A mini Lumina2: two denoiser calls in each of the first `guided` steps, one in the others.

    Args:
        name: the test's name.
        ratio: `cfg_trunc_ratio`.
        guided: steps that were guided; by default as many as the pipeline's formula says.
        renorm: `cfg_normalization`.
        steps: scheduler steps.
        step_s: time of one denoiser call.
        total_factor: slows everything down.
    """
    expected = sum((i + 1) / steps <= ratio for i in range(steps))
    guided = expected if guided is None else guided
    calls = steps + guided
    arguments: dict[str, Any] = {"prompt": "a red circle on a blue background", "cfg_trunc_ratio": ratio}
    arguments |= {"cfg_normalization": renorm, "num_inference_steps": steps, "height": 128, "width": 128}
    groups = [_calls("cond", list(range(steps)))] + ([_calls("uncond", list(range(guided)))] if guided else [])
    return Observation(
        case=Case(
            id=f"{FILE}::{name}",
            definition=Definition(
                pipeline="Lumina2Pipeline",
                weights="mini",
                model="lumina2",
                dtype="float32",
                seed=0,
                arguments=arguments,
            ),
        ),
        run=run(
            cpu(),
            {
                "text_encode": 0.0121 * total_factor,
                "denoise": calls * step_s * total_factor,
                "vae_decode": 0.112 * total_factor,
                "unattributed": 0.0063,
            },
            steps,
        ),
        work=Work(
            steps=steps,
            denoiser=tuple(groups),
            component_calls={"text_encoder": 2, "transformer": calls, "vae.decode": 1},
            flops={"text_encoder": 41_000_000, "transformer": calls * 206_000_000, "vae.decode": 3_100_000_000},
            parameters={"text_encoder": 410_000, "transformer": 1_205_000, "vae": 240_000},
            attention_parameters={"transformer": 402_000},
        ),
        guidance=Guidance(
            pipeline="Lumina2Pipeline",
            arguments={
                "cfg_trunc_ratio": ratio,
                "cfg_normalization": renorm,
                "guidance_scale": 4.0,
                "num_inference_steps": steps,
            },
            dtype_eps=2.0**-23,
            steps=tuple(
                _guided(renorm) if i < guided else GuidanceStep(branches=("cond",), used="cond", sign=-1)
                for i in range(steps)
            ),
        ),
        output=output(128),
        memory=Memory(
            source="process_rss",
            peak_bytes=851_443_712,
            stages={
                "denoise": StageMemory(peak_bytes=851_443_712),
                "vae_decode": StageMemory(peak_bytes=823_132_160),
            },
        ),
        layers=LayerTimes(attention_s=0.19, other_s=0.31, attention_layers=6),
    )


def _guided(renorm: bool) -> GuidanceStep:
    low, high = (0.83, 0.94) if renorm else (1.0, 1.0)
    return GuidanceStep(
        branches=("cond", "uncond"),
        used="guided",
        sign=-1,
        scale=4.0,
        gain_min=low,
        gain_max=high,
        norm_ratio_min=1.0 if renorm else 1.06,
        norm_ratio_max=1.0 if renorm else 1.21,
        residual_rel=2e-7,
    )


def _calls(branch: Any, steps: list[int]) -> CallGroup:
    return CallGroup(
        component="transformer",
        branch=branch,
        batch=1,
        shapes={"hidden_states": (1, 16, 16, 16)},
        flops=206_000_000,
        steps=format_steps(steps),
    )


def output(side_px: int) -> Output:
    """One picture, equal in all rounds."""
    return Output(
        images=(
            ImageFacts(width_px=side_px, height_px=side_px, mode="RGB", constant=False, digest="a3f1c09d4be27765"),
        ),
        finite=True,
        latents_shape=(1, 16, side_px // 8, side_px // 8),
        latents_dtype="float32",
        rerun=RerunNoise(rounds=7, identical=True),
    )


def flux(name: str) -> Observation:
    """A full-size FLUX, distilled: one call a step, nothing guided."""
    arguments = {
        "prompt": "a red circle on a blue background",
        "num_inference_steps": 50,
        "height": 1024,
        "width": 1024,
    }
    return Observation(
        case=Case(
            id=f"{FILE}::{name}",
            definition=Definition(
                pipeline="FluxPipeline", weights="random", model="flux", dtype="bfloat16", seed=0, arguments=arguments
            ),
        ),
        run=run(
            gpu(),
            {"text_encode": 0.0413, "denoise": 5.882, "vae_decode": 0.0462, "unattributed": 0.0119},
            50,
            rounds=3,
        ),
        work=Work(
            steps=50,
            denoiser=(
                CallGroup(
                    component="transformer",
                    branch="joint",
                    batch=1,
                    shapes={"hidden_states": (1, 4096, 64)},
                    flops=59_500_000_000_000,
                    steps="0-49",
                ),
            ),
            component_calls={"text_encoder": 1, "text_encoder_2": 1, "transformer": 50, "vae.decode": 1},
            flops={"transformer": 2_975_000_000_000_000, "vae.decode": 10_100_000_000_000},
            parameters={"transformer": 11_901_408_320},
            attention_parameters={"transformer": 2_511_127_552},
        ),
        output=output(1024),
        memory=Memory(
            source="cuda_allocator",
            peak_bytes=36_184_522_752,
            reserved_bytes=37_513_854_976,
            stages={
                "denoise": StageMemory(peak_bytes=36_184_522_752, reserved_bytes=37_513_854_976),
                "vae_decode": StageMemory(peak_bytes=35_021_389_824, reserved_bytes=37_513_854_976),
            },
        ),
        layers=LayerTimes(attention_s=2.41, other_s=3.92, attention_layers=57),
    )
