"""The arithmetic of the time gate, against printed tables, closed forms and simulation."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from pytest_diffbench.judge import time_rule
from pytest_diffbench.judge.statistics import Variance, chance_beyond, holm, moderated, prior_of, score_beyond, within

# Quantiles of Student's t from printed tables, one-sided .001.
T_TABLE = {2: 22.327, 4: 7.173, 9: 4.297, 19: 3.579, math.inf: 3.090}


@pytest.mark.parametrize("dof", T_TABLE)
def test_chances_and_scores_are_students(dof: float) -> None:
    assert score_beyond(0.001, dof) == pytest.approx(T_TABLE[dof], rel=1e-3)
    assert chance_beyond(T_TABLE[dof], dof) == pytest.approx(0.001, rel=1e-2)


def test_variance_within_is_pooled_over_groups() -> None:
    found = within([[1.0, 3.0], [10.0, 10.0, 13.0], [7.0]])
    assert (found.value, found.dof) == pytest.approx(((2 + 6) / 3, 3))
    assert within([[1.0], []]) == Variance(0.0, 0)


def test_cases_that_spread_alike_make_a_strong_prior_and_unlike_ones_a_weak() -> None:
    rng = random.Random(2)

    def variances(spreads: list[float]) -> list[Variance]:
        return [within([[rng.gauss(0, one) for _ in range(10)]]) for one in spreads]

    alike = prior_of(variances([0.01] * 200), 1e-12, 60)
    assert alike is not None
    assert alike.deviation == pytest.approx(0.01, rel=0.05)
    assert alike.dof > 30
    # scaled inverse chi-square with 4 degrees of freedom
    scale = 0.01
    spreads = [math.sqrt(4 * scale**2 / sum(rng.gauss(0, 1) ** 2 for _ in range(4))) for _ in range(2000)]
    unlike = prior_of(variances(spreads), 1e-12, 60)
    assert unlike is not None
    assert unlike.dof == pytest.approx(4, rel=0.2)
    assert unlike.deviation == pytest.approx(scale, rel=0.1)


def test_a_prior_needs_two_cases_and_survives_identical_runs() -> None:
    assert prior_of([], 1e-6, 60) is None
    assert prior_of([Variance(1.0, 4), Variance(1.0, 0)], 1e-6, 60) is None
    still = prior_of([Variance(0.0, 4)] * 3, 1e-6, 60)
    assert still is not None
    assert 0 < still.value < 1e-5


def test_moderation_draws_towards_the_prior_but_never_flatters() -> None:
    prior = Variance(1.0, 20)
    assert moderated(Variance(0.25, 10), prior) == Variance((10 * 0.25 + 20) / 30, 30)
    assert moderated(Variance(0.0, 0), prior) == prior
    noisier = Variance(9.0, 10)
    assert moderated(noisier, prior) == noisier
    assert moderated(noisier, None) == noisier


def test_holm_with_weights_passes_on_what_a_rejection_frees() -> None:
    assert holm([0.004, 0.004], [0.5, 0.5], 0.01) == [0, 1]
    assert holm([0.004, 0.02], [0.5, 0.5], 0.01) == [0]
    assert holm([0.004, 0.008], [0.5, 0.5], 0.01) == [0, 1]
    assert holm([0.006, 0.02], [0.5, 0.5], 0.01) == []
    assert holm([0.006, 0.02], [0.8, 0.2], 0.01) == [0]


def test_the_error_of_a_difference_of_means() -> None:
    past = time_rule.spread_of([-0.02, 0.0, 0.02, 0.0])
    scale = time_rule.two_sided_scale(past, [0.05, 0.07], time_rule.Neighbours(), 0.0)
    spread = math.sqrt((2 * 0.02**2 + 2 * 0.01**2) / 4)
    assert scale.change_log == pytest.approx(0.06)
    assert scale.spread_log == pytest.approx(spread)
    assert scale.noise_log(2) == pytest.approx(spread * math.sqrt(1 / 2 + 1 / 4))
    needed_log = scale.needed_log(0.01, 2)
    assert needed_log == pytest.approx(3.747 * spread * math.sqrt(3 / 4), rel=1e-3)
    exact = time_rule.two_sided_scale(past, [needed_log + 0.01, needed_log - 0.01], time_rule.Neighbours(), 0.0)
    assert exact.chance(1) == pytest.approx(0.01, rel=1e-6)
    assert exact.chance(-1) == 1.0


def test_the_least_spread_bounds_what_agreeing_runs_promise() -> None:
    scale = time_rule.two_sided_scale(time_rule.spread_of([0.0] * 3), [0.1], time_rule.Neighbours(), 0.05)
    assert scale.needed_log(0.001, 1) == pytest.approx(3.0902 * 0.05 * math.sqrt(4 / 3), rel=1e-4)


def test_a_stray_run_is_told_from_the_largest_of_many() -> None:
    rng = random.Random(4)
    cases = [[rng.gauss(0, 0.01) for _ in range(10)] for _ in range(19)]
    quiet = time_rule.neighbours_of([time_rule.spread_of(one) for one in cases], 0.005, 60)
    assert quiet.stray_log == 0.0
    cases[3][5] = 0.3
    strayed = time_rule.neighbours_of([time_rule.spread_of(one) for one in cases], 0.005, 60)
    assert strayed.stray_log == pytest.approx(0.3, abs=0.02)
    # a run that strayed downwards makes no run slower
    cases[3][5] = -0.3
    assert time_rule.neighbours_of([time_rule.spread_of(one) for one in cases], 0.005, 60).stray_log == 0.0


def test_shares_add_up_to_one() -> None:
    for stages, groups in ((0, 0), (3, 0), (0, 4), (3, 4)):
        total, stage, group = time_rule.shares_of(stages, groups)
        assert total + stages * stage + groups * group == pytest.approx(1)


def test_what_would_have_been_seen_is_found_as_often_as_promised() -> None:
    """One figure, runs that spread by 1 %: planted is what each case itself promises to find with 95 %."""
    rng = random.Random(9)
    rule = time_rule.Rule(alpha=0.0005, suspicion=0.05, power=0.95, confirmations=2, most_runs=5)
    floor_log = math.log1p(0.02)

    def answer(past: time_rule.CaseSpread, now: list[float]) -> tuple[time_rule.Figure, str]:
        scales = tuple([time_rule.two_sided_scale(past, now, time_rule.Neighbours(), 0.005)] * 2)
        figure = time_rule.Figure("total", scales, floor_log, 1.0, len(now) - 1)
        return figure, time_rule.reason_of([figure], time_rule.decide([figure], rule), rule, 0.5)

    found = []
    for _ in range(600):
        past = time_rule.spread_of([rng.gauss(0, 0.01) for _ in range(20)])
        figure, _ = answer(past, [0.0])
        planted_log = math.log1p(time_rule.detectable_rel(figure, rule, floor_log))
        now: list[float] = []
        reason = "unconfirmed"
        while reason == "unconfirmed" and len(now) < rule.most_runs:
            now.append(planted_log + rng.gauss(0, 0.01))
            _, reason = answer(past, now)
        found.append(reason == "slower")
    assert statistics.mean(found) > 0.92
