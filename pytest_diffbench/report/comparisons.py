"""Draws variants beside their reference: a table of speed-ups, what counts predict, and how alike the images are."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

from pytest_diffbench.judge.limits import metric_named
from pytest_diffbench.outputs.kinds import KINDS
from pytest_diffbench.report.lines import SEPARATOR, Line, hang, segment, visible
from pytest_diffbench.report.sentences.work import INERT_VARIANT
from pytest_diffbench.report.units import format_decibels, format_percent, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_diffbench.records import Comparison, Speedup, VariantReport

IMAGE_LIKENESS = ("psnr_db", "ssim")
"""Metrics that say how alike images are."""

INERT_MARK = " inert"

_INDENT = 4
_LEAST_NAME = 7
"""Columns for names below which they stand on lines of their own."""


def comparison_lines(comparisons: Sequence[Comparison], width: int) -> list[Line]:
    """Draw all comparisons of a session; nothing where there are none."""
    if not comparisons:
        return []
    title: Line = [segment("variants", "bold"), segment(f"{SEPARATOR}interleaved in one process")]
    lines = [title]
    for comparison in comparisons:
        lines += _block(comparison, width)
    how = (
        "speed-up: time of the reference over time of the variant, (low-high) its interval; predicted: what the"
        " denoiser work that is saved leaves of the reference's time"
    )
    return [*lines, *hang([segment(" " * _INDENT)], how, width, _INDENT)]


def confidence_text(comparison: Comparison) -> str:
    """`99 %`, or `99.9 %`."""
    return f"{100 * comparison.confidence:g} %"


def speedup_text(speedup: Speedup | None) -> str:
    """A speed-up with its interval: `1.34× (1.31-1.37)`."""
    if speedup is None:
        return ""
    return f"{ratio_text(speedup.value)} ({_digits(speedup.low)}-{_digits(speedup.high)})"


def ratio_text(ratio: float | None) -> str:
    """A ratio: `1.34×`."""
    return "" if ratio is None else f"{_digits(ratio)}×"


def _digits(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 99.995 else f"{ratio:.3g}"


def calls_text(report: VariantReport) -> str:
    """Denoiser calls, and how many fewer: `45 -25 %`."""
    if report.denoiser_calls is None:
        return ""
    saved = report.work_saved_rel
    return f"{report.denoiser_calls:,}" + (f" {format_percent(-saved, signed=True)}" if saved else "")


def likeness_names(comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    """Names of the metrics that say how alike outputs are: of images, and of the other kinds that any variant has."""
    differences = [
        variant.image_difference
        for comparison in comparisons
        for variant in comparison.variants
        if variant.image_difference is not None
    ]
    present = {name for difference in differences for name in difference.parts}
    parts = [name for kind in KINDS.values() for name in kind.likeness if name in present]
    pictured = any(difference.psnr_db is not None or difference.ssim is not None for difference in differences)
    return (*(IMAGE_LIKENESS if pictured or not parts else ()), *dict.fromkeys(parts))


def likeness_label(name: str) -> str:
    """Head of a column of one of them."""
    return {"psnr_db": "PSNR", "ssim": "SSIM"}.get(name) or metric_named(name).label


def likeness_value(report: VariantReport, name: str) -> float | None:
    """A metric's value against the reference's output; None where it has none."""
    difference = report.image_difference
    if difference is None or difference.problem is not None:
        return None
    value: float | None = getattr(difference, name) if name in IMAGE_LIKENESS else difference.parts.get(name)
    return value


def likeness_text(report: VariantReport, name: str) -> str:
    """The same as text; empty where outputs weren't compared by it. Of several prompts the worst (and the mean)."""
    over = report.over_prompts
    if over is not None and name in IMAGE_LIKENESS:
        write = format_decibels if name == "psnr_db" else "{:.4f}".format
        if over.equal == over.prompts:
            return "equal" if name == "psnr_db" else write(1)
        worst, mean = (over.psnr_db, over.mean_psnr_db) if name == "psnr_db" else (over.ssim, over.mean_ssim)
        return "" if worst is None or mean is None else f"{write(worst)} ({write(mean)})"
    difference = report.image_difference
    if difference is None or difference.problem is not None:
        return ""
    value = likeness_value(report, name)
    if name == "psnr_db":
        return "equal" if difference.same_bits else "" if value is None else format_decibels(value)
    if name == "ssim":
        return "1.0000" if difference.same_bits else "" if value is None else f"{value:.4f}"
    metric = metric_named(name)
    if difference.same_bits:
        return "equal" if metric.decibels else metric.text(metric.best)
    return metric.text(value) if name in difference.parts else ""


def latents_text(report: VariantReport) -> str:
    """Relative distance of the final latents from the reference's."""
    difference = report.image_difference
    return "" if difference is None or difference.latents_rel is None else format_percent(difference.latents_rel)


