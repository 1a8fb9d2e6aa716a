"""The time gate among others: fresh processes that confirm, neighbours, one error budget, stages and steps."""

from __future__ import annotations

from typing import Any

import judge_factories as make
import msgspec
import pytest
from time_questions import judged, past

from pytest_diffbench.judge import Limits, wants_runs
from pytest_diffbench.records import Round, Run

# Confirming


def test_one_slow_run_asks_for_fresh_processes_and_two_that_agree_make_it_red() -> None:
    seen = [judged(make.run(18.0), past(5), fresh=count) for count in (0, 1, 2)]
    assert [one.reason for one in seen] == ["time.unconfirmed", "time.unconfirmed", "time.slower"]
    assert [wants_runs(one) for one in seen] == [True, True, False]
    assert "suspicious, and no fresh process has confirmed it" in seen[0].message
    assert "confirmed by 2 of 2 fresh processes" in seen[2].message
    assert seen[2].details["fresh_runs"] == seen[2].details["confirmed"] == 2


def test_an_inconspicuous_run_asks_for_nothing() -> None:
    answer = judged(make.run(12.2), past(10))
    assert (answer.reason, wants_runs(answer)) == ("time.same", False)


def test_fresh_processes_that_disagree_clear_the_case() -> None:
    answer = judged(make.run(14.0), past(10), fresh=[make.run(12.0), make.run(12.05)])
    assert (answer.reason, wants_runs(answer)) == ("time.same", False)
    assert "2 fresh runs included" in answer.message


def test_nothing_is_bought_beyond_the_bound() -> None:
    """Half of the fresh processes agree, whatever is bought."""
    mixed = [make.run(12.0), make.run(19.0), make.run(12.0), make.run(19.0)]
    seen = [judged(make.run(19.0), past(10), fresh=mixed[:count]) for count in range(5)]
    assert [one.reason for one in seen] == ["time.unconfirmed"] * 5
    assert [wants_runs(one) for one in seen] == [True] * 4 + [False]
    assert "neither confirmed it nor ruled it out" in seen[-1].message


def test_confirming_can_be_switched_off() -> None:
    alone = Limits(time_confirmations=0)
    answer = judged(make.run(18.0), past(5), alone)
    assert (answer.reason, wants_runs(answer)) == ("time.slower", False)
    assert "confirmed" not in answer.message
    assert not wants_runs(judged(make.run(18.0, calibration_s=0.03), past(5), alone))


def test_a_machine_off_its_pace_and_unsteady_rounds_ask_for_another_process() -> None:
    for spoilt in (make.run(18.0, calibration_s=0.03), make.run(totals_s=[10, 12, 14, 16, 18])):
        assert wants_runs(judged(spoilt, past(5)))
        cleared = judged(spoilt, past(5), fresh=[make.run()])
        assert cleared.reason == "time.same"
        assert any("1 run of this session left out" in line for line in cleared.changes)
        # three sound runs are needed to be red: the first doesn't count
        seen = [judged(spoilt, past(5), fresh=[make.run(18.0)] * count).reason for count in (2, 3)]
        assert seen == ["time.unconfirmed", "time.slower"]
    never = judged(make.run(18.0, calibration_s=0.03), past(5), fresh=4)
    assert (never.reason, wants_runs(never)) == ("time.machine_slower", False)


def test_a_run_that_died_among_the_fresh_is_left_out() -> None:
    dead = msgspec.structs.replace(make.run(), rounds=())
    answer = judged(make.run(18.0), past(5), fresh=[dead, make.run(18.0), make.run(18.0)])
    assert answer.reason == "time.slower"
    assert "confirmed by 2 of 2" in answer.message


# Neighbours and the error budget


def test_neighbours_that_agree_win_a_case_with_few_runs_its_precision() -> None:
    near = {f"case {n}": past(10, 5.0 + n, spread_rel=0.05) for n in range(8)}
    alone, among = (judged(make.run(), past(3, spread_rel=0.05), neighbours=one) for one in ({}, near))
    assert among.details["detectable_rel"] < 0.7 * alone.details["detectable_rel"]


