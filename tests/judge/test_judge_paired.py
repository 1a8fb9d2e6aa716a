"""Pairs of runs: two environments by turns on one machine, each pair its own baseline."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

import judge_factories as make
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_diffbench.judge import Limits, judge_pairs, wants_runs
from pytest_diffbench.records import Round, Run, Telemetry, Verdict
from pytest_diffbench.report.sentences import worded

if TYPE_CHECKING:
    from collections.abc import Sequence

WOBBLE = (0.0, 0.004, -0.003, 0.002, -0.004, 0.003, -0.002, 0.001, 0.0, -0.001)
PACE = (1.0, 1.3, 0.8, 1.1, 1.6, 0.9, 1.2, 1.0, 1.4, 0.7)
"""What the machine does to both runs of a pair."""


def pairs(count: int, ratio: float = 1.0, family: str = "cuda", **changed: Any) -> list[tuple[Run, Run]]:
    env = make.environment(family)

    def run(pace: float, factor: float, **more: Any) -> Run:
        return make.run(12.0 * pace * factor, calibration_s=0.02 * pace, env=env, **more)

    return [(run(PACE[n], 1 + WOBBLE[n]), run(PACE[n], ratio, **changed)) for n in range(count)]


def judged(both: Sequence[tuple[Run, Run]], family: str = "cuda", **more: Any) -> Any:
    answer = worded(judge_pairs(both, more.pop("limits", Limits()), more.pop("family_size", 1), family, **more))
    assert msgspec.json.encode(msgspec.json.decode(msgspec.json.encode(answer), type=Verdict)) == msgspec.json.encode(
        answer
    )
    assert answer.gate == "time"
    assert answer.message[-1] in ".!"
    return answer


def test_the_same_speed_is_the_same_on_any_machine() -> None:
    answer = judged(pairs(6))
    assert answer.reason == "time.same"
    assert ", 6 pairs of runs. A slowdown of +" in answer.message
    assert 0 < answer.details.detectable_rel < 0.05
    assert not wants_runs(answer)


def test_the_stated_detectable_change_is_detected() -> None:
    detectable_rel = judged(pairs(10)).details.detectable_rel
    assert judged(pairs(10, 1 + detectable_rel)).reason == "time.slower"


def test_slower_names_the_part_and_how_many_pairs_agree() -> None:
    answer = judged(pairs(6, 1.10))
    assert (answer.decision, answer.reason) == ("worse", "time.slower")
    assert " in 6 of 6 pairs of runs." in answer.message
    assert "Most of it: denoise" in answer.message
    assert answer.details.ratio == pytest.approx(1.1, rel=0.01)


def test_faster_is_better() -> None:
    assert judged(pairs(6, 0.9)).reason == "time.faster"


def test_a_stage_and_steps_are_judged_alone() -> None:
    longer = [(base, make.run(base.median_s, decode_s=1.5, env=base.environment)) for base, _ in pairs(6)]
    longer = [(base, msgspec.structs.replace(head, calibration_s=base.calibration_s)) for base, head in longer]
    answer = judged(longer)
    assert answer.reason == "time.stage_slower"
    assert "vae_decode 500 ms -> 1.500 s (+200 %)" in answer.message
    slow = dict.fromkeys(range(23, 30), 0.15)
    steps = judged([(make.run(12.0), make.run(12.0, slow_steps=slow)) for _ in range(6)], "cpu")
    assert steps.reason == "time.step_slower"
    assert "steps 22-29" in steps.message


def clocked(both: Sequence[tuple[Run, Run]], base_mhz: float, head_mhz: float) -> list[tuple[Run, Run]]:
    def read(run: Run, mhz: float) -> Run:
        telemetry = Telemetry(sm_clock_mhz=mhz)
        rounds = tuple(msgspec.structs.replace(timed, telemetry=telemetry) for timed in run.rounds)
        return msgspec.structs.replace(run, rounds=rounds)

    return [(read(base, base_mhz), read(head, head_mhz)) for base, head in both]


def test_a_slowdown_absent_in_clock_cycles_is_the_clocks() -> None:
    answer = judged(clocked(pairs(6, 1.10), 1980, 1800))
    assert (answer.decision, answer.reason) == ("unsure", "time.clocks")
    assert "the device's clock fell from 1,980 to 1,800 MHz" in answer.message
    assert wants_runs(answer)
    for head_mhz in (1980, 2100, 1400):  # as it was, higher, and lower than the pace tells
        assert judged(clocked(pairs(6, 1.10), 1980, head_mhz)).reason == "time.slower"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_pairs_ask_for_more(count: int) -> None:
    answer = judged(pairs(count, 2.0))
    assert (answer.decision, answer.reason) == ("unsure", "time.few_pairs")
    assert f"{4 - count} more needed" in answer.message
    assert wants_runs(answer)


def test_a_dead_run_drops_the_whole_pair() -> None:
    dead = msgspec.structs.replace(make.run(), rounds=())
    broken = msgspec.structs.replace(make.run(), rounds=(Round(total_s=math.nan),))
    left = judged([*pairs(4), (dead, make.run()), (make.run(), broken)])
    assert left.details.pairs == 4
    assert "2 pairs left out" in left.changes[-1]
    nothing = judged([(dead, dead)] * 10)
    assert nothing.reason == "time.few_pairs"
    assert not wants_runs(nothing)


def test_unusable_pairs_are_repeated_within_a_bound() -> None:
    limits = Limits(time_max_pairs=6, time_spare_pairs=4)
    left_out = [(make.run(), make.run(totals_s=[12, 14, 16, 18, 20]))]
    some = pairs(3)
    assert wants_runs(judged([*some, *left_out * 6], limits=limits))
    assert not wants_runs(judged([*some, *left_out * 7], limits=limits))
    assert wants_runs(judged(left_out * 5, limits=limits))
    hopeless = judged(left_out * 6, limits=limits)
    assert hopeless.reason == "time.few_pairs"
    assert not wants_runs(hopeless)


def test_a_change_of_pace_within_a_pair_drops_the_pair() -> None:
    torn = [(base, msgspec.structs.replace(head, calibration_s=(0.05,))) for base, head in pairs(5, 1.5)]
    assert judged(torn).reason == "time.few_pairs"


def restless(count: int, ratio: float = 1.0, seed: int = 0) -> list[tuple[Run, Run]]:
    """Pairs made round by round on a machine whose pace jumps by a third, between rounds or between their sides."""
    chance = random.Random(seed)
    drawn_pairs, pace = [], 1.0
    for _ in range(count):
        sides: tuple[list[float], list[float]] = ([], [])
        for n in range(5):
            for side in (0, 1) if n % 2 else (1, 0):
                if chance.random() < 0.2:
                    pace = 1.33 if pace == 1.0 else 1.0
                sides[side].append(12.0 * pace * math.exp(chance.gauss(0, 0.01)) * (ratio if side else 1.0))
        base, head = (make.run(totals_s=times_s, env=make.environment("cpu")) for times_s in sides)
        drawn_pairs.append((base, head))
    return drawn_pairs


def test_what_happens_to_both_rounds_of_a_pair_drops_out() -> None:
    same = judged(restless(6), "cpu", by_turns=True)
    assert same.reason == "time.same", same
    assert same.details.detectable_rel < 0.1
    slower = judged(restless(6, 1.12), "cpu", by_turns=True)
    assert slower.reason == "time.slower", slower
    assert slower.details.ratio == pytest.approx(1.12, abs=0.03)
    assert slower.details.by_turns
    # One after the other, hardly any of the same pairs could be used.
    assert "left out" in " ".join(judged(restless(6, 1.12), "cpu").changes)


def test_pairs_at_different_paces_tell_where_the_slowdown_lies() -> None:
    base, head = make.run(12.0), make.run(12.6, slow_steps={4: 0.6})
    answer = judged([(scaled(base, pace), scaled(head, pace)) for pace in PACE[:6]], "cpu", by_turns=True)
    assert answer.decision == "worse"
    assert [part.name for part in answer.details.places] == ["denoise", "step 4"]
    assert all(part.share_rel == pytest.approx(1.0, abs=0.005) for part in answer.details.places)


def scaled(run: Run, factor: float) -> Run:
    rounds = tuple(
        msgspec.structs.replace(
            timed,
            total_s=timed.total_s * factor,
            stages_s={name: time_s * factor for name, time_s in timed.stages_s.items()},
            steps_s=tuple(time_s * factor for time_s in timed.steps_s),
        )
        for timed in run.rounds
    )
    return msgspec.structs.replace(run, rounds=rounds)


def test_rounds_of_two_levels_on_a_single_side_are_not_steady() -> None:
    base, head = make.run(12.0), make.run(12.0)
    rounds = tuple(
        scaled(msgspec.structs.replace(head, rounds=(timed,)), 1.5 if n % 2 else 1.0).rounds[0]
        for n, timed in enumerate(head.rounds)
    )
    answer = judged([(base, msgspec.structs.replace(head, rounds=rounds))] * 6, "cpu", by_turns=True)
    assert answer.reason == "time.few_pairs"
    assert answer.changes == ("6 pairs left out: the ratio of its rounds was not steady",)


def test_a_side_still_warming_up_in_the_rounds_is_not_steady() -> None:
    base, head = (
        msgspec.structs.replace(make.run(totals_s=totals_s), warmup_s=(warmup_s,))
        for totals_s, warmup_s in (((12.0,) * 5, 12.0), ((15.0, 14.4, 13.9, 13.5, 13.2), 16.0))
    )
    assert judged([(base, head)] * 6, "cpu", by_turns=True).reason == "time.few_pairs"
    # What warms up on both sides alike is no difference.
    assert judged([(head, head)] * 6, "cpu", by_turns=True).reason == "time.same"


def test_levels_possible_only_for_a_tiny_call_are_no_matter() -> None:
    base, head = make.run(totals_s=(0.002,) * 5), make.run(totals_s=(0.002, 0.0023, 0.002, 0.0023, 0.002))
    assert "left out" not in " ".join(judged([(base, head)] * 6, "cpu", by_turns=True).changes)


def test_rounds_without_a_partner_are_no_pair() -> None:
    base, head = make.run(12.0), make.run(12.0)
    fewer = msgspec.structs.replace(head, rounds=head.rounds[1:])
    assert judged([(base, fewer)] * 6, "cpu", by_turns=True).reason == "time.few_pairs"


def test_other_settings_are_named() -> None:
    other = make.environment(settings={"threads": 8, "attention_backend": "native"})
    answer = judged([(make.run(), make.run(env=other))] * 6)
    assert answer.reason == "time.settings"
    assert "threads: 1 -> 8" in answer.message
    torch = make.environment(software={"torch": "2.14.0"})
    assert judged([(make.run(), make.run(env=torch))] * 6, "cpu").reason == "time.same"


def test_biased_evidence_asks_for_a_further_pair() -> None:
    wild = [make.run(12.0 * factor) for factor in (1.12, 1.22, 1.04, 1.20, 1.05)]
    answer = judged([(make.run(), head) for head in wild], "cpu")
    assert answer.reason == "time.unconfirmed"
    assert wants_runs(answer)
    assert not wants_runs(judged([(make.run(), head) for head in wild * 2], "cpu", limits=Limits(time_max_pairs=10)))


def test_neighbours_tell_the_spread_of_few_pairs() -> None:
    alone = judged(pairs(4), limits=Limits(time_pair_spread_rel=0.001))
    among = judged(pairs(4), limits=Limits(time_pair_spread_rel=0.001), peer_pairs=[pairs(10)] * 8)
    assert among.details.detectable_rel < alone.details.detectable_rel


def test_no_decision_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one case"):
        judge_pairs([], Limits(), 0, "cpu")


@given(st.floats(2e-6, 1e4), st.integers(4, 10), st.sampled_from(["cpu", "cuda"]))
def test_identical_pairs_are_the_same(total_s: float, count: int, family: str) -> None:
    run = make.run(totals_s=[total_s] * 5, env=make.environment(family))
    assert judged([(run, run)] * count, family).reason == "time.same"


@pytest.mark.parametrize(("ratio", "least", "most"), [(1.0, 0.0, 0.002), (1.05, 0.95, 1.0)])
def test_alarms_are_as_rare_and_finds_as_frequent_as_promised(ratio: float, least: float, most: float) -> None:
    """Runs that spread by 1 %, judged after each further pair, as a session of 20 cases would."""
    rng = random.Random(3)
    red = 0
    for _ in range(150):
        both: list[tuple[Run, Run]] = []
        while True:
            factors = [math.exp(rng.gauss(0, 0.01)) for _ in range(2)]
            base, head = (
                msgspec.structs.replace(make.run(), rounds=(Round(total_s=12.0 * factor),) * 3)
                for factor in (factors[0], factors[1] * ratio)
            )
            both.append((base, head))
            answer = judge_pairs(both, Limits(), 20, "cuda")
            if not wants_runs(answer):
                break
        red += answer.decision == "worse"
    assert least <= red / 150 <= most
