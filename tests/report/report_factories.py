"""Realistic records for the tests of reports: a mini Lumina2 on two cores, and a full-size FLUX on a GPU.

Their verdicts are those of the real judge.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from pytest_diffbench.judge import Limits, judge
from pytest_diffbench.outputs.pixels import image_digest
from pytest_diffbench.records import (
    DECISIONS,
    GATES,
    CallGroup,
    Case,
    CaseReport,
    Decision,
    Definition,
    Environment,
    Fact,
    Gate,
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
    SaveOutcome,
    SessionReport,
    Stage,
    StageMemory,
    Verdict,
    Work,
    baseline_of,
    format_steps,
)
from pytest_diffbench.records.artifacts import Artifacts, Reference
from pytest_diffbench.records.details import MetricFigure, OutputDetails, TimeDetails
from pytest_diffbench.report.sentences import all_worded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FILE = "benchmarks/test_guidance.py"
BASELINE = "baselines/cpu-amd-epyc-7b13-2c/test_guidance-test_cfg_trunc-0.5-1f6c"
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


def verdict(gate: Gate, what: str, decision: Decision, message: str = "", **rest: Any) -> Any:
    """A verdict whose reason is `gate.what`; details of the time gate may be given by name."""
    if isinstance(rest.get("details"), dict):
        rest["details"] = TimeDetails(**rest["details"])
    return Verdict(
        gate=gate, decision=decision, reason=f"{gate}.{what}", message=message or f"{gate} {what}.", **rest
    )


def image_details(*further: dict[str, float | None], **values: float | None) -> OutputDetails:
    """The figures of a comparison of images: metrics of the first by name, and of further ones."""
    images = tuple({name: MetricFigure(value=value) for name, value in image.items()} for image in (values, *further))
    return OutputDetails(images=images)


@functools.cache
def picture(side_px: int, shift_px: int = 0) -> NDArray[np.uint8]:
    """A red disc on blue, (side, side, 3); shifted to the right where that is wanted."""
    down, right = np.indices((side_px, side_px))
    disc = (down - side_px / 2) ** 2 + (right - side_px / 2 - shift_px) ** 2 < (side_px / 4) ** 2
    return np.where(disc[..., None], (200, 30, 30), (30, 60, 160)).astype(np.uint8)


def past_runs(observation: Observation, count: int = 6) -> tuple[Run, ...]:
    """Runs of a baseline as fast as this one, each of a day of its own and a percent or less apart."""
    now = observation.run
    return tuple(
        msgspec.structs.replace(
            now, id=f"{day:012x}", started=f"2025-05-{day + 20:02}T03:00:00+00:00", rounds=_scaled(now, factor)
        )
        for day, factor in enumerate((1.0, 1.008, 0.994, 1.003, 0.997, 1.005)[:count], start=1)
    )


def _scaled(now: Run, factor: float) -> tuple[Round, ...]:
    return tuple(
        msgspec.structs.replace(
            timed,
            total_s=factor * timed.total_s,
            stages_s={stage: factor * time_s for stage, time_s in timed.stages_s.items()},
            steps_s=tuple(factor * step_s for step_s in timed.steps_s),
        )
        for timed in now.rounds
    )


def judged(
    observation: Observation,
    before: Observation | None,
    *,
    runs: Sequence[Run] | None = None,
    fresh: Sequence[Run] = (),
    pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None,
) -> dict[Gate, Any]:
    """What the real judge says of a case.

    Args:
        observation: the case.
        before: what its baseline was made of; None where there is none.
        runs: of the baseline; six as fast as `before` by default.
        fresh: runs of fresh processes that confirm.
        pictures: the baseline's and this call's, where they differ.
    """
    old, new = ((image,) for image in pictures) if pictures is not None else ((), ())
    reference = None
    if before is not None:
        kept = before if pictures is None else msgspec.structs.replace(before, output=pictured(before.output, *old))
        reference = Reference(
            baseline_of(kept, past_runs(before) if runs is None else runs),
            "machine",
            BASELINE,
            lambda: Artifacts(images=old),
        )
    answers = judge(observation, Artifacts(images=new), reference, Limits(), GATES, more_runs=fresh)
    present = [answer for answer in all_worded(answers) if not answer.reason.startswith("guidance.not_seen")]
    return {answer.gate: answer for answer in present}


def pictured(before: Output | None, image: NDArray[np.uint8]) -> Output:
    """An output of this picture."""
    assert before is not None
    facts = msgspec.structs.replace(before.images[0], digest=image_digest(image))
    return msgspec.structs.replace(before, images=(facts,))


@functools.lru_cache(maxsize=64)
def _passing(encoded: bytes) -> dict[Gate, Any]:
    observation = msgspec.json.decode(encoded, type=Observation)
    return judged(observation, observation)


def report(
    observation: Observation, *changed: Verdict, verdicts: dict[Gate, Any] | None = None, **fields: Any
) -> CaseReport:
    """A case as the judge finds it beside a baseline that is like it, but for some of its verdicts.

    Args:
        observation: the case.
        *changed: verdicts that only a unit test invents.
        verdicts: those of `judged`, where the baseline is another.
        **fields: of the report.
    """
    case = msgspec.structs.replace(observation.case, id="any")  # verdicts are the same, whatever the case is called
    alike = msgspec.json.encode(msgspec.structs.replace(observation, case=case))
    found = (_passing(alike) if verdicts is None else verdicts) | {answer.gate: answer for answer in changed}
    fields = {"baseline_path": BASELINE, "baseline_distance": "machine"} | fields
    return CaseReport(
        observation=observation, verdicts=tuple(found[gate] for gate in GATES if gate in found), **fields
    )


def session(*cases: CaseReport, missing: tuple[str, ...] = (), interrupted: bool = False) -> SessionReport:
    """A session of cases, its verdicts counted."""
    decisions = [one.decision for case in cases for one in case.verdicts]
    return SessionReport(
        diffbench="0.1.0",
        started="2025-06-03T09:14:02+00:00",
        finished="2025-06-03T09:15:31+00:00",
        interrupted=interrupted,
        settings={"weights": "mini", "device": "auto", "rounds": 5, "save": False, "json": "diffbench.json"},
        counts={decision: decisions.count(decision) for decision in DECISIONS},
        missing_baselines=missing,
        cases=cases,
    )


def all_pass() -> SessionReport:
    """Fifteen cases, all as they were or better."""
    quick = lumina("test_long_prompt", ratio=0.5, total_factor=0.75)
    slow = lumina("test_long_prompt", ratio=0.5, total_factor=0.95)
    faster = judged(quick, slow, fresh=_fresh(quick))
    before, after = picture(128), picture(128).copy()
    after[40:60, 40:60] += 1
    drifted = lumina("test_other_threads")
    drifted = msgspec.structs.replace(drifted, output=pictured(drifted.output, after))
    trunc = [
        report(lumina(f"test_cfg_trunc[{ratio:g}]", ratio=ratio)) for ratio in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.25)
    ]
    renorm = [report(lumina(f"test_cfg_renorm[{name}]", renorm=name == "on")) for name in ("on", "off")]
    seeds = [report(lumina(f"test_seeds[{seed}]", steps=20)) for seed in range(3)]
    return session(
        *trunc,
        *renorm,
        *seeds,
        report(quick, verdicts=faster),
        report(drifted, verdicts=judged(drifted, lumina("test_other_threads"), pictures=(before, after))),
        report(flux("test_flux")),
    )


def _fresh(observation: Observation) -> list[Run]:
    """Two runs of fresh processes that confirm."""
    now = observation.run
    return [
        msgspec.structs.replace(now, id=f"f{number:011x}", rounds=_scaled(now, factor))
        for number, factor in enumerate((1.004, 0.996))
    ]


def slower() -> CaseReport:
    """Truncation that is ignored, and takes its time."""
    before, after = picture(128), picture(128, shift_px=9)
    now = lumina("test_cfg_trunc[0.5]", ratio=0.5, guided=30)
    now = msgspec.structs.replace(now, output=pictured(now.output, after))
    then = lumina("test_cfg_trunc[0.5]", ratio=0.5)
    return report(
        now,
        verdicts=judged(now, then, fresh=_fresh(now), pictures=(before, after)),
        changed_since=("torch 2.12.0 -> 2.13.0", "git_commit 90bd22f1a6c3 -> 1c9d2e7a40b1"),
    )


def unbaselined(observation: Observation, **fields: Any) -> CaseReport:
    """A case without a baseline."""
    fields = {"baseline_path": None, "baseline_distance": None} | fields
    return report(observation, verdicts=judged(observation, None), **fields)


def on_fewer_cores(before: Observation) -> Observation:
    """A case as a machine of the same name with one core measured it."""
    there = before.run.environment
    hardware = there.hardware | {"cpus": 1}
    environment = msgspec.structs.replace(there, hardware=hardware)
    return msgspec.structs.replace(before, run=msgspec.structs.replace(before.run, environment=environment))


def red() -> SessionReport:
    """Every decision, a case that broke off, one that was saved and one that wasn't."""
    young = lumina("test_cfg_trunc[0.7]", ratio=0.7)
    renorm = lumina("test_cfg_renorm[on]", renorm=True)
    moved = on_fewer_cores(renorm)
    quick = lumina("test_seeds[1]", steps=20, total_factor=0.8)
    faster = judged(quick, lumina("test_seeds[1]", steps=20), fresh=_fresh(quick))
    new = unbaselined(lumina("test_new_prompt[a|b]"))
    broken = CaseReport(
        observation=msgspec.structs.replace(
            lumina("test_huge"),
            complete=False,
            work=None,
            output=None,
            memory=None,
            layers=None,
            guidance=None,
            run=msgspec.structs.replace(run(cpu(), {"denoise": 1.0}, 30), rounds=()),
            notes=("no call of a denoiser was seen",),
        ),
        verdicts=(),
        error="the device ran out of memory (tried to allocate 96.00 GiB). Measured so far: survey, 0 rounds.",
    )
    return session(
        report(lumina("test_cfg_trunc[1]")),
        report(
            young,
            verdicts=judged(young, young, runs=past_runs(young, 1)),
            changed_since=("torch 2.12.0 -> 2.13.0",),
        ),
        slower(),
        report(moved, verdicts=judged(moved, renorm)),
        new,
        broken,
        report(quick, verdicts=faster),
        unbaselined(lumina("test_saved", ratio=0.25), saved=SaveOutcome(what="created")),
        report(
            flux("test_flux"),
            saved=SaveOutcome(what="refused", why="the rounds never became steady (they spread by 31 %)"),
        ),
        missing=(new.observation.case.id,),
    )


def interrupted() -> SessionReport:
    """Ctrl-C in the second case."""
    second = lumina("test_cfg_trunc[0.5]", ratio=0.5)
    half = msgspec.structs.replace(second.run, rounds=second.run.rounds[:2])
    return session(
        report(lumina("test_cfg_trunc[1]")),
        CaseReport(observation=msgspec.structs.replace(second, run=half, complete=False), verdicts=()),
        interrupted=True,
    )


def empty() -> SessionReport:
    """Nothing was measured."""
    return session()
