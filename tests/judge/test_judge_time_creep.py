"""A creep: steps of time each of which is within the noise, and what was first accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import judge_factories as make
import pytest
from time_questions import past

from pytest_diffbench.judge import Limits
from pytest_diffbench.judge.slide import origin_with
from pytest_diffbench.judge.time.runs import creep_rel, first_time
from pytest_diffbench.records.artifacts import Artifacts
from pytest_diffbench.report.sentences.time import creep_phrase

if TYPE_CHECKING:
    from pytest_diffbench.records import FirstTime, Run


def first(runs: list[Run]) -> tuple[FirstTime, ...]:
    return tuple(time for run in runs if (time := first_time(run)) is not None)


def crept(count: int, step_rel: float = 0.01, family: str = "cpu") -> float | None:
    env = make.environment(family)
    runs = [make.run(12.0 * (1 + step_rel) ** n, env=env) for n in range(count)]
    return creep_rel(first(runs[:3]), runs, Limits(), family)


def test_a_percent_a_save_is_told_before_it_is_a_quarter() -> None:
    assert crept(5) is None
    assert (crept(25) or 0.0) > 0.1
    far_rel = crept(60)
    assert far_rel is not None
    assert 0.72 <= far_rel < 0.785
    assert creep_phrase(far_rel, 3).endswith("of time since the first 3 accepted runs")
    assert crept(9, family="cuda") == pytest.approx(0.065, abs=0.005)


@pytest.mark.parametrize("step_rel", [0.0, -0.01])
def test_what_doesnt_grow_is_no_creep(step_rel: float) -> None:
    assert crept(60, step_rel) is None


def test_a_slower_machine_is_no_creep() -> None:
    begun = first(past(3))
    later = [make.run(18.0, calibration_s=0.03)] * 3
    assert creep_rel(begun, [*past(3), *later], Limits(), "cpu") is None
    assert creep_rel(begun, [*past(3), *[make.run(18.0)] * 3], Limits(), "cpu") is not None


def test_few_runs_of_yesterday_are_held_against_themselves_by_nobody() -> None:
    assert creep_rel(first(past(2)), past(2), Limits(), "cpu") is None
    assert creep_rel((), past(9), Limits(), "cpu") is None


def test_the_first_three_runs_are_kept_and_later_ones_are_not() -> None:
    seen = make.observation(run=make.run(20.0))
    runs = past(2)
    standing = make.reference(runs=runs)
    begun = origin_with(seen, Artifacts(), False, standing, 1)
    assert [time.median_s for time in begun.times] == pytest.approx([12.0, 12.12, 20.0])
    # accepted as another time, it isn't one of the first
    apart = origin_with(seen, Artifacts(), True, standing, 1)
    assert len(apart.times) == 2
    again = origin_with(seen, Artifacts(), False, make.reference(runs=past(9), origin=begun), 1)
    assert again.times == begun.times