def remarks(comparison: Comparison) -> list[str]:
    """What a table can't hold, one line each: disagreement, domination, images that can't be compared."""
    texts = []
    for variant in comparison.variants:
        if variant.inert:
            texts.append(f"{variant.name}: {INERT_VARIANT}")
        if variant.agrees_with_prediction is False and variant.predicted_speedup_rel is not None:
            texts.append(
                f"{variant.name}: {ratio_text(variant.predicted_speedup_rel)}, which the denoiser's"
                f" {'FLOPs' if variant.predicted_from == 'flops' else 'calls'} predict, lies outside the interval"
            )
        if variant.dominated_by:
            texts.append(f"{variant.name}: dominated, {', '.join(variant.dominated_by)} is faster and more alike")
        if variant.image_difference is not None and variant.image_difference.problem is not None:
            texts.append(f"{variant.name}: output not compared, {variant.image_difference.problem}")
    return texts


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """A column of a comparison's table; one that is `further` stands on a terminal only where there is room."""

    head: str
    cells: tuple[str, ...]
    further: bool = False

    @property
    def width(self) -> int:
        """Characters that it takes."""
        return max(map(len, (self.head, *self.cells)))


def columns_of(comparison: Comparison) -> list[Column]:
    """All columns beside the names, with a cell for each variant; figures that weren't measured are empty cells."""

    def column(head: str, text: Callable[[VariantReport], str], *, further: bool = False) -> Column:
        return Column(head, tuple(map(text, comparison.variants)), further)

    def beside(head: str, text: Callable[[VariantReport], str], *, further: bool = False) -> Column:
        return column(head, lambda row: "" if row.name == comparison.reference else text(row), further=further)

    def speedup(row: VariantReport) -> str:
        if row.name == comparison.reference:
            return "reference"
        # Beside the figure, for it takes back what that seems to say.
        return speedup_text(row.speedup_rel) + INERT_MARK * bool(row.inert)

    return [
        column("total", lambda row: "" if row.median_s is None else format_seconds(row.median_s)),
        column(f"speed-up ({confidence_text(comparison)})", speedup),
        beside("denoise", lambda row: speedup_text(row.stage_speedups_rel.get("denoise")), further=True),
        beside("predicted", lambda row: ratio_text(row.predicted_speedup_rel)),
        column("calls", calls_text),
        *(
            beside(likeness_label(name), functools.partial(likeness_text, name=name))
            for name in likeness_names([comparison])
        ),
        beside("latents", latents_text, further=True),
    ]


def _table_width(columns: Sequence[Column]) -> int:
    return sum(column.width + 2 for column in columns)


def _block(comparison: Comparison, width: int) -> list[Line]:
    columns = [column for column in columns_of(comparison) if any(column.cells)]
    shown = [column for column in columns if not column.further]
    names = [visible(variant.name) for variant in comparison.variants]
    longest = max(map(len, (*names, "variant")))
    for column in (column for column in columns if column.further):
        if _INDENT + longest + _table_width((*shown, column)) <= width:
            shown.append(column)
    room = width - _INDENT - _table_width(shown)
    stacked = longest > room and room < max(map(len, names))
    name_width = longest if not stacked else _LEAST_NAME
    head = comparison.argument if comparison.argument is not None and len(comparison.argument) <= room else None
    head = head or ("value" if comparison.argument is not None else "variant")
    name_width = max(name_width, len(head)) if not stacked else name_width
    lines = _title(comparison, width)
    # Without room for the names, columns that fit stand below each of them.
    fitting = list(shown)
    while _INDENT + (2 if stacked else name_width) + _table_width(fitting) > width and len(fitting) > 2:
        fitting.pop()
    lead = " " * (2 if stacked else name_width)
    first = lead if stacked else f"{head:{name_width}}"
    lines.append(_row(first, [f"{column.head:>{column.width}}" for column in fitting], "light"))
    for at, variant in enumerate(comparison.variants):
        if stacked:
            lines += hang([segment(" " * _INDENT)], names[at], width, _INDENT + 2)
        if variant.error is not None:
            error: Line = [segment(" " * _INDENT + (lead if stacked else f"{names[at]:{name_width}}") + "  ")]
            lines += hang([*error, segment("error", "red", "bold"), segment("  ")], variant.error, width, _INDENT + 2)
            continue
        cells = [f"{column.cells[at]:>{column.width}}" for column in fitting]
        lines.append(_row(lead if stacked else f"{names[at]:{name_width}}", cells))
    inert = {f"{variant.name}: {INERT_VARIANT}" for variant in comparison.variants if variant.inert}
    for text in remarks(comparison):
        said = hang([segment(" " * _INDENT), segment("· ", "light")], text, width, _INDENT + 2)
        lines += [_red(line) for line in said] if text in inert else said
    return lines


def _title(comparison: Comparison, width: int) -> list[Line]:
    about = f"{comparison.blocks} blocks" + (f", {comparison.argument}" if comparison.argument is not None else "")
    return hang([segment("  ")], f"{comparison.id}{SEPARATOR}{about}", width, _INDENT)


def _red(line: Line) -> Line:
    return [segment(text, "red", "bold") for text, _ in line]


def _row(name: str, cells: Sequence[str], *markup: str) -> Line:
    return [segment(" " * _INDENT + name + "".join(f"  {cell}" for cell in cells), *markup)]
