"""Intervals of speed-ups: by hand, by what must not change them, and by seeded simulation of busy machines."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest

from pytest_diffbench.judge.time import speedups
from pytest_diffbench.judge.time.speedups import LEAST_BLOCKS, LogRatio, estimate, log_ratios, looks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CONFIDENCE = 0.99
PRECISION_REL = 0.05


def test_looks_begin_with_whole_pairs_and_double() -> None:
    assert looks(1) == looks(5) == looks(6) == (6, 12, 24)
    assert looks(7) == looks(8) == (8, 16, 32)
    assert all(count % 2 == 0 for rounds in range(1, 40) for count in looks(rounds))


def test_an_interval_by_hand() -> None:
    # Mean .1, ±.01 within each pair: pairs agree, so that the blocks' own error counts, .01 * sqrt(6/5) / sqrt(6).
    logs = [0.11, 0.09, 0.09, 0.11, 0.11, 0.09]
    estimated = estimate(logs, CONFIDENCE)
    assert estimated.centre_log == pytest.approx(0.1)
    assert estimated.standard_error_log == pytest.approx(0.01 * math.sqrt(6 / 5) / math.sqrt(6))
    # Half of 1 % is spent on the first look: t(.9975, 5) = 4.7733.
    half_log = 4.7733 * estimated.standard_error_log
    assert (estimated.low_log, estimated.high_log) == pytest.approx((0.1 - half_log, 0.1 + half_log), rel=1e-4)
    speedup = estimated.speedup()
    assert (speedup.low, speedup.value, speedup.high) == pytest.approx(
        [math.exp(0.1 + side * half_log) for side in (-1, 0, 1)], rel=1e-4
    )
    assert 1.105 in speedup
    assert 1.0 not in speedup


def test_what_neighbouring_blocks_share_widens_the_interval() -> None:
    shared = estimate([0.1, 0.1, -0.1, -0.1, 0.1, 0.1], CONFIDENCE)
    mixed = estimate([0.1, -0.1, 0.1, -0.1, 0.1, 0.1], CONFIDENCE)
    assert shared.standard_error_log > 1.5 * mixed.standard_error_log


def test_the_looks_share_the_chance_of_a_miss() -> None:
    logs = [0.1, 0.12, 0.09, 0.11, 0.1, 0.08]  # too few for ranks, so that Student's is used at each look
    widths = [estimate(logs, CONFIDENCE, look).high_log for look in range(3)]
    assert widths[0] < widths[1] == widths[2]


def test_a_rank_interval_by_hand() -> None:
    # Of 2^12 = 4096 ways, the signed ranks of 12 blocks sum to 0, 1 and 2 in one each, to 3 and 4 in two each. With
    # .00125 on each side sums up to 3 are left out, 5 / 4096 = .00122, and 4 isn't: the fourth mean is the end.
    logs = [0.01 * number for number in range(12)]
    estimated = estimate(logs, CONFIDENCE, 1)
    means = sorted((a + b) / 2 for at, a in enumerate(logs) for b in logs[at:])
    assert estimated.centre_log == pytest.approx(0.055)
    assert (estimated.low_log, estimated.high_log) == (means[3], means[-4])


def test_ranks_agree_with_scipy() -> None:
    from scipy import stats

    draw = random.Random(5)
    logs = [draw.gauss(0.1, 0.05) for _ in range(12)]
    estimated = estimate(logs, CONFIDENCE, 1)
    for end_log, inside in ((estimated.low_log, -1e-9), (estimated.high_log, 1e-9)):
        beyond = [log_ratio - (end_log + inside) for log_ratio in logs]
        within = [log_ratio - (end_log - inside) for log_ratio in logs]
        assert stats.wilcoxon(beyond, method="exact").pvalue <= 0.0025
        assert stats.wilcoxon(within, method="exact").pvalue > 0.0025


def test_counted_and_normal_ranks_agree_at_the_boundary() -> None:
    for miss in (0.0025, 0.005, 0.025, 0.25):
        counted, normal = speedups._counted_ranks(100, miss), speedups._normal_ranks(100, miss)
        assert normal == pytest.approx(counted, rel=0.006)
        assert normal <= counted + 1  # wider rather than narrower
    assert speedups._ranks_left_out(101, 0.005) > speedups._ranks_left_out(100, 0.005)


@pytest.mark.parametrize("count", [201, 202, 203])
@pytest.mark.parametrize("digits", [1, 15])
def test_searched_means_match_the_list(count: int, digits: int) -> None:
    draw = random.Random(count)
    logs = [round(draw.gauss(0.1, 0.5), digits) for _ in range(count)]
    means = speedups._Means(logs)
    every = sorted((a + b) / 2 for at, a in enumerate(logs) for b in logs[at:])
    assert len(means) == len(every)
    for rank in (1, 2, 77, len(every) // 2, len(every) - 1, len(every)):
        assert means.at(rank) == pytest.approx(every[rank - 1], abs=1e-12)


def test_thousands_of_blocks_have_a_narrow_interval_holding_the_truth() -> None:
    draw = random.Random(2)
    logs = [draw.gauss(0.1, 0.05) + (2 if number % 50 == 3 else 0) for number in range(4000)]
    estimated = estimate(logs, CONFIDENCE, 2)
    assert estimated.blocks == 4000
    assert estimated.low_log < 0.1 + 0.002 < estimated.high_log  # one block in fifty was held up
    assert estimated.half_width_rel < 0.004
    assert estimated.low_log < estimated.centre_log < estimated.high_log
    equal = estimate([0.25] * 2000, CONFIDENCE, 2)
    assert (equal.low_log, equal.centre_log, equal.high_log) == (0.25, 0.25, 0.25)


def test_rounds_held_up_hardly_move_a_rank_interval() -> None:
    draw = random.Random(3)
    logs = [draw.gauss(0.1, 0.02) for _ in range(24)]
    held_up = [log_ratio + (3.0 if number in (4, 17) else 0.0) for number, log_ratio in enumerate(logs)]
    plain, busy = (estimate(ratios, CONFIDENCE, 2) for ratios in (logs, held_up))
    assert busy.centre_log == pytest.approx(plain.centre_log, abs=0.01)
    assert busy.high_log - busy.low_log < 2 * (plain.high_log - plain.low_log)


def test_scaling_all_times_changes_nothing_and_swapping_sides_inverts_the_ratio() -> None:
    reference_s, variant_s = [1.0, 1.1, 0.9, 1.3, 1.0, 1.2], [0.8, 0.85, 0.7, 1.0, 0.81, 0.9]
    plain = estimate(log_ratios(reference_s, variant_s), CONFIDENCE)
    scaled = estimate(
        log_ratios([1e3 * time_s for time_s in reference_s], [1e3 * time_s for time_s in variant_s]), CONFIDENCE
    )
    turned = estimate(log_ratios(variant_s, reference_s), CONFIDENCE)
    assert scaled.centre_log == pytest.approx(plain.centre_log)
    assert scaled.high_log == pytest.approx(plain.high_log)
    assert turned.speedup().value == pytest.approx(1 / plain.speedup().value)
    assert turned.speedup().low == pytest.approx(1 / plain.speedup().high)


def test_equal_times_are_a_ratio_of_1_for_certain() -> None:
    assert estimate(log_ratios([1.0] * 6, [1.0] * 6), CONFIDENCE).speedup().low == 1.0


def test_a_monstrous_interval_stays_a_number() -> None:
    wild = estimate([300.0, -300.0, 300.0, 300.0, -300.0, 300.0], CONFIDENCE)
    assert 0 < wild.speedup().low < wild.speedup().high < math.inf
    assert math.isfinite(wild.half_width_rel)


@pytest.mark.parametrize("logs", [[], [0.1]])
def test_a_single_block_has_no_interval(logs: list[float]) -> None:
    with pytest.raises(ValueError, match="two blocks or more"):
        estimate(logs, CONFIDENCE)


def test_sides_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        log_ratios([1.0, 1.0], [1.0])


# -- simulated machines: the pace of each round, as the logarithm of its time


def quiet(draw: random.Random, count: int) -> list[float]:
    return [draw.gauss(0, 0.03) for _ in range(count)]


def wandering(draw: random.Random, count: int) -> list[float]:
    pace, paces = 0.0, []
    for _ in range(count):
        pace += draw.gauss(0, 0.03)
        paces.append(pace)
    return paces


def clinging(draw: random.Random, count: int) -> list[float]:
    """Each round's pace is nine tenths of the last one's: autocorrelated, and back in the end."""
    pace, paces = draw.gauss(0, 0.07), []
    for _ in range(count):
        pace = 0.9 * pace + draw.gauss(0, 0.03)
        paces.append(pace)
    return paces


def heating(draw: random.Random, count: int) -> list[float]:
    return [0.5 * i / count + draw.gauss(0, 0.01) for i in range(count)]


def bursting(draw: random.Random, count: int) -> list[float]:
    return [draw.gauss(0, 0.02) + (draw.expovariate(2.5) if draw.random() < 0.1 else 0) for _ in range(count)]


def two_modes(draw: random.Random, count: int) -> list[float]:
    slow, paces = 0.0, []
    for _ in range(count):
        if draw.random() < 0.15:
            slow = 0.5 - slow
        paces.append(slow + draw.gauss(0, 0.01))
    return paces


MACHINES = [quiet, wandering, clinging, heating, bursting, two_modes]


def measured(
    pace: Callable[[random.Random, int], list[float]], true_log: float, draw: random.Random
) -> tuple[LogRatio, bool]:
    """A comparison on such a machine, measured on while the interval is wide; and whether that holds the truth.

    The order of each pair is drawn, and its second half reversed, as `measure.interleave` does it.
    """
    counts = looks(LEAST_BLOCKS)
    steps = pace(draw, 2 * counts[-1])
    logs: list[float] = []
    for block in range(0, counts[-1], 2):
        first = steps[2 * block : 2 * block + 4]
        sign = draw.choice((-1, 1))
        logs += [true_log + sign * (first[0] - first[1]), true_log + sign * (first[3] - first[2])]
    for look, count in enumerate(counts):
        estimated = estimate(logs[:count], CONFIDENCE, look)
        if estimated.half_width_rel <= PRECISION_REL:
            break
    return estimated, estimated.low_log <= true_log <= estimated.high_log


def shares(pace: Callable[[random.Random, int], list[float]], true_log: float, seeds: Sequence[int]) -> float:
    """Share of comparisons whose interval holds the truth."""
    return sum(measured(pace, true_log, random.Random(seed))[1] for seed in seeds) / len(seeds)


@pytest.mark.parametrize("pace", MACHINES)
def test_the_interval_holds_the_truth_as_often_as_stated(
    pace: Callable[[random.Random, int], list[float]],
) -> None:
    # Of 1,500 at 99 %, 98.3 % or fewer would come up once in a hundred times by chance alone.
    assert shares(pace, 0.3, range(1500)) >= 0.983


def test_the_simulation_can_tell_a_bad_interval() -> None:
    # Half as wide, these intervals would miss often: the test above isn't one that passes anything.
    seeds = range(400)
    missed = 0
    for seed in seeds:
        estimated, _ = measured(quiet, 0.3, random.Random(seed))
        missed += abs(estimated.centre_log - 0.3) > (estimated.high_log - estimated.low_log) / 4
    assert missed / len(seeds) > 0.05


@pytest.mark.parametrize(
    ("pace", "more", "power"),
    [
        (quiet, 1.1, 0.95),
        (wandering, 1.1, 0.95),
        (heating, 1.1, 0.95),
        # A machine that takes half as long again in every tenth round, or for a while, hides more.
        (bursting, 1.25, 0.7),
        (two_modes, 1.25, 0.7),
    ],
)
def test_more_time_is_detected(pace: Callable[[random.Random, int], list[float]], more: float, power: float) -> None:
    estimates = [measured(pace, -math.log(more), random.Random(seed))[0] for seed in range(300)]
    assert sum(estimated.speedup().high < 1 for estimated in estimates) >= power * len(estimates)
