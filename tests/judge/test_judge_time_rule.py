"""The arithmetic of the time gate, against printed tables, closed forms and simulation."""

from __future__ import annotations

import math
import random
import statistics
from typing import TYPE_CHECKING

import pytest

from pytest_diffbench.judge import Limits
from pytest_diffbench.judge.time import rule as time_rule
from pytest_diffbench.judge.time.runs import experience_of
from pytest_diffbench.judge.time.spread import Experience, History, Peers, Strays, history_of, peers_of
from pytest_diffbench.stats.variance import Variance, chance_beyond, holm, moderated, prior_of, score_beyond, within

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        return [within([[rng.gauss(0, spread) for _ in range(10)]]) for spread in spreads]

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
    assert moderated(noisier, prior) == Variance(9.0, 20)
    assert moderated(noisier, None) == noisier


def test_holm_with_weights_passes_on_what_a_rejection_frees() -> None:
    assert holm([0.004, 0.004], [0.5, 0.5], 0.01) == [0, 1]
    assert holm([0.004, 0.02], [0.5, 0.5], 0.01) == [0]
    assert holm([0.004, 0.008], [0.5, 0.5], 0.01) == [0, 1]
    assert holm([0.006, 0.02], [0.5, 0.5], 0.01) == []
    assert holm([0.006, 0.02], [0.8, 0.2], 0.01) == [0]


GPU = experience_of(Limits(), "cuda")
RULE = time_rule.Rule(alpha=0.0005, power=0.95, confirmations=2, most_runs=5)


def unknown(least_log: float = 0.0) -> Experience:
    """Of a kind of machine that nothing is known of."""
    return Experience(between=Variance(0.0, 0), within=Variance(0.0, 0), least_log=least_log, most_dof=60)


def daily_runs(past_log: Sequence[float], expected_log: float = 1.0) -> History:
    return history_of(past_log, range(len(past_log)), expected_log)


def scale_of(
    past: History, now: Sequence[float], experience: Experience, peers: Peers | None = None
) -> time_rule.Scale:
    return time_rule.scale_of(past, now, now, peers or Peers(), experience, RULE)


def test_a_session_is_one_more_day() -> None:
    past = daily_runs([-0.02, 0.0, 0.02, 0.0])
    scale = scale_of(past, [0.05, 0.07], unknown())
    spread = math.sqrt(2 * 0.02**2 / 3)
    assert scale.change_log() == pytest.approx(0.06)
    assert scale.noise.spread_log == pytest.approx(spread)
    # however many runs the session has: they share its day
    for runs in (1, 2, 5):
        assert scale.noise_log(runs) == pytest.approx(spread * math.sqrt(1 + 1 / 4))
    needed_log = scale.needed_log(0.01, 2)
    assert needed_log == pytest.approx(4.541 * spread * math.sqrt(5 / 4), rel=1e-3)
    exact = scale_of(past, [needed_log + 0.01, needed_log - 0.01], unknown())
    assert exact.chance(1) == pytest.approx(0.01, rel=1e-6)
    assert exact.chance(-1) == 1.0


def test_a_session_on_a_recorded_day_is_held_to_that() -> None:
    past = history_of([0.0, 0.01, 0.3, 0.31], [0, 0, 1, 1], 1.0, today=1)
    scale = scale_of(past, [0.305], unknown())
    assert scale.change_log() == pytest.approx(0.0, abs=1e-12)
    inside = math.sqrt(4 * 0.005**2 / 2)
    assert scale.noise_log(3) == pytest.approx(inside * math.sqrt(1 / 3 + 1 / 2))


def test_runs_of_a_day_count_for_what_they_add() -> None:
    past = history_of([0.0, 0.02, 0.1, 0.12, 0.2, 0.22], [0, 0, 1, 1, 2, 2], 1.0)
    assert (past.runs_a_day, past.between.dof, past.within.dof) == (2, 2, 3)
    assert past.between.deviation == pytest.approx(0.1)
    alone, pair = (scale_of(past, [0.1] * count, unknown()).noise_log(count) for count in (1, 2))
    assert pair == pytest.approx(0.1 * math.sqrt(1 + 1 / 3))
    assert alone == pytest.approx(math.sqrt(0.1**2 * (1 + 1 / 3) + 0.0002 * (1 - 1 / 2)), rel=1e-6)


def test_the_least_spread_bounds_what_agreeing_runs_promise() -> None:
    scale = scale_of(daily_runs([0.0] * 3), [0.1], unknown(0.05))
    assert scale.needed_log(0.001, 1) == pytest.approx(3.0902 * 0.05 * math.sqrt(4 / 3), rel=1e-4)


def test_a_first_run_promises_what_machines_of_its_kind_do() -> None:
    needed = [scale_of(daily_runs([0.0] * days), [0.0], GPU).needed_log(0.0005, 1) for days in (1, 2, 5, 20)]
    assert needed == sorted(needed, reverse=True)
    assert needed[0] == pytest.approx(score_beyond(0.0005, 6) * 0.012 * math.sqrt(2))


