"""The figures of a case over the sessions of a history, as small curves beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.report.history import figure_text
from pytest_diffbench.report.html import views
from pytest_diffbench.report.html.svg import drawing, stretched

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_diffbench.records.history import Series

_SHOWN = (
    "time.total_s",
    "time.denoise_s",
    "memory.peak_bytes",
    "work.denoiser_calls",
    "output.psnr_db",
    "origin.psnr_db",
)
"""Figures that are drawn, in this order."""

_NEWEST = 90
"""Runs that are drawn: a quarter of a year of nights."""

_HEIGHT_PX = 28.0
_MARGIN_PX = 3.0


def past_rows(series: Sequence[Series], trends: Mapping[str, str]) -> tuple[views.Past, ...]:
    """A curve for each figure of a case on its machine that has several values, with the newest change in words."""
    by_figure = {curve.figure: curve for curve in series if len(curve.values) > 1}
    return tuple(_row(by_figure[name], trends.get(name, "")) for name in _SHOWN if name in by_figure)


def _row(series: Series, trend: str) -> views.Past:
    values = series.values[-_NEWEST:]
    low, high = min(values), max(values)
    room_px = _HEIGHT_PX - 2 * _MARGIN_PX
    # a series that never moves is a line in the middle
    shares = [(high - value) / (high - low) if high > low else 0.5 for value in values]
    points = [(place / (len(values) - 1), _MARGIN_PX + room_px * share) for place, share in enumerate(shares)]
    least, most, latest = (figure_text(series.figure, value) for value in (low, high, values[-1]))
    began = series.started[-_NEWEST:][0][:10]
    label = f"{series.figure} of {len(values)} runs since {began}, {least} to {most}"
    curve = drawing([stretched(points, _HEIGHT_PX, "line")], _HEIGHT_PX, label)
    return views.Past(series.figure, curve, least if least == most else f"{least} to {most}", latest, began, trend)
