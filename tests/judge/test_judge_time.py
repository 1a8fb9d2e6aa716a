"""The time gate: what counts as evidence, what it needs to decide, and what it would have seen."""

from __future__ import annotations

import math
from typing import Any

import judge_factories as make
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from time_questions import judged, on_gpu, past

from pytest_diffbench.judge import Limits, doubts
from pytest_diffbench.records import LayerTimes, Round, Run, Warmup
from pytest_diffbench.stats.variance import drift_rel, interquartile_rel


def test_a_green_test_says_what_it_would_have_seen_and_would() -> None:
    answer = judged(make.run(12.1), past(10))
    seen_rel = answer.details.detectable_rel
    assert answer.message.startswith(
        "Same time: 12.00 s -> 12.10 s (+0.80 %), against 10 runs from 10 days. A slowdown of +"
    )
    assert answer.message.endswith(f"{100 * seen_rel:.0f} % would have been detected.")
    assert judged(make.run(12.0 * (1 + seen_rel)), past(10), fresh=2).reason == "time.slower"


def test_more_runs_see_smaller_changes() -> None:
    seen = [judged(make.run(), past(count, spread_rel=0.05)).details.detectable_rel for count in (1, 3, 5, 10, 20)]
    assert seen == sorted(seen, reverse=True)
    assert seen[0] > 2 * seen[-1]


def test_rounds_are_no_evidence() -> None:
    """A hundred rounds in one process decide no more than five."""
    short = make.run(12.5)
    many = msgspec.structs.replace(short, rounds=short.rounds * 20)
    few, much = judged(short, past(5)), judged(many, past(5))
    assert few.decision == much.decision == "same"
    assert few.details.detectable_rel == much.details.detectable_rel


def test_on_a_gpu_the_floor_is_two_percent() -> None:
    assert on_gpu(12.0 * 1.015).reason == "time.same"
    assert on_gpu(12.0 * 1.03).reason == "time.slower"
    assert on_gpu(12.0 / 1.03).reason == "time.faster"


def test_a_millisecond_is_nothing_whatever_its_share() -> None:
    def tiny(total_s: float, env: Any = None) -> Run:
        return make.run(totals_s=[total_s] * 5, env=env)

    env = make.environment("cuda")
    runs = [tiny(0.002 * (1 + n / 1000), env) for n in range(10)]
    assert judged(tiny(0.0029, env), runs, fresh=2).reason == "time.same"
    assert judged(tiny(0.0032, env), runs, fresh=2).reason == "time.slower"


@pytest.mark.parametrize(
    ("family", "total_s", "floor_rel"),
    [("cuda", 0.01, 0.1), ("cuda", 12.0, 0.02), ("cpu", 0.01, 0.1), ("cpu", 12.0, 0.05)],
)
def test_the_floor_in_the_details_is_the_one_that_was_asked_for(
    family: str, total_s: float, floor_rel: float
) -> None:
    """Of ten milliseconds one is a tenth, as the message says too."""
    env = make.environment(family)
    runs = [make.run(totals_s=[total_s] * 5, env=env) for _ in range(10)]
    slower = make.run(totals_s=[1.5 * total_s] * 5, env=env)
    answer = judged(slower, runs, fresh=2)
    assert answer.reason == "time.slower"
    assert answer.details.floor_rel == pytest.approx(floor_rel)
    assert f"and the {100 * floor_rel:.2g} % threshold" in answer.message


def test_one_process_and_two_processes() -> None:
    answer = judged(make.run(18.0), past(10), Limits(time_confirmations=1), fresh=1)
    assert "confirmed by 1 of 1 fresh process." in answer.message
    assert "confirmed by 2 of 2 fresh processes." in judged(make.run(18.0), past(10), fresh=2).message


def test_few_runs_show_the_figures_and_what_is_missing() -> None:
    answer = judged(make.run(), past(1))
    assert answer.reason == "time.few_runs"
    assert answer.message.startswith(
        "Can't tell: 12.00 s -> 12.00 s (0 %), against 1 run from 1 day. Nothing under +"
    )
    assert answer.message.endswith("would have been detected.")
    # of one day, however many there are
    same_day = [msgspec.structs.replace(run, started="2025-12-01T00:00:00Z") for run in past(10, spread_rel=0.05)]
    assert judged(make.run(), same_day, family_size=20).reason == "time.few_days"


def test_a_first_run_is_enough_for_what_no_machine_does() -> None:
    """As much is expected of the machine as others of its kind were seen to do."""
    assert judged(make.run(60.0), past(1), fresh=2, family_size=20).reason == "time.slower"
    assert judged(make.run(18.0), past(1), fresh=2, family_size=20).decision == "unsure"


