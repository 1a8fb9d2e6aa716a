"""Figures are written in units that suit them, and rounding never leaves a unit behind."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_diffbench.report import units
from pytest_diffbench.report.units import (
    format_bytes,
    format_count,
    format_decibels,
    format_flops,
    format_percent,
    format_seconds,
)


@pytest.mark.parametrize(
    ("value_s", "text"),
    [
        (0.0, "0 s"),
        (1e-9, "<0.01 ms"),
        (0.00006, "0.06 ms"),
        (0.000999, "1.00 ms"),
        (0.0063, "6.30 ms"),
        (0.01206, "12.1 ms"),
        (0.1124, "112 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.000 s"),
        (1.8416, "1.842 s"),
        (9.9999, "10.00 s"),
        (123.456, "123.5 s"),
        (1234.5, "1,234 s"),
        (math.nan, "nan s"),
        (math.inf, "inf s"),
    ],
)
def test_seconds(value_s: float, text: str) -> None:
    assert format_seconds(value_s) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (2**20 - 1, "1.00 MiB"),
        (851_443_712, "812 MiB"),
        (20_615_843_020, "19.2 GiB"),
        (3 * 2**40, "3.00 TiB"),
    ],
)
def test_bytes(count: int, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 FLOP"),
        (950, "950 FLOP"),
        (999_999_999, "1.000 GFLOP"),
        (12_411_000_000, "12.41 GFLOP"),
        (18_100_000_000_000, "18.10 TFLOP"),
        (1_086_000_000_000_000, "1,086 TFLOP"),
    ],
)
def test_flops(count: int, text: str) -> None:
    assert format_flops(count) == text


@pytest.mark.parametrize(
    ("share_rel", "plain", "signed"),
    [
        (0.25, "25 %", "+25 %"),
        (0.05, "5.0 %", "+5.0 %"),
        (-0.0042, "-0.42 %", "-0.42 %"),
        (0.0995, "10 %", "+10 %"),
        (-1e-9, "0 %", "0 %"),
        (12.5, "1,250 %", "+1,250 %"),
    ],
)
def test_percent(share_rel: float, plain: str, signed: str) -> None:
    assert format_percent(share_rel) == plain
    assert format_percent(share_rel, signed=True) == signed


def test_counts_and_decibels() -> None:
    assert [format_count(n, "call") for n in (0, 1, 1200)] == ["0 calls", "1 call", "1,200 calls"]
    assert [format_decibels(v) for v in (41.25, None, math.inf)] == ["41.2 dB", "no difference", "no difference"]


@given(st.floats(min_value=1e-5, max_value=1e5))
def test_seconds_read_back_within_their_last_digit(value_s: float) -> None:
    number, unit = format_seconds(value_s).split()
    read_s = float(number.replace(",", "")) * {"s": 1.0, "ms": 1e-3}[unit]
    assert read_s == pytest.approx(value_s, rel=0.0051, abs=5.1e-6)


@given(st.integers(min_value=0, max_value=2**50))
def test_no_figure_is_wider_than_the_column(count: int) -> None:
    assert len(format_bytes(count)) <= len("1,024 TiB")
    assert len(format_flops(count)) <= len("1,126 TFLOP")


def test_lists_name_a_few_items_and_steps_are_in_words() -> None:
    assert units.format_list(["a", "b", "c", "d", "e"]) == "a; b; c; and 2 more"
    assert units.format_list(["a", "b"]) == "a; b"
    assert [units.format_steps_in_words(steps) for steps in ("3", "0-2,5")] == ["step 3", "steps 0-2, 5"]
    assert units.format_count(2, "process") == "2 processes"
