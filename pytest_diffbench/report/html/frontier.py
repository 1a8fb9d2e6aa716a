"""A comparison as a chart: how much faster each variant is, against how alike its output is to the reference's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_diffbench.judge.limits import metric_named
from pytest_diffbench.report.comparisons import likeness_names, likeness_text, likeness_value, ratio_text
from pytest_diffbench.report.html.charts import framed
from pytest_diffbench.report.html.svg import drawing, element, percent, stretched
from pytest_diffbench.report.sentences import page as sentences

if TYPE_CHECKING:
    from markupsafe import Markup

    from pytest_diffbench.records import Comparison, VariantReport

HEIGHT_PX = 240
_PAD_PX = 22
_MOST_DB = 60.0
"""Images that are nearer than this, equal ones included, stand at the top."""


def frontier(comparison: Comparison) -> Markup | None:
    """Draw the variants that have a speed-up and a likeness; None where fewer than two have."""
    name = next((name for name in likeness_names([comparison]) if metric_named(name).decibels), "psnr_db")
    placed = [
        (variant, far_db, variant.speedup_rel)
        for variant in comparison.variants
        if variant.speedup_rel is not None and (far_db := _decibels(variant, name)) is not None
    ]
    if len(placed) < 2:
        return None
    fastest = max(speedup.high for _, _, speedup in placed)
    slowest = min(1.0, *(speedup.low for _, _, speedup in placed))
    low_db = min(psnr_db for _, psnr_db, _ in placed)
    low_db = 10 * math.floor((low_db - 2) / 10)
    span = (fastest - slowest) or 1.0

    def across(speedup: float) -> float:
        return 0.07 + 0.8 * (speedup - slowest) / span

    def down_px(psnr_db: float) -> float:
        return _PAD_PX + (HEIGHT_PX - 2 * _PAD_PX) * (1 - (psnr_db - low_db) / (_MOST_DB - low_db))

    shapes: list[Markup] = []
    labels: list[tuple[str, float]] = []
    for db in range(low_db, int(_MOST_DB) + 1, 10):
        shapes.append(element("line", x1="0%", x2="100%", y1=down_px(db), y2=down_px(db), class_="grid"))
        labels.append((f"{db} dB" if db < _MOST_DB else "equal", down_px(db) + 4))
    ticks = _ticks(slowest, fastest)
    for tick in ticks:
        place = percent(across(tick))
        shapes.append(element("line", x1=place, x2=place, y1=_PAD_PX, y2=HEIGHT_PX - _PAD_PX, class_="grid"))
        text = element("text", ratio_text(tick), x=place, y=HEIGHT_PX - 4, text_anchor="middle", class_="tick")
        shapes.append(text)
    best = sorted((speedup.value, psnr_db) for variant, psnr_db, speedup in placed if not variant.dominated_by)
    if len(best) > 1:
        shapes.append(
            stretched([(across(value), down_px(psnr_db)) for value, psnr_db in best], HEIGHT_PX, "line frontier")
        )
    for variant, psnr_db, speedup in placed:
        at, down = across(speedup.value), down_px(psnr_db)
        class_ = "reference" if variant.name == comparison.reference else "off" if variant.dominated_by else ""
        shapes.append(
            element(
                "line",
                x1=percent(across(speedup.low)),
                x2=percent(across(speedup.high)),
                y1=down,
                y2=down,
                class_="range",
            )
        )
        title = element("title", f"{variant.name}: {ratio_text(speedup.value)}, {likeness_text(variant, name)}")
        shapes.append(element("circle", title, cx=percent(at), cy=down, r=5, class_=f"variant {class_}".strip()))
        shapes.append(element("text", variant.name[:28], x=percent(at), y=down - 10, text_anchor="middle"))
    label = sentences.frontier_label(comparison, ticks)
    return framed(labels, drawing(shapes, HEIGHT_PX, label, "plot scatter"), HEIGHT_PX, "scattered")


def _ticks(slowest: float, fastest: float) -> list[float]:
    """Round speed-ups within a range, 1 among them."""
    size = next((size for size in (0.05, 0.1, 0.2, 0.5, 1.0, 2.0) if (fastest - slowest) / size <= 6), 5.0)
    first, last = math.ceil((slowest - 1) / size), math.floor((fastest - 1) / size)
    return [1 + number * size for number in range(first, last + 1)]


def _decibels(variant: VariantReport, name: str) -> float | None:
    difference = variant.image_difference
    if difference is None or difference.problem is not None:
        return None
    if difference.same_bits:
        return _MOST_DB
    value_db = likeness_value(variant, name)
    return None if value_db is None else min(value_db, _MOST_DB)
