"""The time gate replayed over recorded runs of identical code on a noisy machine."""

from __future__ import annotations

import collections
import functools
import json
import math
import random
import statistics
from pathlib import Path
from typing import TypeAlias

import judge_factories as make
import msgspec
import pytest

from pytest_diffbench.judge import Limits, doubts, wants_runs
from pytest_diffbench.records import Round, Run

RECORDING = Path(__file__).parents[2] / "judge" / "data" / "cpu_shared_2core.jsonl"
WINDOWS = (3, 5, 10, 20)
Answers: TypeAlias = "collections.Counter[str]"


@functools.cache
def recording() -> tuple[tuple[float, ...], ...]:
    """Rounds of each process, without the two that warmed up."""
    return tuple(tuple(json.loads(line)[2:]) for line in RECORDING.read_text("utf-8").splitlines())


def usual_s() -> float:
    return statistics.median(statistics.median(times_s) for times_s in recording())


def recorded_runs(calibration: str, noise_rel: float = 0.0, seed: int = 0) -> list[Run]:
    """The recording with a simulated calibration: one that follows the machine's pace, or sees nothing of it."""
    rng = random.Random(seed)
    runs = []
    for times_s in recording():
        pace = statistics.median(times_s) / usual_s() if calibration == "follows" else 1.0
        runs.append(make.run(totals_s=times_s, calibration_s=0.02 * pace * math.exp(rng.gauss(0, noise_rel))))
    return [
        msgspec.structs.replace(run, rounds=tuple(Round(total_s=total_s) for total_s in run.totals_s)) for run in runs
    ]


def replay(runs: list[Run], count: int, planted: float | None = None) -> Answers:
    """Judge each run against the `count` steady runs before it, as a store keeps them.

    Where the gate asks for runs of fresh processes, it gets the processes that came next. With a planted slowdown,
    only steady runs at the machine's ordinary pace are judged first.
    """
    answers: Answers = collections.Counter()
    limits = Limits()
    steady = [doubts(run, limits) is None for run in runs]
    for number, run in enumerate(runs):
        past = [run for run, kept in zip(runs[:number], steady[:number], strict=True) if kept][-count:]
        if len(past) < count:
            continue
        if planted is not None and (not steady[number] or run.median_s > 1.2 * usual_s()):
            continue
        now = [slowed(run, planted or 1.0) for run in runs[number : number + limits.time_max_runs]]
        for measured_runs in range(1, len(now) + 1):
            observation, against = make.observation(run=now[0]), make.reference(runs=past)
            answer = make.ask("time", observation, against, more_runs=now[1:measured_runs])
            if not wants_runs(answer):
                break
        answers[answer.reason] += 1
    return answers


def slowed(run: Run, factor: float) -> Run:
    return msgspec.structs.replace(run, rounds=tuple(Round(total_s=total_s * factor) for total_s in run.totals_s))


@pytest.mark.parametrize("count", WINDOWS)
@pytest.mark.parametrize("noise_rel", [0.0, 0.03, 0.05])
def test_identical_code_never_alarms(count: int, noise_rel: float) -> None:
    answers = replay(recorded_runs("follows", noise_rel), count)
    assert answers.total() > 35
    assert answers["time.slower"] == answers["time.faster"] == 0
    within_chance = answers["time.same"] + answers["time.blind"]
    assert within_chance > 0.45 * answers.total(), "a gate that never decides never alarms either"
    if count == 20:
        assert answers["time.same"] > answers["time.blind"], "twenty runs know their spread"


def test_a_calibration_seeing_nothing_costs_few_alarms() -> None:
    """The worst there can be, in a session of one case that has no neighbours to tell of the machine's tail."""
    answers = [replay(recorded_runs("blind"), count) for count in WINDOWS]
    assert sum(answer.total() for answer in answers) == 198
    # docs/time-study.md tells these: three processes in a row at 1.6 times the usual time are what slow code is
    assert sum(answer["time.slower"] for answer in answers) <= 9
    assert sum(answer["time.faster"] for answer in answers) <= 6


def test_without_any_pace_half_as_much_again_is_red_once_ten_runs_show_what_the_machine_does() -> None:
    bare = [msgspec.structs.replace(run, calibration_s=()) for run in recorded_runs("blind")]
    for count in (3, 5):
        assert replay(bare, count)["time.slower"] == 0
    answers = replay(bare, 10, planted=1.5)
    assert answers["time.slower"] > 0.6 * answers.total()
    assert answers["time.same"] == 0


@pytest.mark.parametrize("noise_rel", [0.0, 0.05])
def test_a_planted_slowdown_is_detected_or_left_open_and_more_runs_find_more(noise_rel: float) -> None:
    slower_rel = {}
    for count in WINDOWS:
        answers = replay(recorded_runs("follows", noise_rel), count, planted=1.5)
        slower_rel[count] = answers["time.slower"] / answers.total()
        assert answers["time.same"] == answers["time.faster"] == 0
    assert slower_rel[3] <= slower_rel[10]
    assert slower_rel[20] > 0.75


@pytest.mark.parametrize("confirmations", [0, 2])
def test_simulated_normal_spread_alarms_as_rarely_as_promised(confirmations: int) -> None:
    """A/A over normal noise of 5 % with five past runs: 1 % is promised to a session of one case, in all looks."""
    rng = random.Random(7)
    limits = Limits(time_confirmations=confirmations)
    alarms = 0
    for _ in range(1000):
        past = [make.run(12.0 * math.exp(rng.gauss(0, 0.05)), calibration_s=0.02) for _ in range(5)]
        now: list[Run] = []
        while True:
            now.append(make.run(12.0 * math.exp(rng.gauss(0, 0.05)), calibration_s=0.02))
            observation, against = make.observation(run=now[0]), make.reference(runs=past)
            answer = make.ask("time", observation, against, limits=limits, more_runs=now[1:])
            if not wants_runs(answer):
                break
        alarms += answer.decision == "worse"
    # 19 or fewer in 1000 have a chance of 99.4 % where 1 % is true
    assert alarms <= 19
