"""Cases and sessions for the tests of reports, of realistic records; their verdicts are those of the real judge."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from report_records import cpu, flux, lumina, run

from pytest_diffbench.judge import Limits, judge
from pytest_diffbench.outputs.pixels import image_digest
from pytest_diffbench.records import (
    DECISIONS,
    GATES,
    CaseReport,
    Decision,
    Gate,
    Observation,
    Output,
    Round,
    Run,
    SaveOutcome,
    SessionReport,
    Verdict,
    baseline_of,
)
from pytest_diffbench.records.artifacts import Artifacts, Reference
from pytest_diffbench.records.details import MetricFigure, OutputDetails, TimeDetails
from pytest_diffbench.report.sentences import all_worded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_diffbench.records import Distance

BASELINE = "baselines/cpu-amd-epyc-7b13-2c/test_guidance-test_cfg_trunc-0.5-1f6c"


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
    distance: Distance = "machine",
) -> dict[Gate, Any]:
    """What the real judge says of a case.

    Args:
        observation: the case.
        before: what its baseline was made of; None where there is none.
        runs: of the baseline; six as fast as `before` by default.
        fresh: runs of fresh processes that confirm.
        pictures: the baseline's and this call's, where they differ.
        distance: how near the baseline's machine is.
    """
    old, new = ((image,) for image in pictures) if pictures is not None else ((), ())
    reference = None
    if before is not None:
        kept = before if pictures is None else msgspec.structs.replace(before, output=pictured(before.output, *old))
        reference = Reference(
            baseline_of(kept, past_runs(before) if runs is None else runs),
            distance,
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
    by_gate = (_passing(alike) if verdicts is None else verdicts) | {answer.gate: answer for answer in changed}
    fields = {"baseline_path": BASELINE, "baseline_distance": "machine"} | fields
    return CaseReport(
        observation=observation, verdicts=tuple(by_gate[gate] for gate in GATES if gate in by_gate), **fields
    )


def session(*cases: CaseReport, missing: tuple[str, ...] = (), interrupted: bool = False) -> SessionReport:
    """A session of cases, its verdicts counted."""
    decisions = [verdict.decision for case in cases for verdict in case.verdicts]
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
    elsewhere = lumina("test_elsewhere", ratio=0.5)
    there = report(elsewhere, verdicts=judged(elsewhere, elsewhere, distance="family"), baseline_distance="family")
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
        there,
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
