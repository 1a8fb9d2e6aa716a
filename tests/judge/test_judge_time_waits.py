"""The time gate: a call that waits isn't moved by the pace of the processor, and one that computes is."""

from __future__ import annotations

import math

import judge_factories as make
import msgspec
import pytest
from time_questions import judged, past

from pytest_diffbench.judge import Limits
from pytest_diffbench.judge.time.figures import computing_share, share_of_log
from pytest_diffbench.judge.time.runs import creep_rel, first_time
from pytest_diffbench.records import Run, Telemetry

SLOW_S, USUAL_S, FAST_S = 0.03, 0.02, 0.0125
"""Reference work on a machine at another pace, at its usual one, and at a faster one."""


def computed(run: Run, cpu_s: float | None, children_cpu_s: float | None = 0.0) -> Run:
    telemetry = Telemetry(cpu_s=cpu_s, children_cpu_s=children_cpu_s)
    return msgspec.structs.replace(
        run, rounds=tuple(msgspec.structs.replace(timed, telemetry=telemetry) for timed in run.rounds)
    )


WAITED = [computed(run, 0.05) for run in past(10)]


@pytest.mark.parametrize("pace_s", [SLOW_S, FAST_S])
def test_a_call_that_waits_is_judged_whatever_the_pace(pace_s: float) -> None:
    same = judged(computed(make.run(12.0, calibration_s=pace_s), 0.08), WAITED)
    assert same.reason == "time.same"
    slower = judged(computed(make.run(14.4, calibration_s=pace_s), 0.08), WAITED, fresh=2)
    assert slower.reason == "time.slower"
    assert slower.details.adjusted_ratio == pytest.approx(1.2, rel=0.01)
    faster = judged(computed(make.run(9.6, calibration_s=pace_s), 0.08), WAITED, fresh=2)
    assert faster.reason == "time.faster"


@pytest.mark.parametrize(
    ("cpu_s", "children_cpu_s"),
    [(12.0, 0.0), (0.05, 12.0), (0.05, None), (None, 0.0)],
    ids=["computes", "its children compute", "nobody knows of children", "nobody knows"],
)
def test_a_call_that_may_have_computed_is_moved_by_the_pace(
    cpu_s: float | None, children_cpu_s: float | None
) -> None:
    runs = [computed(run, cpu_s, children_cpu_s) for run in past(10)]
    slower = computed(make.run(14.4, calibration_s=SLOW_S), cpu_s, children_cpu_s)
    assert judged(slower, runs, fresh=2).reason == "time.machine_slower"


def test_half_of_a_call_is_moved_by_half() -> None:
    """Of 12 s, 6 may be computed: half as slow again, they explain +25 %, and not +100 %."""
    runs = [computed(run, 3.0) for run in past(10)]
    explained = judged(computed(make.run(15.0, calibration_s=SLOW_S), 4.5), runs, fresh=2)
    assert explained.reason == "time.machine_slower"
    further = judged(computed(make.run(24.0, calibration_s=SLOW_S), 4.5), runs, fresh=2)
    assert further.reason == "time.slower"


def test_time_that_is_stolen_is_no_waiting() -> None:
    """A hypervisor took 40 % of the processor: the process has less of its time, and computed all the same."""
    runs = [computed(run, run.median_s) for run in past(10)]
    stolen = judged(computed(make.run(20.0, calibration_s=SLOW_S), 12.0), runs, fresh=2)
    assert stolen.reason == "time.machine_slower"


def test_past_runs_at_another_pace_count_where_the_pace_moves_nothing() -> None:
    runs = [*WAITED, *(computed(make.run(12.0, calibration_s=SLOW_S), 0.05) for _ in range(2))]
    assert judged(computed(make.run(12.0), 0.05), runs).details.runs == 12


def test_a_part_may_have_computed_all_that_the_call_did() -> None:
    """The decoder's half second may be all of the processor's: at another pace it isn't called slower for it."""
    runs = [computed(run, 0.5) for run in past(10, spread_rel=0.002)]
    explained = judged(computed(make.run(12.25, decode_s=0.75, calibration_s=SLOW_S), 0.75), runs, fresh=2)
    assert explained.reason == "time.same"
    proven = judged(computed(make.run(12.25, decode_s=0.75), 0.5), runs, fresh=2)
    assert proven.reason == "time.stage_slower"


def test_a_call_that_waits_creeps_whatever_the_pace() -> None:
    begun = tuple(first for run in WAITED[:3] if (first := first_time(run)) is not None)
    same = [computed(make.run(12.0, calibration_s=FAST_S), 0.05)] * 3
    assert creep_rel(begun, [*WAITED[:3], *same], Limits(), "cpu") is None
    crept = [computed(make.run(18.0, calibration_s=SLOW_S), 0.05)] * 3
    assert creep_rel(begun, [*WAITED[:3], *crept], Limits(), "cpu") == pytest.approx(0.5, rel=0.05)


def test_of_a_device_nobody_knows_what_the_host_waits_for() -> None:
    on_device = computed(make.run(env=make.environment("cuda")), 0.05)
    assert computing_share(on_device, 12.0) == 1.0
    assert computing_share(WAITED[0], 12.0) == pytest.approx(2 * 0.05 / 12.0)
    assert computing_share(computed(make.run(), 20.0), 12.0) == 1.0


def test_a_share_of_a_change() -> None:
    assert share_of_log(math.log(1.5), 1.0) == math.log(1.5)
    assert share_of_log(math.log(1.5), 0.5) == pytest.approx(math.log(1.25))
    assert share_of_log(math.log(0.5), 0.0) == 0.0