def test_runs_of_the_session_s_own_day_are_what_it_is_held_to() -> None:
    """What the machine does from day to day drops out."""
    earlier = [msgspec.structs.replace(run, started="2025-12-31T23:30:00Z") for run in past(3)]
    other_day = [msgspec.structs.replace(run, started="2025-12-01T00:00:00Z") for run in past(3)]
    near, far = judged(make.run(), earlier), judged(make.run(), other_day)
    assert near.details.detectable_rel < 0.7 * far.details.detectable_rel
    assert judged(make.run(14.4), earlier, fresh=2).reason == "time.slower"
    assert judged(make.run(14.4), other_day, fresh=2).decision == "unsure"


@pytest.mark.parametrize("low_s", [6.0, 9.0])
def test_one_run_that_lies_apart_blinds_nobody(low_s: float) -> None:
    runs = [*past(9), make.run(low_s, started="2025-12-20T00:00:00Z")]
    assert judged(make.run(14.4), runs, fresh=2).reason == "time.slower"
    assert judged(make.run(14.4), runs, fresh=2).details.aside == (10,)


@pytest.mark.parametrize("now_s", [22.5, 25.5])
def test_a_base_whose_runs_have_two_speeds_is_not_red_at_either(now_s: float) -> None:
    runs = [make.run((22.5, 25.5)[n % 2], started=f"2025-12-{n + 1:02}T00:00:00Z") for n in range(10)]
    assert judged(make.run(now_s), runs, fresh=2).decision != "worse"
    assert judged(make.run(50.0), runs, fresh=2).reason == "time.slower"


def test_one_lucky_run_in_the_baseline_is_no_lasting_red() -> None:
    runs = [make.run(8.0, started="2025-11-30T00:00:00Z"), *past(5)]
    assert judged(make.run(), runs, fresh=2).decision != "worse"


def test_ten_runs_of_two_days_are_two_draws_of_the_day() -> None:
    def on_days(*levels_s: float) -> list[Run]:
        return [
            make.run(levels_s[n % len(levels_s)], started=f"2025-12-{1 + n % len(levels_s):02}T0{n}:00:00Z")
            for n in range(10)
        ]

    few, many = on_days(11.5, 12.5), on_days(*(11.5, 12.5) * 5)
    promised = [judged(make.run(), runs).details.detectable_rel for runs in (few, many)]
    assert promised[0] > 1.5 * promised[1]


def test_a_gate_that_would_sleep_through_half_as_much_again_is_unsure() -> None:
    spread = [
        make.run(total_s, started=f"2025-12-{n + 1:02}T00:00:00Z")
        for n, total_s in enumerate((8.0, 10.0, 12.0, 14.0))
    ]
    answer = judged(make.run(11.0), spread)
    assert (answer.decision, answer.reason) == ("unsure", "time.blind")
    assert "would have been detected" in answer.message
    assert judged(make.run(11.0), spread, Limits(time_blind_rel=50)).reason == "time.same"


def test_a_floor_that_somebody_chose_is_no_blindness() -> None:
    generous = Limits(time_floor_rel=2.0, time_floor_cpu_rel=2.0)
    assert judged(make.run(12.0), past(10), generous).reason == "time.same"


def test_rounds_that_differ_by_less_than_the_floor_are_steady() -> None:
    wild = make.run(totals_s=[20e-6, 50e-6, 90e-6, 30e-6, 70e-6])
    assert doubts(wild, Limits()) is None
    assert doubts(make.run(totals_s=[total_s * 1e6 for total_s in wild.totals_s]), Limits()) is not None


def test_runs_in_other_settings_dont_count() -> None:
    other = make.environment(settings={"threads": 8, "attention_backend": "native"})
    mixed = [*past(5), *past(4, 6.0, env=other)]
    answer = judged(make.run(), mixed)
    assert answer.reason == "time.same"
    assert answer.details.runs == 5
    assert any("4 runs of the baseline left out" in line for line in answer.changes)


def test_all_runs_in_other_settings_name_the_facts() -> None:
    other = make.environment(settings={"threads": 8, "attention_backend": "native"})
    answer = judged(make.run(), past(5, env=other))
    assert answer.reason == "time.settings"
    assert "threads: 8 -> 1" in answer.message


def test_another_torch_is_no_excuse() -> None:
    env = make.environment(software={"torch": "2.14.0"})
    assert judged(make.run(18.0, env=env), past(5), fresh=2).reason == "time.slower"


