"""The table that speed-ups are published by: what each configuration saves, as counted and as measured, and its cost.

It is made of a comparison alone, for terminals, Markdown, LaTeX, and programs (CSV).
"""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import msgspec

from pytest_diffbench.outputs.metrics import METRICS
from pytest_diffbench.report.comparisons import (
    IMAGE_LIKENESS,
    calls_text,
    confidence_text,
    likeness_label,
    likeness_names,
    likeness_text,
    likeness_value,
    ratio_text,
    speedup_text,
)
from pytest_diffbench.report.lines import Line, in_columns, segment
from pytest_diffbench.report.units import format_bytes, format_flops, format_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.records import Comparison, VariantReport


TableFormat: TypeAlias = Literal["terminal", "markdown", "csv", "latex"]
FORMATS: tuple[TableFormat, ...] = get_args(TableFormat)

BY_SUFFIX: dict[str, TableFormat] = {
    ".md": "markdown",
    ".csv": "csv",
    ".tex": "latex",
    ".txt": "terminal",
}
"""What a file is written as, by the end of its name."""

_LATEX = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "×": r"$\times$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}

_LINE_ENDS = re.compile(r"\s*\n\s*")


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """A comparison as text in cells.

    Attributes:
        title: of the comparison.
        heads: of the columns.
        rows: one a configuration, with as many cells.
        flagged: numbers of rows that are inert, broken or wrongly guided.
        notes: what the words in the cells mean, and how the figures were made.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    flagged: frozenset[int]
    notes: tuple[str, ...]


def table_of(comparison: Comparison) -> Table:
    """Set out a comparison; columns that would be empty are left out."""
    further = _further(comparison)
    names = likeness_names([comparison])
    heads = (
        comparison.argument or "configuration",
        "denoiser calls",
        "FLOPs",
        "total",
        "predicted speed-up",
        f"measured speed-up ({confidence_text(comparison)})",
        "peak memory",
        *map(likeness_label, names),
        *(METRICS[name].label for name in further),
        "tier",
        "flags",
    )
    rows = [_cells(variant, comparison, names, further) for variant in comparison.variants]
    kept = [at for at in range(len(heads)) if at == 0 or any(row[at] for row in rows)]
    return Table(
        title=comparison.id,
        heads=tuple(heads[at] for at in kept),
        rows=tuple(tuple(row[at] for at in kept) for row in rows),
        flagged=frozenset(
            number
            for number, variant in enumerate(comparison.variants)
            if variant.inert or variant.wrong_guidance is not None or variant.tier == "broken"
        ),
        notes=notes_of(comparison),
    )


def written(comparisons: Sequence[Comparison], how: TableFormat) -> str:
    """The tables of comparisons as one text."""
    if how == "csv":
        return _csv(comparisons)
    parts = []
    for comparison in comparisons:
        table = table_of(comparison)
        parts.append(_markdown(table) if how == "markdown" else _latex(table) if how == "latex" else _plain(table))
    return "\n".join(parts)


def table_lines(comparison: Comparison) -> list[Line]:
    """The table for a terminal; rows that mustn't be taken at their figures are red."""
    table = table_of(comparison)
    lines: list[Line] = [[segment(table.title, "bold")]]
    for number, text in enumerate(in_columns((table.heads, *table.rows), "<>")):
        markup = ("light",) if not number else ("red",) if number - 1 in table.flagged else ()
        lines.append([segment(text, *markup)])
    return [*lines, *([segment(note, "light")] for note in table.notes)]


def _cells(
    variant: VariantReport, comparison: Comparison, names: Sequence[str], further: Sequence[str]
) -> tuple[str, ...]:
    is_reference = variant.name == comparison.reference
    difference = variant.image_difference
    others = {} if is_reference or difference is None else difference.further
    if variant.error is not None:
        measured = "error"
    else:
        measured = "reference" if is_reference else speedup_text(variant.speedup_rel)
    return (
        variant.name,
        calls_text(variant),
        "" if variant.flops is None else format_flops(variant.flops),
        "" if variant.median_s is None else format_seconds(variant.median_s),
        "" if is_reference else ratio_text(variant.predicted_speedup_rel),
        measured,
        "" if variant.peak_bytes is None else format_bytes(variant.peak_bytes),
        *("" if is_reference else likeness_text(variant, name) for name in names),
        *(METRICS[name].text(others[name]) if name in others else "" for name in further),
        "" if is_reference else tier_text(variant),
        ", ".join(_flags(variant)),
    )


def _flags(variant: VariantReport) -> list[str]:
    flags = [INERT] if variant.inert else []
    if variant.wrong_guidance is not None:
        flags.append(WRONG_GUIDANCE)
    return flags


def _further(comparison: Comparison) -> tuple[str, ...]:
    """Metrics of other packages that any variant has."""
    named = {name for variant in comparison.variants if (found := variant.image_difference) for name in found.further}
    return tuple(name for name in METRICS if name in named)


def _plain(table: Table) -> str:
    return "\n".join([table.title, *in_columns((table.heads, *table.rows), "<"), *table.notes]) + "\n"


