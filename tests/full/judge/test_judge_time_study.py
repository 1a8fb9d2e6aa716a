"""The study of benchmarks/time_rules_study.py in small: its fast path is the gate, which keeps its word."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import judge_factories as make
import numpy as np
import pytest

from pytest_diffbench.judge import Limits, wants_runs

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import time_noise
import time_rivals
import time_rules_study as study

if TYPE_CHECKING:
    from pytest_diffbench.records import Run

NOISES = {
    "gpu": time_noise.gpu(0.01),
    "follows": time_noise.recorded("follows", 0.05),
    "blind": time_noise.recorded("blind", 0.02),
}


def records(processes: time_noise.Processes, noise: time_noise.Noise) -> list[Run]:
    return [
        time_noise.run_of(rounds_s, float(pace_s), noise.names, noise.family, int(day))
        for rounds_s, pace_s, day in zip(processes.rounds_s, processes.pace_s, processes.day, strict=True)
    ]


def by_the_gate(past: list[Run], around: dict[str, list[Run]], now: list[Run]) -> tuple[str, int]:
    """What the judge says of whole records, and how many runs it took."""
    for count in range(1, len(now) + 1):
        answer = make.ask(
            "time",
            make.observation(run=now[0]),
            make.reference(runs=past),
            more_runs=now[1:count],
            peer_runs=around,
            family_size=time_noise.CASES,
        )
        if not wants_runs(answer):
            break
    return answer.reason.removeprefix("time."), count


@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("slower_rel", [0.0, 0.03, 0.05, 0.3])
def test_the_study_answers_as_the_gate_does(kind: str, slower_rel: float) -> None:
    noise, limits = NOISES[kind], Limits()
    rng, gate = np.random.default_rng(11), study.Gate(NOISES[kind], limits)
    reasons = set()
    session = noise.draw(rng, 6)
    pasts = gate.baselines(session.past)
    whole = [records(session.past[case], noise) for case in range(time_noise.CASES)]
    for case in range(0, time_noise.CASES, 4):
        now = study.planted(study.runs_of(noise, session, case, 3 * case), slower_rel)
        fast = gate.play(pasts[case], gate.neighbours(pasts, case), now)
        around = {f"case {n}": runs for n, runs in enumerate(whole) if n != case}
        reason, runs = by_the_gate(whole[case], around, records(now, noise))
        off = ("machine_slower", "machine_faster", "unsteady")
        alike = dict.fromkeys(off, "off") | dict.fromkeys(("few_runs", "few_days"), "blind")
        assert (fast.reason, fast.runs) == (alike.get(reason, reason), runs)
        reasons.add(reason)
    assert reasons


def test_parts_are_judged_alike_too() -> None:
    noise = NOISES["gpu"]
    gate, session = study.Gate(noise, Limits()), noise.draw(np.random.default_rng(5), 6)
    pasts = gate.baselines(session.past)
    whole = [records(session.past[case], noise) for case in range(time_noise.CASES)]
    around = {f"case {n}": runs for n, runs in enumerate(whole) if n}
    for figures, reason in (([time_noise.NAMES.index("vae_decode")], "stage_slower"), ([7], "step_slower")):
        now = study.planted(session.now[0], 0.15 if figures == [7] else 0.25, figures)
        fast = gate.play(pasts[0], gate.neighbours(pasts, 0), now)
        assert fast.reason == reason
        assert by_the_gate(whole[0], around, records(now, noise)) == (reason, fast.runs)


@pytest.mark.parametrize(
    ("noise", "planted", "least_rel"),
    [
        (time_noise.gpu(0.003), "+3 %", 0.95),
        # ten runs of ten days: what a day does and what a process does can't be told apart
        (time_noise.gpu(0.005), "+3 %", 0.75),
        (time_noise.gpu(0.01), "+5 %", 0.75),
        (time_noise.disturbed("two runs a day, 1 %", 0.01, days=-2), "+5 %", 0.90),
        (study.NOISES[6], "+50 %", 0.90),
        (time_noise.recorded("follows", 0.05), "+50 %", 0.5),
        (time_noise.recorded("blind", 0.02), "+50 %", 0.0),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_sessions_of_unchanged_code_stay_green_and_slowdowns_are_detected(
    noise: time_noise.Noise, planted: str, least_rel: float
) -> None:
    """A sixtieth of the study: one alarm in these sessions is as much as chance allows."""
    tally, _ = study.replay(noise, 10, 60, Limits())
    assert tally.alarmed <= 1
    assert tally.detected[planted] >= least_rel * tally.sessions
    assert tally.silent["+50 %"] == 0, "half as much time again was called the same"


def test_rules_counting_rounds_alarm_where_the_gate_doesnt() -> None:
    """The study can tell rules apart: what is known of the others shows in it."""
    rng = np.random.default_rng(3)
    sessions = [study._first_rounds(NOISES["gpu"], NOISES["gpu"].draw(rng, 3)) for _ in range(40)]
    alarmed = {name: alarmed_rel for name, alarmed_rel, *_ in study.rival_rows(sessions)}
    assert alarmed["benchstat"] > 0.9
    assert alarmed["asv"] == alarmed["sglang's limits"] == 0.0
    assert alarmed.keys() == {rival.name for rival in time_rivals.RIVALS}


def test_the_intervals_of_the_study_are_clopper_and_pearsons() -> None:
    assert study.interval(0, 100) == pytest.approx((0.0, 0.0362), abs=1e-4)
    assert study.interval(5, 100) == pytest.approx((0.0164, 0.1128), abs=1e-4)
    assert study.share(20, 2000) == "1.0 % (0.6-1.5)"