def test_past_runs_at_another_pace_of_the_machine_dont_widen_the_spread() -> None:
    slow = [make.run(20.0, calibration_s=0.034) for _ in range(2)]
    answer = judged(make.run(18.0), [*past(6), *slow], fresh=2)
    assert answer.reason == "time.slower"
    assert answer.details.runs == 6


def test_a_slow_machine_is_told_from_slow_code() -> None:
    answer = judged(make.run(18.0, calibration_s=0.03), past(10))
    assert answer.reason == "time.machine_slower"
    assert "reference work +50 %" in answer.message
    # nor does a fast machine hide slow code
    assert judged(make.run(12.0, calibration_s=0.015), past(10)).reason == "time.machine_faster"


def test_without_a_calibration_only_the_harmless_is_decided() -> None:
    for fresh in (0, 2):
        assert judged(make.run(18.0, calibration_s=None), past(5), fresh=fresh).reason == "time.no_calibration"
        assert judged(make.run(18.0), past(5, calibration_s=None), fresh=fresh).reason == "time.no_calibration"
    assert judged(make.run(calibration_s=None), past(5)).reason == "time.no_calibration"
    # five times as much is what no machine does, and ten recorded runs show what this one does
    assert judged(make.run(60.0, calibration_s=None), past(5), fresh=2).reason == "time.slower"
    assert judged(make.run(18.0, calibration_s=None), past(12), fresh=2).reason == "time.slower"
    quiet = judged(make.run(calibration_s=None), past(12))
    assert quiet.reason == "time.same"
    assert "pace is unknown" in quiet.changes[0]


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_impossible_times_never_pass_and_are_no_baseline(bad: float) -> None:
    broken = msgspec.structs.replace(make.run(), rounds=(Round(total_s=bad), *make.run().rounds))
    assert judged(broken, past(5)).reason == "time.invalid"
    doubt = doubts(broken, Limits())
    assert doubt is not None
    assert doubt.kind == "invalid"
    assert judged(make.run(), [broken] * 5).reason == "time.no_baseline"
    uncalibrated = make.run(18.0, calibration_s=bad)
    assert judged(uncalibrated, past(5)).reason == "time.no_calibration"


def test_unsteady_and_drifting_rounds_are_doubted() -> None:
    assert judged(make.run(totals_s=[10, 12, 14, 16, 18]), past(5)).reason == "time.unsteady"
    rising = [10 + 0.35 * n for n in range(9)]
    answer = judged(make.run(totals_s=rising), past(5))
    assert answer.reason == "time.unsteady"
    assert "+20 % from the first third to the last" in answer.message
    assert doubts(make.run(), Limits()) is None