def _markdown(table: Table) -> str:
    def row(cells: Sequence[str]) -> str:
        return "| " + " | ".join(_LINE_ENDS.sub(" ", cell).replace("|", "\\|") for cell in cells) + " |"

    rows = [
        row([f"`{cells[0]}`" if "`" not in cells[0] else cells[0], *cells[1:]])
        if number not in table.flagged
        else row([f"**{cells[0]}**", *(f"**{cell}**" if cell in FLAGS else cell for cell in cells[1:])])
        for number, cells in enumerate(table.rows)
    ]
    rule = "|:---|" + "---:|" * (len(table.heads) - 1)
    return "\n".join([row(table.heads), rule, *rows, "", *(f"- {note}" for note in table.notes)]) + "\n"


def _latex(table: Table) -> str:
    def row(cells: Sequence[str]) -> str:
        return " & ".join(map(latex_escaped, cells)) + r" \\"

    columns = "l" + "r" * (len(table.heads) - 1)
    body = [
        rf"\begin{{tabular}}{{{columns}}}",
        r"\hline",
        row(table.heads),
        r"\hline",
        *map(row, table.rows),
        r"\hline",
        r"\end{tabular}",
    ]
    return "\n".join([*(f"% {_LINE_ENDS.sub(' ', note)}" for note in table.notes), *body]) + "\n"


def latex_escaped(text: str) -> str:
    """Text in which nothing is a command of LaTeX."""
    return "".join(_LATEX.get(char, char) for char in _LINE_ENDS.sub(" ", text))


def _csv(comparisons: Sequence[Comparison]) -> str:
    """Plain numbers with their unit in the column's name; what wasn't measured is empty."""
    further = tuple(name for name in METRICS if any(name in _further(comparison) for comparison in comparisons))
    parts = tuple(name for name in likeness_names(comparisons) if name not in IMAGE_LIKENESS)
    buffer = io.StringIO()
    heads = [
        *("comparison", "configuration", "is_reference", "denoiser_calls", "flops", "median_s"),
        *("predicted_speedup_rel", "speedup_rel", "speedup_low_rel", "speedup_high_rel", "confidence"),
        *("peak_bytes", "psnr_db", "ssim", *parts, *further),
        *("float64_rel", "tier", "inert", "wrong_guidance", "error"),
        *("prompts", "equal", "unlike", "worst_psnr_db", "mean_psnr_db", "worst_ssim", "mean_ssim", "worst_prompt"),
    ]
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(heads)
    for comparison in comparisons:
        for variant in comparison.variants:
            speedup, difference = variant.speedup_rel, variant.image_difference
            writer.writerow(
                [
                    *(comparison.id, variant.name, variant.name == comparison.reference),
                    *(variant.denoiser_calls, variant.flops, variant.median_s, variant.predicted_speedup_rel),
                    *((speedup.value, speedup.low, speedup.high) if speedup is not None else ("", "", "")),
                    *(comparison.confidence, variant.peak_bytes),
                    *((difference.psnr_db, difference.ssim) if difference is not None else ("", "")),
                    *(likeness_value(variant, name) for name in parts),
                    *(difference.further.get(name) if difference is not None else "" for name in further),
                    *(variant.float64_rel, variant.tier, variant.inert, variant.wrong_guidance, variant.error),
                    *(msgspec.structs.astuple(over) if (over := variant.over_prompts) is not None else [""] * 8),
                ]
            )
    return buffer.getvalue()


INERT = "inert"
WRONG_GUIDANCE = "paid for by wrong guidance"
FLAGS = frozenset({INERT, WRONG_GUIDANCE, "broken"})
NOT_ASKED = "not asked"


def tier_text(variant: VariantReport) -> str:
    """The tier in a word; an output that differs, of which nobody asked how far float64 is, has none."""
    if variant.tier is not None:
        return variant.tier
    return NOT_ASKED if variant.image_difference is not None else ""


def notes_of(comparison: Comparison) -> tuple[str, ...]:
    """How the figures were made, and what the words in the table mean, those alone that stand in it."""
    variants = comparison.variants
    notes = [
        f"Speed-ups: {comparison.blocks} blocks interleaved in one process; in brackets the interval at "
        f"{100 * comparison.confidence:g} %. Predicted: T / (T - D s), with the reference's total T and "
        "denoise stage D, and the share s of denoiser work that is saved."
    ]
    over = next((variant.over_prompts for variant in variants if variant.over_prompts is not None), None)
    if over is not None:
        notes.append(
            f"PSNR and SSIM: the worst of {over.prompts} prompts, and in brackets their mean; of PSNR that of the "
            "prompts whose images differ."
        )
        unlike = [variant.name for variant in variants if variant.over_prompts and variant.over_prompts.unlike]
        notes += [f"{name}: images of some prompts can't be compared, and have no figures." for name in unlike]
    tiers = {tier_text(variant) for variant in variants if variant.name != comparison.reference}
    meanings = {
        "bit-equal": "bit-equal: every bit of the output is the reference's.",
        "lossless": "lossless: no further from the call in float64 than the reference is.",
        "lossy": "lossy: further from the call in float64 than the reference is.",
        "broken": "broken: no sound output of the reference's kind and size.",
        NOT_ASKED: "not asked: the output differs, and no call in float64 tells whether that is more than rounding.",
    }
    notes += [meaning for tier, meaning in meanings.items() if tier in tiers]
    if any(variant.inert for variant in variants):
        notes.append("inert: saved neither work nor operators, and changed no bit of the output.")
    wrong = sorted({variant.wrong_guidance for variant in variants if variant.wrong_guidance is not None})
    if wrong:
        notes.append(f"{WRONG_GUIDANCE}: steps weren't guided as the arguments ask for ({', '.join(wrong)}).")
    return tuple(notes)
