"""Draws steps and drifts of a history on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.report.lines import Line, hang, segment
from pytest_diffbench.report.sentences import trend as sentences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.records.history import Trend

_INDENT = 8


def trend_lines(trends: Sequence[Trend], series: int, width: int) -> list[Line]:
    """Draw trends, and count them.

    Args:
        trends: in the order in which they are drawn.
        series: number of series that were looked at.
        width: columns of the terminal.
    """
    lines: list[Line] = []
    for trend in trends:
        label, markup = ("worse", ("red", "bold")) if trend.worse else ("better", ("green",))
        lines += hang([segment(f"{label:{_INDENT}}", *markup)], sentences.headline(trend), width, _INDENT)
        for text in (sentences.when(trend), sentences.certainty(trend), *sentences.suspects(trend)):
            lines += hang([segment(" " * _INDENT)], text, width, _INDENT)
    worse = sum(trend.worse for trend in trends)
    return [*lines, [segment(f"{series:,} series: {worse} worse, {len(trends) - worse} better", "bold")]]