def test_steadiness_has_closed_forms() -> None:
    assert interquartile_rel([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 3)
    assert interquartile_rel([1.0, 2.0]) is None
    assert drift_rel([1.0, 1.0, 5.0, 5.0, 2.0, 2.0]) == pytest.approx(1.0)
    assert drift_rel([1.0] * 5) is None


def test_parallel_runs_are_doubted_and_are_no_baseline() -> None:
    env = make.environment(state={"xdist_workers": 2})
    assert judged(make.run(env=env), past(5)).reason == "time.parallel"
    assert judged(make.run(), past(5, env=env)).reason == "time.no_baseline"


@pytest.mark.parametrize(("total_s", "outside_s", "doubted"), [
    (1.0, 0.24, False), (1.0, 0.26, True), (0.02, 0.009, False), (0.02, 0.011, True),
])  # fmt: skip
def test_time_outside_all_stages_is_doubted(total_s: float, outside_s: float, doubted: bool) -> None:
    stages: Any = {"denoise": total_s - outside_s, "unattributed": outside_s}
    timed = Round(total_s=total_s, stages_s=stages)
    run = msgspec.structs.replace(make.run(), rounds=(timed,) * 5)
    assert (doubts(run, Limits()) is not None) == doubted
    # a target whose components can't be seen has no stages to explain anything
    bare = msgspec.structs.replace(run, rounds=(Round(total_s=total_s),) * 5)
    assert doubts(bare, Limits()) is None


def test_the_stage_that_carries_the_difference_comes_first() -> None:
    answer = judged(make.run(18.0, decode_s=5.5), past(5), fresh=2)
    assert "Most of it: vae_decode: 500 ms -> 5.500 s (+1,000 %), 83 % of the difference" in answer.message
    assert answer.details.stage_ratios["vae_decode"] == pytest.approx(11)


def test_the_steps_that_carry_the_difference_are_named() -> None:
    answer = judged(make.run(18.0, slow_steps=dict.fromkeys(range(15, 21), 1.0)), past(5))
    assert any(line.startswith("steps 15-20: 380 ms -> 1.380 s") for line in answer.changes)
    # the others moved too, but by far less
    mixed = judged(make.run(18.0, slow_steps=dict.fromkeys(range(10), 0.5)), past(5))
    assert any(line.startswith("steps 0-9:") for line in mixed.changes)
    even = judged(make.run(18.0), past(5))
    assert any(line.startswith("all 30 steps: 380 ms -> 580 ms (+53 %) each") for line in even.changes)


def test_a_shift_towards_attention_is_named() -> None:
    layers = LayerTimes(attention_s=6.0, other_s=7.0, attention_layers=26)
    answer = make.ask("time", make.observation(run=make.run(18.0), layers=layers), make.reference())
    assert "attention: 30 % -> 46 % of the denoiser's time" in answer.changes


def test_alpha_and_power_are_settings() -> None:
    loose = judged(make.run(13.2), past(5), Limits(time_alpha=0.2), fresh=2)
    assert (judged(make.run(13.2), past(5), fresh=2).reason, loose.reason) == ("time.same", "time.slower")
    bold = judged(make.run(), past(5), Limits(time_power=0.5)).details.detectable_rel
    assert bold < judged(make.run(), past(5)).details.detectable_rel


def test_a_warm_up_that_never_ended_is_doubted() -> None:
    cold = msgspec.structs.replace(make.run(), warmup=Warmup(rounds=8, steady=False, doubt="drift of +12 %"))
    answer = judged(cold, past(5))
    assert answer.reason == "time.unsteady"
    assert "were not steady after 8 warm-up rounds: drift of +12 %" in answer.message


@pytest.mark.parametrize("total_s", [3e-6, 4 * 3600.0])
def test_microseconds_and_hours_are_judged(total_s: float) -> None:
    def run(factor: float) -> Run:
        return make.run(totals_s=[total_s * factor] * 5)

    assert judged(run(1.0), [run(1.0)] * 5).reason == "time.same"
    tripled = judged(run(3.0), [run(1.0)] * 5, fresh=2)
    assert tripled.reason == ("time.slower" if total_s > 1 else "time.same")


times = st.floats(1e-3, 1e3)


@given(times, st.integers(3, 12))
def test_identical_runs_are_always_the_same(median_s: float, count: int) -> None:
    run = make.run(totals_s=[median_s] * 5)
    assert judged(run, [run] * count).reason == "time.same"
    assert judged(run, [run] * count, fresh=3, family_size=1).reason == "time.same"


@given(st.floats(0.5, 2), st.floats(2, 1e3), st.integers(3, 10))
def test_scaling_all_times_changes_nothing(ratio: float, factor: float, count: int) -> None:
    """From seconds up, where the absolute floor of a millisecond says nothing."""

    def scaled(run: Run, by: float) -> Run:
        rounds = tuple(
            Round(
                total_s=by * timed.total_s,
                stages_s={stage: by * value_s for stage, value_s in timed.stages_s.items()},
                steps_s=tuple(by * value_s for value_s in timed.steps_s),
            )
            for timed in run.rounds
        )
        return msgspec.structs.replace(
            run, rounds=rounds, calibration_s=tuple(by * reading_s for reading_s in run.calibration_s)
        )

    def verdict(by: float) -> Any:
        return judged(scaled(make.run(12.0 * ratio), by), [scaled(run, by) for run in past(count)], fresh=2)

    assert verdict(1.0).reason == verdict(factor).reason


@given(st.integers(3, 12), st.sampled_from(["cpu", "cuda"]), st.floats(0.0, 0.08))
def test_half_as_much_time_again_is_never_called_the_same(count: int, family: str, spread_rel: float) -> None:
    env = make.environment(family)
    runs = past(count, spread_rel=spread_rel, env=env)
    for fresh in (0, 2, 4):
        assert judged(make.run(18.0, env=env), runs, fresh=fresh).decision in ("worse", "unsure")


@given(st.floats(1.0, 3), st.floats(1.0, 2), st.integers(3, 10))
def test_slower_still_is_never_less_of_an_alarm(ratio: float, more: float, count: int) -> None:
    order = ["time.same", "time.unconfirmed", "time.slower"]
    reasons = [judged(make.run(12.0 * slow), past(count), fresh=2).reason for slow in (ratio, ratio * more)]
    assert order.index(reasons[0]) <= order.index(reasons[1])
