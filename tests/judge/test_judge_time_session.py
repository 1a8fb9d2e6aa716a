"""The time gate among others: fresh processes that confirm, neighbours, one error budget, stages and steps."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import judge_factories as make
import msgspec
import pytest
from time_questions import judged, past

from pytest_diffbench.records import Telemetry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.records import Run

from pytest_diffbench.judge import Limits, slowed_down, wants_runs
from pytest_diffbench.records import Round, Run
from pytest_diffbench.report.sentences.time import doubt_sentence

# Confirming


def test_one_slow_run_asks_for_fresh_processes_and_two_that_agree_make_it_red() -> None:
    answers = [judged(make.run(18.0), past(5), fresh=count) for count in (0, 1, 2)]
    assert [answer.reason for answer in answers] == ["time.unconfirmed", "time.unconfirmed", "time.slower"]
    assert [wants_runs(answer) for answer in answers] == [True, True, False]
    assert "Suspicious, and no fresh process was run to confirm it" in answers[0].message
    assert "confirmed by 2 of 2 fresh processes" in answers[2].message
    assert answers[2].details.fresh_runs == answers[2].details.confirmed == 2


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
    answers = [judged(make.run(19.0), past(10), fresh=mixed[:count]) for count in range(5)]
    assert [answer.reason for answer in answers] == ["time.unconfirmed"] * 5
    assert [wants_runs(answer) for answer in answers] == [True] * 4 + [False]
    assert "neither confirmed it nor ruled it out" in answers[-1].message


def test_confirming_can_be_switched_off() -> None:
    alone = Limits(time_confirmations=0)
    answer = judged(make.run(18.0), past(5), alone)
    assert (answer.reason, wants_runs(answer)) == ("time.slower", False)
    assert "confirmed" not in answer.message
    assert not wants_runs(judged(make.run(18.0, calibration_s=0.03), past(5), alone))


OFF_PACE = make.run(18.0, calibration_s=0.03)
UNSTEADY = make.run(totals_s=[10, 12, 14, 16, 18])


@pytest.mark.parametrize("spoilt", [OFF_PACE, UNSTEADY], ids=["off pace", "unsteady"])
def test_what_the_machine_explains_buys_nothing_and_is_never_the_same(spoilt: Run) -> None:
    answer = judged(spoilt, past(5))
    assert answer.decision == "unsure"
    assert answer.reason in ("time.machine_slower", "time.unsteady")
    assert not wants_runs(answer)
    assert judged(spoilt, past(5), fresh=[make.run()]).decision == "unsure"


@pytest.mark.parametrize("spoilt", [OFF_PACE, UNSTEADY], ids=["off pace", "unsteady"])
def test_sound_runs_replace_those_that_are_not(spoilt: Run) -> None:
    answer = judged(spoilt, past(5), fresh=[make.run(18.0)] * 3)
    assert answer.reason == "time.slower"
    assert "confirmed by 3 of 3 fresh processes" in answer.message
    assert any(line.startswith("1 run of this session left out") for line in answer.changes)


def test_a_run_that_the_machine_disturbed_clears_nobody() -> None:
    """A suspicious run asks for another one in the place of a fresh run from which nobody can tell anything."""
    suspicious, disturbed = make.run(15.0), make.run(16.0, calibration_s=0.025)
    asked = [judged(suspicious, past(10), fresh=[disturbed] * count) for count in (0, 1, 2, 3)]
    assert [wants_runs(verdict) for verdict in asked] == [True] * 4
    answer = judged(suspicious, past(10), fresh=[disturbed, *[suspicious] * 2])
    assert (answer.reason, answer.details.fresh_runs) == ("time.slower", 2)
    # up to the bound; then the machine is to blame, and nothing is called the same
    last = judged(suspicious, past(10), fresh=[disturbed] * 6)
    assert (last.reason, wants_runs(last)) == ("time.machine_slower", False)


def test_more_than_the_machine_explains_is_red_on_a_busy_machine_too() -> None:
    """Three times as long, where reference work took a sixth longer and the rounds spread by as much as may be."""
    slow = make.run(totals_s=[30, 33, 36, 39, 42], calibration_s=0.0234)
    assert wants_runs(judged(slow, past(10)))
    answer = judged(slow, past(10), fresh=2, family_size=20)
    assert (answer.decision, answer.reason) == ("worse", "time.slower")


@pytest.mark.parametrize("calibration_s", [0.015, 0.012])
def test_slower_by_the_clock_on_a_faster_machine_is_slower(calibration_s: float) -> None:
    answer = judged(make.run(36.0, calibration_s=calibration_s), past(10), fresh=2, family_size=20)
    assert answer.reason == "time.slower"
    # as is never said of a case that a faster machine made a little faster
    assert judged(make.run(9.0, calibration_s=calibration_s), past(10), fresh=2).reason == "time.machine_faster"


def waiting(total_s: float, waited_s: float, cpu_s: float | None = None) -> Run:
    """A run whose one thread waited for a processor."""
    run = make.run(total_s)
    telemetry = Telemetry(waited_s=waited_s, cpu_s=total_s - waited_s if cpu_s is None else cpu_s)
    return msgspec.structs.replace(
        run, rounds=tuple(msgspec.structs.replace(timed, telemetry=telemetry) for timed in run.rounds)
    )


QUIET = [msgspec.structs.replace(waiting(12.0, 0.01), started=run.started) for run in past(5)]


def test_a_busy_machine_is_told_from_slow_code_by_what_the_threads_waited() -> None:
    answer = judged(waiting(24.5, 12.2), QUIET, fresh=2)
    assert (answer.decision, answer.reason) == ("unsure", "time.crowded")
    assert "each thread waited for a processor 50 % of the time (limit 10 %)" in answer.message
    assert not wants_runs(answer)
    # what others leave of a processor is slower, too
    assert judged(waiting(32.0, 16.0), QUIET, fresh=2).reason == "time.crowded"


def test_three_times_as_much_work_is_red_on_a_busy_machine() -> None:
    assert judged(waiting(78.0, 40.0), QUIET, fresh=2, family_size=20).reason == "time.slower"
    # and so is a function that sleeps longer, and is woken in time
    assert judged(waiting(36.0, 0.2, cpu_s=0.1), QUIET, fresh=2, family_size=20).reason == "time.slower"


def test_faster_on_a_busy_machine_is_faster_only_by_the_clock() -> None:
    assert judged(waiting(12.0, 7.0), QUIET, fresh=2).reason == "time.crowded"
    assert judged(waiting(5.0, 2.0), QUIET, fresh=2).reason == "time.faster"


def test_little_waiting_is_taken_off() -> None:
    answer = judged(waiting(12.9, 0.9), QUIET)
    assert answer.reason == "time.same"
    assert answer.details.adjusted_ratio == pytest.approx(1.0, abs=0.01)


def test_a_busy_machine_makes_no_baseline() -> None:
    doubt = slowed_down(waiting(24.0, 12.0), Limits())
    assert doubt is not None
    assert doubt_sentence(doubt) == (
        "The machine was busy: each thread waited for a processor 50 % of the time (limit 10 %)."
    )
    assert slowed_down(waiting(24.0, 1.0), Limits()) is None
    crowd = [waiting(24.0, 12.0) for _ in range(2)]
    answer = judged(make.run(), [*QUIET, *crowd])
    assert answer.details.runs == 5
    left_out = "2 runs of the baseline left out: other processes had the processors"
    assert left_out in answer.changes


def test_faster_is_confirmed_as_slower_is() -> None:
    answers = [judged(make.run(8.0), past(10), fresh=count) for count in (0, 1, 2)]
    assert [answer.reason for answer in answers] == ["time.unconfirmed", "time.unconfirmed", "time.faster"]
    assert [wants_runs(answer) for answer in answers] == [True, True, False]
    stray = judged(make.run(8.0), past(10), fresh=[make.run(12.0), make.run(12.1)])
    assert stray.reason != "time.faster"


def test_a_run_that_died_among_the_fresh_is_left_out() -> None:
    dead = msgspec.structs.replace(make.run(), rounds=())
    answer = judged(make.run(18.0), past(5), fresh=[dead, make.run(18.0), make.run(18.0)])
    assert answer.reason == "time.slower"
    assert "confirmed by 2 of 2" in answer.message


# Neighbours and the error budget


def test_neighbours_that_agree_win_a_case_with_few_runs_its_precision() -> None:
    def among(spreads: Sequence[Sequence[float]]) -> float:
        near = {
            f"case {n}": [
                make.run((5.0 + n) * (1 + 0.05 * share), started=run.started)
                for share, run in zip(spread, past(10), strict=True)
            ]
            for n, spread in enumerate(spreads)
        }
        return float(judged(make.run(), past(3, spread_rel=0.05), peer_runs=near).details.detectable_rel)

    alone = among([])
    rng = random.Random(7)
    assert among([[rng.gauss(0, 1) for _ in range(10)] for _ in range(8)]) < 0.8 * alone
    # those that move together from day to day tell of its days what one of them does
    assert among([[rng.gauss(0, 1) for _ in range(10)]] * 8) > 0.9 * alone


def test_a_case_that_is_noisier_than_its_neighbours_isnt_flattered() -> None:
    near = {f"case {n}": past(10, 5.0 + n, spread_rel=0.005) for n in range(8)}
    wild = past(10, spread_rel=0.15)
    alone, among = (judged(make.run(), wild, peer_runs=peers) for peers in ({}, near))
    assert among.details.moderated_spread_rel == pytest.approx(alone.details.moderated_spread_rel)


def test_a_stray_run_of_a_neighbour_is_no_proof_against_this_case() -> None:
    """What unchanged code did once on this machine, without the calibration noticing, it may do again."""
    near = {f"case {n}": past(10, 5.0 + n) for n in range(8)}
    strange = near | {"case 8": [*past(10), make.run(19.0)]}
    assert judged(make.run(18.0), past(10), fresh=2, peer_runs=near).reason == "time.slower"
    answer = judged(make.run(18.0), past(10), fresh=4, peer_runs=strange, family_size=20)
    assert answer.reason == "time.unconfirmed"
    assert "strayed as far" in answer.message
    assert judged(make.run(24.0), past(10), fresh=2, peer_runs=strange).reason == "time.slower"


def test_neighbours_in_other_settings_and_broken_ones_dont_count() -> None:
    other = make.environment(settings={"threads": 8})
    dead = msgspec.structs.replace(make.run(), rounds=())
    strange = {"a": past(10, env=other, spread_rel=0.5), "b": [dead] * 3, "c": []}
    answer, bare = judged(make.run(), past(10), peer_runs=strange), judged(make.run(), past(10))
    assert answer == bare


def test_many_cases_share_one_budget() -> None:
    answers = [judged(make.run(14.6), past(5), fresh=2, family_size=count) for count in (1, 1000)]
    assert answers[0].reason == "time.slower"
    assert answers[1].reason != "time.slower"
    assert answers[0].details.chance_interval[1] < answers[1].details.chance_interval[1]
    with pytest.raises(ValueError, match="at least one case"):
        judged(make.run(), past(5), family_size=0)


# Stages and steps


def test_a_stage_that_grew_within_the_floor_of_the_whole_is_red_and_named() -> None:
    answer = judged(make.run(12.4, decode_s=0.9), past(10), fresh=2)
    assert (answer.decision, answer.reason) == ("worse", "time.stage_slower")
    assert "Slower in vae_decode 500 ms -> 900 ms (+80 %)" in answer.message
    assert "12.00 s -> 12.40 s" in answer.message
    assert [part.name for part in answer.details.slower] == ["vae_decode"]
    assert 0 < answer.details.parts_detectable_rel["vae_decode"] < 0.8


def test_steps_that_grew_within_the_floor_of_everything_else_are_red_and_named() -> None:
    slow = dict.fromkeys(range(23, 30), 0.11)
    answer = judged(make.run(12.5, slow_steps=slow), past(10), fresh=2)
    assert (answer.decision, answer.reason) == ("worse", "time.step_slower")
    assert "Slower in steps 22-29 3" in answer.message
    assert "Most of it in steps 23-29" in answer.message


def test_a_stage_of_milliseconds_cannot_fail_a_long_call() -> None:
    """3 ms that become 3.5 ms, and even 6 ms, are nothing in 600 ms."""

    def run(decode_s: float) -> Run:
        stages: Any = {"denoise": 0.597, "vae_decode": decode_s}
        timed = Round(total_s=0.597 + decode_s, stages_s=stages)
        return msgspec.structs.replace(make.run(), rounds=(timed,) * 5)

    for decode_s in (0.0035, 0.006):
        assert judged(run(decode_s), [run(0.003)] * 10, fresh=2).reason == "time.same"
    assert judged(run(0.020), [run(0.003)] * 10, fresh=2).reason == "time.stage_slower"