def test_a_promise_holds_on_machines_that_are_noisier_than_expected() -> None:
    """Nine of ten of what little knowledge of the spread leaves possible."""
    rng = random.Random(3)
    kept = []
    for _ in range(4000):
        # six degrees of freedom: the expected variance is what such machines have on average, in the inverse
        true = 0.012 * math.sqrt(6 / sum(rng.gauss(0, 1) ** 2 for _ in range(6)))
        scale = scale_of(daily_runs([0.0]), [0.0], GPU)
        margin_log = scale.margin_log(0.05, 1)
        kept.append(statistics.NormalDist().cdf(margin_log / (true * math.sqrt(2))) >= 0.95)
    assert statistics.mean(kept) == pytest.approx(0.9, abs=0.02)
    known = scale_of(daily_runs([rng.gauss(0, 0.01) for _ in range(400)]), [0.0], unknown())
    assert known.margin_log(0.05, 1) == pytest.approx(1.645 * known.noise_log(1), rel=0.06)


def test_a_fast_run_among_few_may_be_a_mode_of_the_machine() -> None:
    """Two modes 13 % apart: the faster one has one of five runs in every sixth baseline, one of ten hardly ever."""
    assert daily_runs([-0.13, *[0.0] * 4], 0.01).aside == ()
    assert daily_runs([-0.13, *[0.0] * 9], 0.01).aside == (0,)
    # half the time is no mode that a machine has
    assert daily_runs([-math.log(2), *[0.0] * 4], 0.01).aside == (0,)


def test_a_stray_run_is_told_from_the_largest_of_many() -> None:
    rng = random.Random(4)
    cases = [[rng.gauss(0, 0.01) for _ in range(10)] for _ in range(19)]

    def around() -> Peers:
        return peers_of([daily_runs(case, 0.01) for case in cases], GPU)

    assert around().strays.excess_log == ()
    cases[3][5] = 0.3
    assert around().strays.excess_log == pytest.approx((0.3,), abs=0.02)
    assert around().strays.runs == 190
    # a run that strayed downwards makes no run slower, and two of them are a mode that hides slower code
    cases[3][5] = -0.3
    assert around().strays.excess_log == ()
    assert daily_runs(cases[3], 0.01).aside == (5,)
    cases[3][6] = -0.3
    assert daily_runs(cases[3], 0.01).aside == ()


def test_runs_that_stray_in_a_row_are_less_likely_than_one() -> None:
    strays = Strays((0.4,), 99)
    assert strays.chance(0.45, 1) == 0.0
    assert strays.chance(0.43, 1) == pytest.approx(1.5 / 100)
    assert strays.chance(0.2, 5) == pytest.approx(1.5 / 100 / 16)
    assert strays.needed_log(0.001, 5) == 0.0
    assert strays.needed_log(0.0001, 5) == pytest.approx(0.44)


def test_cases_that_move_together_are_fewer_than_they_seem() -> None:
    rng = random.Random(6)
    alone = [[rng.gauss(0, 0.01) for _ in range(6)] for _ in range(20)]
    shared = [rng.gauss(0, 0.01) for _ in range(6)]
    together = [[day + rng.gauss(0, 0.001) for day in shared] for _ in range(20)]
    known = [peers_of([daily_runs(case) for case in some], GPU).between for some in (alone, together)]
    assert known[0] is not None
    assert known[0].dof > 30
    assert known[1] is None or known[1].dof < 2


def test_shares_add_up_to_one() -> None:
    for stages, groups in ((0, 0), (3, 0), (0, 4), (3, 4)):
        total, stage, group = time_rule.shares_of(stages, groups)
        assert total + stages * stage + groups * group == pytest.approx(1)


def test_what_would_have_been_seen_is_found_as_often_as_promised() -> None:
    """One figure, runs that spread by 1 %: planted is what each case itself promises to find with 95 %."""
    rng = random.Random(9)
    floor_log = math.log1p(0.02)

    def answer(past: History, now: list[float]) -> tuple[time_rule.Figure, str]:
        scales = tuple([scale_of(past, now, GPU)] * 2)
        figure = time_rule.Figure("total", scales, floor_log, 1.0, len(now) - 1)
        return figure, time_rule.reason_of([figure], time_rule.decide([figure], RULE), RULE, 0.5)

    found = []
    for _ in range(600):
        past = daily_runs([rng.gauss(0, 0.01) for _ in range(20)], 0.01)
        figure, _ = answer(past, [0.0])
        planted_log = math.log1p(time_rule.detectable_rel(figure, RULE, floor_log))
        now: list[float] = []
        reason = "unconfirmed"
        while reason == "unconfirmed" and len(now) < RULE.most_runs:
            now.append(planted_log + rng.gauss(0, 0.01))
            _, reason = answer(past, now)
        found.append(reason == "slower")
    assert statistics.mean(found) > 0.92
