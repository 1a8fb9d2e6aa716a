"""Steps, drifts, and what must not be taken for them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy.special import bdtrc, stdtr

from pytest_diffbench.judge.trend import alpha_of, by_pace, pooled, trends
from pytest_diffbench.records.history import Series
from pytest_diffbench.stats import changepoints
from pytest_diffbench.stats.changepoints import LATEST, LEAST_BEFORE, Values

NIGHTS = 60


def series(values: Any, figure: str = "time.total_s", case: str = "t.py::test_a", **changed: Any) -> Series:
    """A figure night by night."""
    count = len(values)
    fields: dict[str, Any] = {
        "case": case,
        "machine": "cpu",
        "figure": figure,
        "model": "lumina2 mini",
        "started": tuple(f"2026-{1 + n // 28:02}-{1 + n % 28:02}T03:00:00+00:00" for n in range(count)),
        "commits": tuple(f"{n:040x}" for n in range(count)),
        "software": tuple(json.dumps({"torch": "2.13.0" if n >= 40 else "2.12.0"}) for n in range(count)),
        "saved": ("",) * count,
        "values": tuple(float(value) for value in values),
    }
    return Series(**fields | changed)


def noisy(deviation: float = 0.01, count: int = NIGHTS) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.exp(np.random.default_rng(5).normal(0, deviation, count))


def test_a_step_is_detected_with_night_size_and_suspects() -> None:
    values = noisy()
    values[40:] *= 1.06
    (step,) = trends([series(values)])
    assert (step.kind, step.worse, step.figure) == ("step", True, "time.total_s")
    assert step.low < 0.06 < step.high
    assert step.change == pytest.approx(0.06, abs=0.01)
    assert step.earliest <= "2026-02-13T03:00:00+00:00" <= step.latest
    assert step.commits == (f"{39:040x}", f"{40:040x}")
    assert step.changed_since == ("torch 2.12.0 -> 2.13.0",)
    assert step.before is not None
    assert step.before == pytest.approx(1.0, rel=0.01)
    assert step.chance < 1e-6


def test_a_step_back_is_better_and_both_are_reported() -> None:
    values = noisy()
    values[20:40] *= 1.08
    back, there = trends([series(values)])
    assert (there.worse, back.worse) == (True, False)
    assert there.since < back.since


def test_ten_steps_of_1_percent_are_a_drift_of_10() -> None:
    values = noisy(0.01) * 1.01 ** (np.arange(NIGHTS) // 6)
    drift = next(item for item in trends([series(values)]) if item.kind == "drift")
    assert drift.change == pytest.approx(1.01**9.5 - 1, abs=0.02)
    assert drift.worse


@pytest.mark.parametrize("seed", range(3))
def test_noise_with_busy_nights_is_neither(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logs = rng.normal(0, 0.05, (200, NIGHTS)) + np.where(rng.random((200, NIGHTS)) < 1 / 12, 0.5, 0.0)
    alarms = trends([series(np.exp(row), case=f"t.py::test_{n}", model=str(n)) for n, row in enumerate(logs)])
    assert len(alarms) <= 1


def test_a_night_alone_is_no_step_and_neither_are_two_busy_nights_in_a_row() -> None:
    values = noisy()
    values[-1] *= 1.5
    assert trends([series(values)]) == []
    values[30:32] *= 2.0
    assert trends([series(values)]) == []


def test_a_count_without_noise_is_reported_at_once() -> None:
    calls = np.full(NIGHTS, 30.0)
    calls[-1:] = 45
    (step,) = trends([series(calls, "work.denoiser_calls")])
    assert (round(step.change, 9), step.chance, step.runs, step.worse) == (0.5, 0.0, 1, True)


def test_a_falling_distance_in_decibels_is_worse() -> None:
    psnr = np.full(NIGHTS, 200.0)
    psnr[50:] = 42.0
    (step,) = trends([series(psnr, "output.psnr_db")])
    assert (step.worse, step.relative, step.change) == (True, False, -158.0)


def test_what_slows_the_whole_machine_is_no_step_of_the_code() -> None:
    pace = noisy(0.002)
    pace[40:] *= 1.3
    total = noisy(0.01) * pace
    assert len(trends([series(total)])) == 1
    assert trends([series(total), series(0.5 * pace, "pace.matmul_s")]) == []
    assert [item.figure for item in by_pace([series(total), series(pace, "pace.matmul_s")])] == ["time.total_s"]


def test_what_all_cases_of_a_model_have_in_common_is_detected_in_their_noise() -> None:
    rng = np.random.default_rng(1)
    logs = rng.normal(0, 0.05, (40, 45))
    logs[:, 41:] += np.log(1.04)
    cases = [series(np.exp(row), case=f"t.py::test_{n}") for n, row in enumerate(logs)]
    (step,) = trends(cases)
    assert (step.case, step.cases, step.model) == ("", 40, "lumina2 mini")
    assert step.change == pytest.approx(0.04, abs=0.015)
    assert step.before is None
    (common,) = pooled(cases)
    assert len(common.values) == 45
    assert pooled(cases[:4]) == []


def test_short_series_say_nothing() -> None:
    for count in range(1, 7):
        assert trends([series(noisy(count=count))]) == []
        assert Values(noisy(count=count).tolist()).changes(1e-6) == []


def test_a_change_scales_with_nothing() -> None:
    values = noisy()
    values[30:] *= 1.1
    (step,) = trends([series(values)])
    (scaled,) = trends([series(1000 * values)])
    assert scaled.change == pytest.approx(step.change)
    assert scaled.since == step.since


def test_more_series_ask_for_more_evidence() -> None:
    assert alpha_of(2000) == pytest.approx(alpha_of(20) / 100)
    assert alpha_of(1) == alpha_of(20)


def test_a_drift_needs_an_anchor_and_as_many_new_values_after() -> None:
    values = [1.0] * LEAST_BEFORE + [2.0] * LATEST
    drift = Values(values).drift(1e-6)
    assert drift is not None
    assert drift.size == 1.0
    assert Values(values[:-1]).drift(1e-6) is None


@pytest.mark.parametrize("count", [6, 7, 12, 40, 100, 365, 2000])
def test_bounds_are_on_the_sure_side_and_near(count: int) -> None:
    for alpha in (1e-9, 2.3e-6, 2e-4, 0.01):
        for tests in (1, 5):
            least = changepoints._least_score(alpha, count, tests)
            assert alpha < 2 * tests * stdtr(2 * count / 3, -least) < (4 if count < 40 else 1.5) * alpha
    for often in (1 / (count + 2), 0.1, 0.5, 0.9):
        for least in range(1, count + 1, max(count // 20, 1)):
            exact = float(bdtrc(least - 1, count, often))
            bound = changepoints._least_tail(least, count, often)
            assert min(0.99999 * exact, 0.3) - 1e-300 <= bound <= exact + 1e-300


@pytest.mark.parametrize("count", [4, 6, 11, 12, 13, 60, 100])
@pytest.mark.parametrize("deviation", [0.0, 1e-9, 0.01])
def test_what_is_seen_through_at_once_is_what_each_alone_shows(
    count: int, deviation: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(count)
    steps = np.where(np.arange(count) >= count // 2, 1.0, 0.0) * rng.uniform(0, 8, 60)[:, None]
    drifts = np.linspace(0, 1, count) * rng.uniform(0, 12, 60)[:, None]
    outliers = np.where(rng.random((60, count)) < 0.1, 20.0, 0.0)
    noise = rng.normal(0, 1, (60, count))
    rows = 20 + max(deviation, 1e-9) * np.concatenate((noise + steps, noise + drifts, noise + outliers, noise))
    if not deviation:
        rows = 20 + np.concatenate((steps, drifts, outliers, 0 * noise)).round()
    may = changepoints.may_move(rows, 1e-4)
    found = [(Values(row).changes(1e-4), Values(row).drift(1e-4)) for row in rows]
    monkeypatch.setattr(changepoints, "_least_score", lambda *_: 0.0)
    monkeypatch.setattr(changepoints, "_least_tail", lambda *_: 0.0)
    exact = [(Values(row).changes(1e-4), Values(row).drift(1e-4)) for row in rows]
    assert found == exact
    assert [alone for alone, moves in zip(exact, may, strict=True) if not moves and alone != ([], None)] == []
    if deviation == 0.01:
        assert np.count_nonzero(may[180:]) <= 3, "noise alone"
        assert count < 60 or np.count_nonzero(may[:120]) > 60
