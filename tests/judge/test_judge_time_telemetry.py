"""The time gate: what readings of the machine explain, and what they excuse."""

from __future__ import annotations

import math
from typing import Any

import judge_factories as make
import msgspec
import pytest
from time_questions import judged, past

from pytest_diffbench.judge.time import telemetry as time_telemetry
from pytest_diffbench.records import Run, Telemetry


def read(run: Run, **readings: Any) -> Run:
    telemetry = Telemetry(**readings)
    return msgspec.structs.replace(
        run, rounds=tuple(msgspec.structs.replace(one, telemetry=telemetry) for one in run.rounds)
    )


def test_a_slowdown_that_vanishes_in_clock_cycles_is_the_clocks() -> None:
    before = [read(run, sm_clock_mhz=1980.0) for run in past(10)]
    answer = judged(read(make.run(18.0), sm_clock_mhz=1320.0), before, fresh=2)
    assert (answer.decision, answer.reason) == ("unsure", "time.clocks")
    assert "1,980 to 1,320 MHz" in answer.message
    assert judged(read(make.run(18.0), sm_clock_mhz=1980.0), before, fresh=2).reason == "time.slower"
    # a clock that nobody read excuses nothing
    assert judged(make.run(18.0), before, fresh=2).reason == "time.slower"


@pytest.mark.parametrize(("clock_mhz", "reason"), [(275.0, "slower"), (900.0, "slower"), (1300.0, "clocks")])
def test_a_clock_that_fell_further_than_the_pace_excuses_nothing(clock_mhz: float, reason: str) -> None:
    """A misread clock makes the cycles of code that is half as slow again vanish altogether, by 79 %."""
    before = [read(run, sm_clock_mhz=1980.0) for run in past(10)]
    assert judged(read(make.run(18.0), sm_clock_mhz=clock_mhz), before, fresh=2).reason == f"time.{reason}"


def test_a_throttled_clock_may_fall_further_than_the_pace() -> None:
    """Code that waits for memory takes fewer cycles at a lower clock."""
    before = [read(run, sm_clock_mhz=1980.0) for run in past(10)]
    for reason, held_down_s, expected in (
        ("sw_power_cap", {"sw_power_cap": 17.0}, "clocks"),
        ("applications_clocks_setting", {}, "slower"),
        ("sw_power_cap", None, "slower"),  # read before and after the round, of a device at rest
    ):
        now = read(make.run(18.0), sm_clock_mhz=900.0, throttle_reasons=(reason,), held_down_s=held_down_s)
        assert judged(now, before, fresh=2).reason == f"time.{expected}", (reason, held_down_s)


def test_the_clocks_explain_stages_and_steps_too() -> None:
    before = [read(run, sm_clock_mhz=1980.0) for run in past(10, spread_rel=0.002)]
    decoded = judged(read(make.run(12.0, decode_s=0.75), sm_clock_mhz=1320.0), before, fresh=2)
    assert (decoded.decision, decoded.reason) == ("unsure", "time.clocks")
    assert "vae_decode 500 ms -> 750 ms (+50 %), but 0 % in clock cycles" in decoded.message
    assert judged(read(make.run(12.0, decode_s=0.75), sm_clock_mhz=1900.0), before, fresh=2).reason == (
        "time.stage_slower"
    )
    late = dict.fromkeys(range(23, 30), 0.15)
    steps = judged(read(make.run(12.0, slow_steps=late), sm_clock_mhz=1465.0), before, fresh=2)
    assert steps.reason == "time.clocks"
    assert "slow code: steps 22-29 " in steps.message


def test_a_stage_that_grew_in_clock_cycles_is_not_hidden_by_a_total_that_did_not() -> None:
    before = [read(run, sm_clock_mhz=1980.0) for run in past(10, spread_rel=0.002)]
    answer = judged(read(make.run(13.3, decode_s=1.1), sm_clock_mhz=1800.0), before, fresh=2)
    assert answer.reason == "time.slower"


def test_wall_time_that_grew_alone_on_a_cpu_is_labelled() -> None:
    before = [read(run, cpu_s=11.0) for run in past(10)]
    alone = judged(read(make.run(18.0), cpu_s=11.1), before, fresh=2)
    assert alone.details.waited is True
    assert alone.message.endswith("processor time did not: the call waited, or ran on fewer processors.")
    both = judged(read(make.run(18.0), cpu_s=17.0), before, fresh=2)
    assert both.details.waited is False
    assert both.reason == alone.reason == "time.slower"
    unread = judged(make.run(18.0), past(10), fresh=2)
    assert unread.details.waited is None


@pytest.mark.parametrize("cpu_s", [11.1, 17.0])
def test_off_the_cpu_nothing_is_said_about_waiting(cpu_s: float) -> None:
    """The host may spin while it waits for a device, or sleep while a slower kernel runs."""
    env = make.environment("cuda")
    before = [read(run, cpu_s=11.0) for run in past(10, env=env)]
    answer = judged(read(make.run(18.0, env=env), cpu_s=cpu_s), before, fresh=2)
    assert answer.reason == "time.slower"
    assert answer.details.waited is None
    assert "wait" not in answer.message


@pytest.mark.parametrize(
    ("wall_rel", "cpu_rel", "waited"),
    [(0.5, 0.01, True), (0.12, 0.10, False), (0.12, 0.01, False), (0.2, 0.14, False)],
)
def test_work_that_grew_less_than_a_stage_s_floor_is_not_taken_for_waiting(
    wall_rel: float, cpu_rel: float, waited: bool
) -> None:
    now = [read(make.run(10 * (1 + wall_rel)), cpu_s=10 * (1 + cpu_rel))]
    assert time_telemetry.waited(now, [read(make.run(10), cpu_s=10.0)], math.log1p(0.16)) is waited


def test_throttled_rounds_and_other_processes_are_told_and_still_judged() -> None:
    busy = read(make.run(), throttle_reasons=("sw_power_cap",), other_processes=2, others_rel=0.4)
    answer = judged(busy, past(10))
    assert answer.reason == "time.same"
    assert "5 of 5 rounds throttled: sw_power_cap" in answer.changes
    assert "2 other processes on the device" in answer.changes
    assert "other processes had 40 % of the processors" in answer.changes


def test_clocks_that_somebody_set_are_no_throttling() -> None:
    settings_of_clocks = ("applications_clocks_setting", "display_clock_setting")
    answer = judged(read(make.run(), throttle_reasons=settings_of_clocks), past(10))
    assert not any("throttled" in line for line in answer.changes)
    both = judged(read(make.run(), throttle_reasons=(*settings_of_clocks, "sw_power_cap")), past(10))
    assert "5 of 5 rounds throttled: sw_power_cap" in both.changes