def test_a_case_that_is_noisier_than_its_neighbours_isnt_flattered() -> None:
    near = {f"case {n}": past(10, 5.0 + n, spread_rel=0.005) for n in range(8)}
    wild = past(10, spread_rel=0.15)
    alone, among = (judged(make.run(), wild, neighbours=one) for one in ({}, near))
    assert among.details["moderated_spread_rel"] == pytest.approx(alone.details["moderated_spread_rel"])


def test_a_stray_run_of_a_neighbour_is_no_proof_against_this_case() -> None:
    """What unchanged code did once on this machine, without the calibration noticing, it may do again."""
    near = {f"case {n}": past(10, 5.0 + n) for n in range(8)}
    strange = near | {"case 8": [*past(10), make.run(19.0)]}
    assert judged(make.run(18.0), past(10), fresh=2, neighbours=near).reason == "time.slower"
    answer = judged(make.run(18.0), past(10), fresh=4, neighbours=strange)
    assert answer.reason == "time.unconfirmed"
    assert "strayed as far" in answer.message
    assert judged(make.run(24.0), past(10), fresh=2, neighbours=strange).reason == "time.slower"


def test_neighbours_in_other_settings_and_broken_ones_dont_count() -> None:
    other = make.environment(settings={"threads": 8})
    dead = msgspec.structs.replace(make.run(), rounds=())
    strange = {"a": past(10, env=other, spread_rel=0.5), "b": [dead] * 3, "c": []}
    answer, bare = judged(make.run(), past(10), neighbours=strange), judged(make.run(), past(10))
    assert answer == bare


def test_many_cases_share_one_budget() -> None:
    seen = [judged(make.run(13.9), past(5), fresh=2, decisions=count) for count in (1, 1000)]
    assert [one.reason for one in seen] == ["time.slower", "time.unconfirmed"]
    assert seen[0].details["chance_interval"][1] < seen[1].details["chance_interval"][1]
    with pytest.raises(ValueError, match="at least one case"):
        judged(make.run(), past(5), decisions=0)


# Stages and steps


def test_a_stage_that_grew_within_the_floor_of_the_whole_is_red_and_named() -> None:
    answer = judged(make.run(12.4, decode_s=0.9), past(10), fresh=2)
    assert (answer.decision, answer.reason) == ("worse", "time.stage_slower")
    assert "Slower in vae_decode 500 ms -> 900 ms (+80 %)" in answer.message
    assert "12 s -> 12.4 s" in answer.message
    assert answer.details["slower"] == ["vae_decode"]
    assert 0 < answer.details["parts_detectable_rel"]["vae_decode"] < 0.8


def test_steps_that_grew_within_the_floor_of_everything_else_are_red_and_named() -> None:
    slow = dict.fromkeys(range(23, 30), 0.08)
    answer = judged(make.run(12.5, slow_steps=slow), past(10), fresh=2)
    assert (answer.decision, answer.reason) == ("worse", "time.step_slower")
    assert "Slower in steps 22-29 3" in answer.message
    assert "Most of it in steps 23-29" in answer.message


def test_a_stage_of_milliseconds_cannot_fail_a_long_call() -> None:
    """3 ms that become 3.5 ms, and even 6 ms, are nothing in 600 ms."""

    def run(decode_s: float) -> Run:
        stages: Any = {"denoise": 0.597, "vae_decode": decode_s}
        one = Round(total_s=0.597 + decode_s, stages_s=stages)
        return msgspec.structs.replace(make.run(), rounds=(one,) * 5)

    for decode_s in (0.0035, 0.006):
        assert judged(run(decode_s), [run(0.003)] * 10, fresh=2).reason == "time.same"
    assert judged(run(0.020), [run(0.003)] * 10, fresh=2).reason == "time.stage_slower"
