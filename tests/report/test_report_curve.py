"""The curve of a divergence: one line, on a logarithmic scale, only where a step is beyond the threshold."""

from __future__ import annotations

from typing import Any

import pytest
import report_factories as make
import report_records

from pytest_diffbench.records.details import OutputDetails, TraceDetails
from pytest_diffbench.report.comment import Links, page
from pytest_diffbench.report.curve import curve
from pytest_diffbench.report.failure import failure_text
from pytest_diffbench.report.lines import BARS, encodable, plain
from pytest_diffbench.report.terminal import case_lines

GROWTH: list[float | None] = [0.0, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3]


def series(gaps_rel: list[float | None]) -> list[tuple[str, float | None]]:
    """A call whose predictions are a thousandth as far apart as its latents, and whose decoder is far off."""
    places: list[tuple[str, float | None]] = [("text/0", 0.0)]
    for step, gap_rel in enumerate(gaps_rel):
        places += [(f"prediction/{step}/cond", gap_rel and gap_rel / 1000), (f"latents/{step}", gap_rel)]
    return [*places, ("latents/final", 0.7), ("decoded", 0.9)]


def differing(gaps_rel: list[float | None], threshold_rel: float = 1e-7) -> Any:
    trace = TraceDetails(
        place="latents/3", course="jump", threshold_rel=threshold_rel, series=tuple(series(gaps_rel))
    )
    return make.verdict(
        "output",
        "differs",
        "worse",
        "Image 0 differs from the baseline.",
        changes=("First divergence: a place",),
        details=OutputDetails(trace=trace),
    )


def test_every_step_is_a_bar_on_a_logarithmic_scale() -> None:
    assert curve(differing(GROWTH)) == f"distance {BARS} 0 % to 0.1 %, steps 0-7, log scale"


def test_a_jump_looks_like_a_jump() -> None:
    drawn = curve(differing([0.0, 0.0, 0.0, 0.2, 0.3, 0.2]))
    assert drawn is not None
    assert drawn.startswith("distance ▁▁▁▂█▂ 0 % to 30 %, steps 0-5")


def test_what_cant_be_compared_is_the_highest_bar() -> None:
    drawn = curve(differing([0.0, 0.1, None, 0.2]))
    assert drawn is not None
    assert drawn.startswith("distance ▁▂██ 0 % to not comparable")


def test_a_single_step_and_equal_distances() -> None:
    assert curve(differing([0.2])) == "distance █ 20 %, step 0, log scale"
    assert curve(differing([0.2, 0.2])) == "distance ██ 20 %, steps 0-1, log scale"


@pytest.mark.parametrize("count", [50, 51, 120, 1000])
def test_many_steps_share_bars_and_the_greatest_is_drawn(count: int) -> None:
    gaps_rel: list[float | None] = [0.0] * count
    gaps_rel[count // 2] = 0.5
    drawn = curve(differing(gaps_rel))
    assert drawn is not None
    assert drawn.count("█") == 1
    bars = sum(drawn.count(bar) for bar in BARS)
    assert 25 <= bars <= 50
    assert ("steps a bar" in drawn) == (count > 50)
    assert len(drawn) <= 120


@pytest.mark.parametrize(
    "details",
    [
        None,
        OutputDetails(),
        OutputDetails(trace=TraceDetails()),
        OutputDetails(trace=TraceDetails(series=(("decoded", 0.9), ("text/0", 0.9)), threshold_rel=0.1)),
    ],
)
def test_without_steps_there_is_no_curve(details: Any) -> None:
    assert curve(make.verdict("output", "differs", "worse", details=details)) is None


def test_where_no_step_is_beyond_the_threshold_there_is_no_curve() -> None:
    assert curve(differing([1e-8] * 5)) is None
    assert curve(differing([0.0] * 5, threshold_rel=0.0)) is None


def test_every_character_of_the_curve_has_a_substitute() -> None:
    assert encodable(BARS, "ascii") == "_.-~=+*#"
    assert encodable(BARS, "utf-8") == BARS


@pytest.mark.parametrize("width", [80, 100])
def test_reports_show_the_curve(width: int) -> None:
    report = make.report(report_records.lumina("test_cfg"), differing([*GROWTH, *[0.2] * 42]))
    terminal = plain(case_lines(report, width))
    assert "distance ▁" in terminal
    assert BARS[:3] in terminal
    drawn = next(line for line in terminal.splitlines() if "distance ▁" in line)
    assert 60 < len(drawn) <= width
    text = failure_text(report)
    assert "    - distance _" in text
    assert not set(text) & set(BARS)
    assert max(map(len, text.splitlines())) <= 100
    assert "\n  - distance ▁" in page(make.session(report), Links())


def test_reports_without_a_parting_are_unchanged() -> None:
    report = make.slower()
    for text in (plain(case_lines(report, 100)), failure_text(report), page(make.session(report), Links())):
        assert "log scale" not in text
