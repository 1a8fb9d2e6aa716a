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

from pytest_diffbench.judge import Limits, doubts
from pytest_diffbench.records import Round, Run

RECORDING = Path(__file__).parent / "data" / "cpu_shared_2core.jsonl"
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
    return [msgspec.structs.replace(run, rounds=tuple(Round(total_s=one) for one in run.totals_s)) for run in runs]


def replay(runs: list[Run], count: int, planted: float | None = None) -> Answers:
    """Judge each run against the `count` steady runs before it, as a store keeps them.

    With a planted slowdown, only steady runs at the machine's ordinary pace are judged.
    """
    answers: Answers = collections.Counter()
    limits = Limits()
    steady = [doubts(run, limits) is None for run in runs]
    for number, run in enumerate(runs):
        past = [one for one, kept in zip(runs[:number], steady[:number], strict=True) if kept][-count:]
        if len(past) < count:
            continue
        now = run
        if planted is not None:
            if not steady[number] or run.median_s > 1.2 * usual_s():
                continue
            now = msgspec.structs.replace(run, rounds=tuple(Round(total_s=one * planted) for one in run.totals_s))
        answers[make.ask("time", make.observation(run=now), make.reference(runs=past)).reason] += 1
    return answers


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


def test_a_calibration_that_sees_nothing_costs_few_alarms() -> None:
    answers = [replay(recorded_runs("blind"), count) for count in WINDOWS]
    assert sum(one.total() for one in answers) == 198
    assert sum(one["time.slower"] for one in answers) == 1
    assert sum(one["time.faster"] for one in answers) == 1


@pytest.mark.parametrize(("count", "found_rel"), [(3, 0.10), (5, 0.55), (10, 0.89), (20, 0.86)])
def test_a_planted_slowdown_is_found_as_often_as_documented(count: int, found_rel: float) -> None:
    """With a calibration that follows the pace exactly, which is the best there can be."""
    answers = replay(recorded_runs("follows"), count, planted=1.5)
    assert answers["time.slower"] / answers.total() == pytest.approx(found_rel, abs=0.005)
    assert answers["time.same"] == 0


def test_a_noisy_calibration_costs_detections_and_more_runs_win_them_back() -> None:
    """The exact calibration above flatters the rule: here is what noise of 5 % leaves of it."""
    found_rel = {}
    for count in WINDOWS:
        answers = replay(recorded_runs("follows", 0.05), count, planted=1.5)
        found_rel[count] = answers["time.slower"] / answers.total()
    assert found_rel[3] < 0.1
    assert found_rel[5] < 0.5
    assert found_rel[20] > 0.6


def test_simulated_normal_spread_alarms_as_rarely_as_promised() -> None:
    """A/A over normal noise of 5 % with five past runs: .1 % is promised for each direction."""
    rng = random.Random(7)
    alarms = 0
    for _ in range(1000):
        runs = [make.run(12.0 * math.exp(rng.gauss(0, 0.05)), calibration_s=0.02) for _ in range(6)]
        reason = make.ask("time", make.observation(run=runs[-1]), make.reference(runs=runs[:-1])).reason
        alarms += reason == "time.slower"
    assert alarms <= 5
