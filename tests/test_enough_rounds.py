"""When the timed rounds of a case are enough."""

from __future__ import annotations

import pytest

from pytest_diffbench.stats.enough_rounds import (
    BUDGET_S,
    LEAST_ROUNDS,
    MOST_ROUNDS,
    SHORT_BUDGET_S,
    USUAL_ROUNDS,
    are_enough,
)


@pytest.mark.parametrize("total_s", [0.001, 1.0, 60.0])
def test_equal_times_are_enough_from_the_least_number_on(total_s: float) -> None:
    assert [are_enough([total_s] * n) for n in range(1, LEAST_ROUNDS + 1)] == [False, False, True]


@pytest.mark.parametrize(("spread_rel", "rounds"), [(0.01, 3), (0.026, 4), (0.1, USUAL_ROUNDS)])
def test_a_restless_machine_gets_more_rounds(spread_rel: float, rounds: int) -> None:
    times_s = [BUDGET_S / USUAL_ROUNDS * (1 + spread_rel * (-1) ** n) for n in range(MOST_ROUNDS)]
    assert next(n for n in range(1, MOST_ROUNDS + 1) if are_enough(times_s[:n])) == rounds


def test_a_short_call_gets_up_to_the_most() -> None:
    times_s = [0.9 * SHORT_BUDGET_S / MOST_ROUNDS * (1 + 0.1 * (-1) ** n) for n in range(MOST_ROUNDS)]
    assert [are_enough(times_s[:n]) for n in range(MOST_ROUNDS + 1)] == [False] * MOST_ROUNDS + [True]


@pytest.mark.parametrize(
    ("total_s", "rounds"), [(BUDGET_S, LEAST_ROUNDS), (BUDGET_S / 3.5, 4), (SHORT_BUDGET_S / 6.5, 7)]
)
def test_of_times_far_apart_the_budget_decides(total_s: float, rounds: int) -> None:
    times_s = [total_s * (1 + 0.1 * (-1) ** n) for n in range(MOST_ROUNDS)]
    assert next(n for n in range(1, MOST_ROUNDS + 1) if are_enough(times_s[:n])) == rounds
