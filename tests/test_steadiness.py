"""When a sequence of times is doubted, and that noise seldom is."""

from __future__ import annotations

import itertools
import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_diffbench.stats import steadiness
from pytest_diffbench.stats.steadiness import doubt_about, drift_rel, gap_between_modes, still_falling

TIMES = st.lists(st.floats(0.001, 1000), max_size=12)


@pytest.mark.parametrize(
    ("times_s", "falling"),
    [
        ([], False),
        ([1.0], False),
        ([1.0, 0.91], False),
        ([1.0, 0.89], True),
        ([1.0, 1.5], False),
        ([2.0, 1.0, 0.95], False),
        ([0.0020, 0.0012], False),  # less than the interpreter's own
    ],
)
def test_a_call_much_faster_than_the_previous_call_is_still_warming_up(times_s: list[float], falling: bool) -> None:
    assert still_falling(times_s) is falling


@pytest.mark.parametrize(
    ("times_s", "doubt"),
    [
        ([1.00, 1.03, 1.06, 1.09, 1.12, 1.15], "drift of +15 %"),
        ([1.15, 1.12, 1.09, 1.06, 1.03, 1.00], "drift of -13 %"),
        ([1.00, 1.01, 1.02, 1.03, 1.04, 1.05], None),  # in order, yet small
        ([1.00, 1.03, 1.06, 1.09, 1.12], None),  # five in order are chance once in sixty times
        ([1.00, 1.06, 1.03, 1.09, 1.12, 1.15], None),  # one pair is not in order
        ([1.00, 1.21, 1.01, 1.20, 1.01, 1.22], "two modes, 17 % apart"),
        ([1.00, 1.01, 1.00, 1.01, 1.00, 1.80], None),  # one outlier is no mode
        ([1.00, 1.09, 1.00, 1.08, 1.01, 1.09], None),  # modes, yet near each other
        ([1.00, 1.20, 1.00, 1.20], None),  # four are too few
        ([0.0010, 0.0012, 0.0010, 0.0012, 0.0010, 0.0012], None),  # the interpreter's own
        ([1.0] * 6, None),
        ([], None),
        ([1.0, float("nan"), 1.0, 2.0, 2.0, 2.0], None),
        ([1.0, 0.0, 1.0, 2.0, 2.0, 2.0], None),
    ],
)
def test_what_is_doubted(times_s: list[float], doubt: str | None) -> None:
    assert doubt_about(times_s) == doubt


def test_drift_of_any_order_comes_by_chance_as_often_as_stated() -> None:
    drifting = [drift_rel([1.0 + place for place in order]) is not None for order in itertools.permutations(range(6))]
    assert sum(drifting) == 2  # of 720: up and down
    drifting = [drift_rel([1.0 + place for place in order]) is not None for order in itertools.permutations(range(7))]
    assert sum(drifting) / len(drifting) <= 0.005


def test_orders_are_counted_exactly() -> None:
    for count in range(7):
        orders_by_count = [0] * (count * (count - 1) // 2 + 1)
        for order in itertools.permutations(range(count)):
            orders_by_count[sum(first > other for first, other in itertools.combinations(order, 2))] += 1
        assert steadiness._orders_by_inversions(count) == tuple(orders_by_count)


def test_counted_and_normal_chances_agree_at_the_boundary() -> None:
    for score in range(0, 442, 2):  # of 60 times, down to half a percent
        counted = steadiness._counted_chance(60, score)
        normal = steadiness._normal_chance(60, score)
        assert normal == pytest.approx(counted, rel=0.07)
    assert counted < steadiness._DRIFT_CHANCE < steadiness._counted_chance(60, 436)
    # nobody is called drifting by the one who wouldn't be by the other, but for two scores
    assert steadiness._normal_chance(60, 440) > steadiness._DRIFT_CHANCE > steadiness._normal_chance(60, 442)


def test_a_score_is_the_rising_pairs_less_the_falling_pairs() -> None:
    draw = random.Random(4)
    times_s = [draw.randint(1, 9) / 8 for _ in range(40)]
    pairs = list(itertools.combinations(times_s, 2))
    assert steadiness._score(times_s) == sum(a < b for a, b in pairs) - sum(a > b for a, b in pairs)


def test_thousands_of_times_are_doubted_as_a_few_are() -> None:
    draw = random.Random(9)
    noise = [[draw.gauss(1, 0.04) for _ in range(2000)] for _ in range(40)]
    assert sum(drift_rel(times) is not None for times in noise) <= 1
    assert [doubt_about(times) for times in noise] == [None] * 40
    growing = [time_s * (1 + 0.3 * i / 1999) for i, time_s in enumerate(noise[0])]
    assert drift_rel(growing) == pytest.approx(0.3, abs=0.02)
    assert "drift of +" in (doubt_about(growing) or "")
    assert "drift of -" in (doubt_about(growing[::-1]) or "")


@pytest.mark.parametrize("count", [61, 199, 200, 450])
def test_thinned_slopes_have_the_median_of_all(count: int) -> None:
    draw = random.Random(count)
    times_s = [draw.gauss(1, 0.05) * (1 + 0.3 * i / count) * (3 if i % 20 == 7 else 1) for i in range(count)]
    every = statistics.median(
        math.log(times_s[j] / times_s[i]) / (j - i) for i, j in itertools.combinations(range(count), 2)
    )
    tolerance = 1e-9 if count < 200 else 0.01
    assert drift_rel(times_s) == pytest.approx(math.expm1((count - 1) * every), abs=tolerance)


@pytest.mark.parametrize("count", [5, 6, 8, 11, 16, 21, 30])
def test_a_gap_in_normal_noise_is_rare(count: int) -> None:
    draw = random.Random(count)
    gaps = sum(gap_between_modes([draw.gauss(10, 1) for _ in range(count)]) is not None for _ in range(5000))
    assert gaps / 5000 <= 0.005


@pytest.mark.parametrize("count", [11, 21])
def test_planted_drift_is_mostly_detected(count: int) -> None:
    draw = random.Random(count)
    drifts = [[draw.gauss(1, 0.02) * (1 + 0.3 * i / count) for i in range(count)] for _ in range(300)]
    modes = [[draw.gauss(1, 0.02) * (1 + 0.3 * (i % 2)) for i in range(count)] for _ in range(300)]
    assert sum("drift" in (doubt_about(times) or "") for times in drifts) > 280
    assert sum("two modes" in (doubt_about(times) or "") for times in modes) > 280


@given(TIMES, st.floats(2, 50))
def test_slower_by_a_factor_is_no_less_doubted(times_s: list[float], factor: float) -> None:
    # Only the floor for tiny calls has a unit.
    if doubt_about(times_s) is not None:
        assert doubt_about([factor * time_s for time_s in times_s]) is not None


@given(st.floats(0.001, 1000), st.integers(0, 12))
def test_equal_times_are_steady(time_s: float, count: int) -> None:
    assert doubt_about([time_s] * count) is None
    assert not still_falling([time_s] * count)
