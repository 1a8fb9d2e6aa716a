"""Every reason code is reached by a case, and explained in the documentation."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import judge_factories as make
import msgspec
import numpy as np
import pytest
import returned_parts as returned
from golden_files import assert_equals_file

from pytest_diffbench.errors import BaselineError
from pytest_diffbench.judge import REASONS, Limits, judge_pairs
from pytest_diffbench.judge.reasons import FORMER_NAMES, Reason, verdict
from pytest_diffbench.outputs.kinds import Rates
from pytest_diffbench.records import (
    GATES,
    MASKED_ATTENTION,
    Case,
    Engagement,
    GuidanceStep,
    Memory,
    Ratio,
    RatioRun,
    RerunNoise,
    Round,
    StageMemory,
    Telemetry,
)
from pytest_diffbench.records.artifacts import Artifacts
from pytest_diffbench.report.sentences import worded

if TYPE_CHECKING:
    from pytest_diffbench.records import Observation, Run
    from pytest_diffbench.records.artifacts import Reference

DOCS = Path(__file__).parents[2] / "docs" / "verdicts.md"


@dataclasses.dataclass(frozen=True)
class Scenario:
    observation: Observation
    against: Reference | None
    artifacts: Artifacts | None = None
    fresh: int = 0
    """Runs of fresh processes that repeat the first."""


def on(
    observation: Observation | None = None, against: Reference | None = None, artifacts: Artifacts | None = None
) -> Scenario:
    return Scenario(observation or make.observation(), against or make.reference(), artifacts)


def other_definition() -> Observation:
    return make.observation(case=Case(id="case", definition=make.definition(num_inference_steps=20)))


def planned() -> Observation:
    guided = GuidanceStep(branches=("cond", "uncond"), used="guided", sign=0)
    steps = half(guided, GuidanceStep(branches=("cond",), used="cond", sign=0))
    definition = msgspec.structs.replace(make.definition(), weights="plan")
    return make.observation(case=Case(id="case", definition=definition), guidance=make.guidance(steps))


def with_work(*groups: Any, **changed: Any) -> Scenario:
    return on(make.observation(work=make.work(groups or None, **changed)))


def with_run_of_timesteps(timesteps: tuple[float, ...]) -> Scenario:
    base = make.observation(work=make.work(None, timesteps=(1000.0, 400.0)))
    return on(make.observation(work=make.work(None, timesteps=timesteps)), make.reference(base))


def with_steps(steps: list[Any], **arguments: Any) -> Scenario:
    return on(make.observation(guidance=make.guidance(steps, **arguments)))


NOTHING = make.output(latents_shape=None, latents_dtype=None)


def with_parts(field: str, content: Any, against: Reference | None = None, **value: Any) -> Scenario:
    """A film against the film that was accepted."""
    parts, film = returned.read(field, content, **value), returned.read("frames", returned.film())
    observation = make.observation(output=returned.output_of(parts))
    accepted = make.observation(output=returned.output_of(film))
    reference = against or make.reference(accepted, stored=returned.artifacts_of(film))
    return on(observation, reference, returned.artifacts_of(parts))


def half(guided: Any, plain: Any = None) -> list[Any]:
    return [guided] * make.GUIDED + [plain or make.plain_step()] * (make.STEPS - make.GUIDED)


def with_image(image: Any, against: Reference | None = None, **changed: Any) -> Scenario:
    return on(make.observation(output=make.output(image, **changed)), against, make.artifacts(image))


def with_memory(now: Memory, base: Memory | None = None, **changed: Any) -> Scenario:
    return on(make.observation(memory=now), make.reference(make.observation(memory=base or make.memory()), **changed))


def with_run(run: Run, **changed: Any) -> Scenario:
    return on(make.observation(run=run), make.reference(**changed))


def unreadable() -> Artifacts:
    raise BaselineError("image-0.png", "isn't an image", "Restore it.")


def noise(psnr_db: float) -> RerunNoise:
    return RerunNoise(rounds=5, identical=False, psnr_db=psnr_db, latents_rel=0.1)


def confirmed(scenario: Scenario) -> Scenario:
    return dataclasses.replace(scenario, fresh=2)


def crowded(median_s: float, waited_s: float) -> Run:
    run = make.run(median_s)
    telemetry = Telemetry(waited_s=waited_s)
    return msgspec.structs.replace(
        run, rounds=tuple(msgspec.structs.replace(timed, telemetry=telemetry) for timed in run.rounds)
    )


def apart(*medians_s: float, days: int) -> list[Run]:
    """Runs of so many days, as evenly as may be."""
    return [
        make.run(median_s, started=f"2025-12-{1 + n * days // len(medians_s):02}T0{n}:00:00Z")
        for n, median_s in enumerate(medians_s)
    ]


def clocked(median_s: float, sm_clock_mhz: float) -> Run:
    run = make.run(median_s)
    telemetry = Telemetry(sm_clock_mhz=sm_clock_mhz)
    rounds = tuple(msgspec.structs.replace(timed, telemetry=telemetry) for timed in run.rounds)
    return msgspec.structs.replace(run, rounds=rounds)


def without_first(run: Run, total_s: float) -> Run:
    return msgspec.structs.replace(run, rounds=(Round(total_s=total_s), *run.rounds[1:]))


def unattributed(run: Run, share_rel: float) -> Run:
    rounds = tuple(
        Round(
            total_s=timed.total_s,
            stages_s={"denoise": timed.total_s * (1 - share_rel), "unattributed": timed.total_s * share_rel},
        )
        for timed in run.rounds
    )
    return msgspec.structs.replace(run, rounds=rounds)


def with_ratio(now: Ratio, base: Ratio, *, median_s: float = 12.0, fresh: int = 0) -> Scenario:
    observation = make.observation(ratio=now, run=make.run(median_s))
    reference = make.reference()
    baseline = msgspec.structs.replace(reference.baseline, ratio=base)
    return dataclasses.replace(on(observation, dataclasses.replace(reference, baseline=baseline)), fresh=fresh)


def ratio(speedup: float, error: float = 0.003, **arguments: Any) -> Ratio:
    run = RatioRun(run="run", log_ratio=math.log(speedup), standard_error_log=error, blocks=12)
    return Ratio(reference=Case(id="case#full", definition=make.definition(**arguments)), runs=(run,))


def stored(speedup: float) -> Ratio:
    stored_ratio = ratio(speedup)
    return msgspec.structs.replace(stored_ratio, runs=stored_ratio.runs * 3)


IMAGE = make.BASE_IMAGE
ALL_STEPS = f"0-{make.STEPS - 1}"
SOME_STEPS = f"0-{make.GUIDED - 1}"
COND, UNCOND = make.group("cond", ALL_STEPS), make.group("uncond", SOME_STEPS)
LONGER = make.SHAPES | {"encoder_hidden_states": (1, 128, 64)}
BASE_WORK = make.work()
MEMORY = make.memory()
GROWN = MEMORY.stages | {"denoise": StageMemory(peak_bytes=make.GIB * 15 // 2)}
OTHER_HARDWARE = make.environment(hardware={"name": "another processor", "memory_bytes": 16 * make.GIB})
OTHER_SETTINGS = make.environment(settings={"threads": 2, "attention_backend": "native"})


NEVER_HIT = Engagement(
    component="transformer", kind="cache", name="FirstBlockCache", layers=2, active=0, reached=60, chances=29
)


def operators(masked: int = 0, **counts: int) -> dict[str, dict[str, int]]:
    return {"transformer": {MASKED_ATTENTION: masked, **counts}}


def counted(**now: Any) -> Scenario:
    before: dict[str, Any] = {"operators": operators(attention=10, add=5), "python_calls": {"transformer": 1000}}
    return on(
        make.observation(work=make.work(**{**before, **now})),
        make.reference(work=make.work(**before, compiled={"graphs": 2})),
    )


def worked(workspace_bytes: int) -> Memory:
    stages = {"vae_decode": StageMemory(peak_bytes=make.GIB, workspace_bytes=workspace_bytes)}
    return make.memory(source="process_rss", stages=stages)


SCENARIOS: dict[str, Scenario] = {
    **{f"{gate}.incomplete": on(make.observation(complete=False)) for gate in GATES},
    **{f"{gate}.not_seen": on(make.observation(**{gate: None})) for gate in GATES if gate != "time"},
    "time.not_seen": on(make.observation(run=make.run(totals_s=[]))),
    **{f"{gate}.definition_changed": on(other_definition()) for gate in GATES if gate != "guidance"},
    **{f"{gate}.no_baseline": Scenario(make.observation(), None) for gate in GATES if gate != "guidance"},
    "work.inert": Scenario(make.observation(work=make.work(engagements=(NEVER_HIT,))), None),
    "work.same": on(),
    "work.less": with_work(COND, make.group("uncond", "0-9")),
    "work.steps": with_work(COND, UNCOND, steps=31),
    "work.schedule": with_run_of_timesteps((1000.0, 500.0)),
    "work.branches": with_work(make.group("joint", ALL_STEPS, batch=2), make.group("cond", ALL_STEPS)),
    "work.attention_mask": counted(operators=operators(masked=10, attention=0, add=5)),
    "work.baseline_not_as_asked": on(
        make.observation(),
        make.reference(work=make.work((COND, make.group("uncond", "0-6")))),
    ),
    "work.compiled": counted(compiled={"graphs": 2, "graph breaks": 1}),
    "work.uncounted": with_work(
        flops=BASE_WORK.flops | {"vae.decode": BASE_WORK.flops["vae.decode"] // 2}, uncounted={"sage::attention": 12}
    ),
    "work.operators": counted(operators=operators(attention=10, add=6)),
    "work.python_calls": counted(operators=operators(attention=10, add=5), python_calls={"transformer": 1100}),
    "work.denoiser_calls": with_work(COND, make.group("uncond", ALL_STEPS)),
    "work.component_calls": with_work(component_calls=BASE_WORK.component_calls | {"vae.decode": 2}),
    "work.shapes": with_work(make.group("cond", ALL_STEPS, shapes=LONGER), UNCOND),
    "work.parameters": with_work(parameters=BASE_WORK.parameters | {"vae": 1_000_001}),
    "work.flops": with_work(flops=BASE_WORK.flops | {"vae.decode": BASE_WORK.flops["vae.decode"] + 1}),
    "guidance.same": on(),
    "guidance.planned": on(planned()),
    "guidance.no_formula": on(make.observation(guidance=make.guidance(pipeline="OwnPipeline"))),
    "guidance.not_as_asked": on(
        make.observation(guidance=make.guidance([make.guided_step(scale=7.5)] * make.STEPS, pipeline="OwnPipeline"))
    ),
    "guidance.newly_read": on(
        make.observation(
            guidance=make.guidance(half(make.guided_step(used="mixed", shares=(4.0, -3.0))), pipeline="OwnPipeline")
        ),
        make.reference(
            guidance=make.guidance(half(make.guided_step(used="unknown")), pipeline="OwnPipeline").groups()
        ),
    ),
    "guidance.changed": on(
        make.observation(guidance=make.guidance(half(make.guided_step(scale=7.5)), pipeline="OwnPipeline")),
        make.reference(guidance=make.guidance(half(make.guided_step()), pipeline="OwnPipeline").groups()),
    ),
    "guidance.steered": on(
        make.observation(
            guidance=make.guidance(half(make.guided_step(scale=7.5))),
            case=Case(id="case", definition=make.definition(callback_on_step_end={"type": "mine.Cutoff"})),
        )
    ),
    "guidance.unknown": with_steps(half(make.guided_step(used="unknown"))),
    "guidance.steps": with_steps([*half(make.guided_step()), make.plain_step()]),
    "guidance.extra_steps": with_steps([make.guided_step()] * make.STEPS),
    "guidance.missing_steps": with_steps([make.plain_step()] * make.STEPS),
    "guidance.wrong_branch": with_steps(
        half(make.guided_step(), make.plain_step(branches=("uncond",), used="uncond"))
    ),
    "guidance.wasted_call": with_steps(half(make.guided_step(), make.plain_step(branches=("cond", "uncond")))),
    "guidance.sign": with_steps(half(make.guided_step(sign=1))),
    "guidance.scale": with_steps(half(make.guided_step(scale=4.5))),
    "guidance.renorm_missing": with_steps(
        half(make.guided_step(gain_min=1.0, gain_max=1.0, norm_ratio_min=1.3, norm_ratio_max=2.4))
    ),
    "guidance.renorm_wrong": with_steps(half(make.guided_step(norm_ratio_min=0.9, norm_ratio_max=1.0))),
    "guidance.renorm_unasked": with_steps(half(make.guided_step()), cfg_normalization=False),
    "guidance.gain": with_steps(
        half(make.guided_step(norm_ratio_min=0.9, norm_ratio_max=1.2)), cfg_normalization=False
    ),
    "output.unrecognised": on(
        make.observation(output=make.output(latents_shape=None, unrecognised="list of 3 str")),
        make.reference(make.observation(output=make.output(latents_shape=None))),
    ),
    "output.not_in_baseline": with_parts("frames", returned.film(), make.reference(make.observation(output=NOTHING))),
    "output.silent": with_parts("audio", 0 * returned.recording()),
    "output.kind": with_parts("frames", 3 * returned.film()),
    "output.length": with_parts("frames", returned.film(frames=11)),
    "output.rate": with_parts("frames", returned.film(), rates=Rates(video_hz=16.0)),
    "output.not_kept": on(make.observation(output=make.output(make.noisy(IMAGE, 1))), artifacts=Artifacts()),
    "output.not_finite": on(make.observation(output=make.output(IMAGE, finite=False))),
    "output.no_images": on(make.observation(output=make.output())),
    "output.lost": on(make.observation(output=make.output(latents_shape=None, no_images="NoneType is no image"))),
    "output.global_generator": with_image(
        IMAGE, rerun=msgspec.structs.replace(noise(25), drew_from=("torch on the CPU",))
    ),
    "output.constant": with_image(np.zeros((128, 128, 3), np.uint8)),
    "output.count": on(make.observation(output=make.output(IMAGE, IMAGE)), artifacts=make.artifacts(IMAGE, IMAGE)),
    "output.size": with_image(make.picture(size_px=96)),
    "output.mode": with_image(IMAGE[:, :, 0]),
    "output.same_bits": on(),
    "output.within_tolerance": with_image(make.noisy(IMAGE, 1)),
    "output.differs": with_image(make.noisy(IMAGE, 20)),
    "output.weights": with_image(
        make.noisy(IMAGE, 20),
        make.reference(make.observation(output=make.output(IMAGE, weights={"unet": "a"}))),
        weights={"unet": "b"},
    ),
    "output.nondeterministic": with_image(make.noisy(IMAGE, 1), rerun=noise(25)),
    "output.rerun_noise": with_image(
        make.noisy(IMAGE, 60), make.reference(make.observation(output=make.output(IMAGE, rerun=noise(12))))
    ),
    "output.trace": on(
        make.observation(output=make.output(make.noisy(IMAGE, 1))),
        artifacts=make.artifacts(make.noisy(IMAGE, 1), texts=0.01),
    ),
    "output.decoder": with_image(np.minimum(IMAGE, 247) + np.uint8(8), make.reference(distance="family")),
    "output.other_machine": on(
        make.observation(output=make.output(np.minimum(IMAGE, 247) + np.uint8(8))),
        make.reference(distance="family"),
        make.artifacts(np.minimum(IMAGE, 247) + np.uint8(8), scale=0.05),
    ),
    "memory.same": on(),
    "memory.less": with_memory(make.memory(6 * make.GIB)),
    "memory.peak": with_memory(make.memory(9 * make.GIB)),
    "memory.stage": with_memory(make.memory(stages=GROWN)),
    "memory.workspace": with_memory(worked(3 * 2**20), worked(2**20)),
    "memory.reserved": with_memory(make.memory(reserved_bytes=10 * make.GIB)),
    "memory.rough": with_memory(make.memory(source="process_lifetime"), make.memory(source="process_lifetime")),
    "memory.source": with_memory(make.memory(source="process_rss")),
    "memory.hardware": with_run(make.run(env=OTHER_HARDWARE)),
    "memory.settings": with_run(make.run(env=OTHER_SETTINGS)),
    "memory.other_machine": with_memory(MEMORY, distance="family"),
    "time.same": on(),
    "time.faster": confirmed(with_run(make.run(8.0))),
    "time.slower": confirmed(with_run(make.run(18.0))),
    "time.stage_slower": confirmed(with_run(make.run(12.4, decode_s=0.9))),
    "time.step_slower": confirmed(with_run(make.run(12.4, slow_steps=dict.fromkeys(range(23, 30), 0.11)))),
    "time.clocks": confirmed(with_run(clocked(18.0, 1320.0), runs=[clocked(12.0, 1980.0)] * 5)),
    "time.other_machine": with_run(make.run(), distance="family"),
    "time.hardware": with_run(make.run(env=OTHER_HARDWARE)),
    "time.settings": with_run(make.run(env=OTHER_SETTINGS)),
    "time.invalid": with_run(without_first(make.run(), math.nan)),
    "time.parallel": with_run(make.run(env=make.environment(state={"xdist_workers": 4}))),
    "time.traced": with_run(make.run(env=make.environment(state={"traced_by": "coverage"}))),
    "time.unsteady": with_run(make.run(totals_s=[10.0, 12.0, 14.0, 16.0, 18.0])),
    "time.unattributed": with_run(unattributed(make.run(), 0.3)),
    "time.crowded": with_run(crowded(24.0, 12.0)),
    "time.few_runs": with_run(make.run(), runs=[make.run(started="2025-12-01T00:00:00Z")]),
    "time.few_days": with_run(make.run(), runs=apart(9.0, 9.0, 15.0, 15.0, days=2)),
    "time.blind": with_run(make.run(11.0), runs=apart(8.0, 10.0, 12.0, 14.0, days=4)),
    "time.machine_slower": with_run(make.run(18.0, calibration_s=0.03)),
    "time.machine_faster": with_run(make.run(8.0, calibration_s=0.015)),
    "time.no_calibration": with_run(make.run(18.0, calibration_s=None)),
    "time.unconfirmed": with_run(make.run(18.0)),
    "time.ratio_same": with_ratio(ratio(1.33), stored(1.34)),
    "time.ratio_better": with_ratio(ratio(1.60), stored(1.33)),
    "time.ratio_worse": with_ratio(ratio(1.10), stored(1.33), fresh=2),
    "time.ratio_few_runs": with_ratio(ratio(1.33), ratio(1.33)),
    "time.ratio_unconfirmed": with_ratio(ratio(1.10), stored(1.33)),
    "time.ratio_overtaken": with_ratio(ratio(1.10), stored(1.33), median_s=6.0),
    "time.ratio_blind": with_ratio(ratio(1.30, error=0.2), stored(1.33)),
    "time.ratio_reference": with_ratio(ratio(1.33, cfg_trunc_ratio=0.7), ratio(1.33)),
}


PAIRED = {"time.few_pairs": lambda: judge_pairs([(make.run(), make.run())], Limits(), 1, "cpu")}
"""Of two environments in one session, which no gate is asked about."""


def asked(reason: str) -> Any:
    scenario = SCENARIOS[reason]
    gate = next(name for name in GATES if reason.startswith(f"{name}."))
    fresh = [scenario.observation.run] * scenario.fresh
    ratios = scenario.observation.ratio.runs * scenario.fresh if scenario.observation.ratio is not None else ()
    return make.ask(
        gate,
        scenario.observation,
        scenario.against,
        returned=scenario.artifacts,
        more_runs=fresh,
        more_ratios=ratios,
    )


def test_every_reason_has_a_scenario() -> None:
    assert SCENARIOS.keys() | PAIRED.keys() == REASONS.keys()


@pytest.mark.parametrize("reason", REASONS)
def test_reason_is_reached_with_the_decision(reason: str) -> None:
    answer = worded(PAIRED[reason]()) if reason in PAIRED else asked(reason)
    assert (answer.reason, answer.decision) == (reason, REASONS[reason].decision)
    assert answer.message[-1] in ".!", "a message is a sentence"
    assert "  " not in answer.message
    assert ".." not in answer.message


def test_a_renamed_reason_states_the_former_name() -> None:
    for reason, former in FORMER_NAMES.items():
        assert former not in REASONS
        assert verdict(reason).formerly == former
    assert verdict("guidance.scale").formerly is None


def test_documentation_has_the_registry_as_tables() -> None:
    text, row = DOCS.read_text("utf-8"), re.compile(r"^\| `([a-z]+\.[a-z_]+)` \| .*$", re.MULTILINE)
    assert sorted(row.findall(text)) == sorted(REASONS), "each reason stands in one table"
    assert_equals_file(DOCS, row.sub(lambda line: table_row(REASONS[line[1]]), text))


def table_row(reason: Reason) -> str:
    return f"| `{reason.code}` | {reason.decision} | {reason.meaning} | {reason.remedy} |"


@pytest.mark.parametrize("reason", REASONS.values(), ids=REASONS)
def test_a_reason_for_a_reader_says_what_to_do(reason: Reason) -> None:
    assert bool(reason.remedy) == (reason.decision != "same")
    assert not reason.remedy or (reason.remedy[0].isupper() and reason.remedy[-1] == ".")


def test_unreadable_baseline_images_are_no_verdict_but_an_error() -> None:
    scenario = with_image(make.noisy(IMAGE, 1), dataclasses.replace(make.reference(), artifacts=unreadable))
    with pytest.raises(BaselineError, match=r"image-0\.png"):
        make.ask("output", scenario.observation, scenario.against, returned=scenario.artifacts)
