"""Comparisons in every report: golden files, columns that fit, and text that stays text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import comparison_factories as compared
import msgspec
import pytest
from golden_files import assert_golden

from pytest_diffbench.report import session_json
from pytest_diffbench.report.comment import Links, page
from pytest_diffbench.report.comparisons import comparison_lines, remarks
from pytest_diffbench.report.junit import comparison_properties
from pytest_diffbench.report.lines import for_encoding, plain, text_of, width_of
from pytest_diffbench.report.terminal import summary_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_diffbench.records import Comparison

KINDS = [compared.named, compared.swept, compared.long_names, compared.of_functions]
SESSION = compared.session(compared.named(), compared.swept())


@pytest.mark.parametrize("width", [80, 100, 140])
def test_golden_summary(width: int) -> None:
    assert_golden(f"terminal-compared-{width}.txt", plain(summary_lines(SESSION, width, verbose=False)))


def test_golden_ascii_and_narrow() -> None:
    lines = for_encoding(comparison_lines([kind() for kind in KINDS], 60), "ascii")
    text = plain(lines)
    assert text.isascii()
    assert_golden("terminal-compared-60-ascii.txt", text)


def test_golden_page() -> None:
    assert_golden("markdown-compared.md", page(SESSION, Links()))


def test_golden_properties() -> None:
    properties = [*comparison_properties(compared.named()), *comparison_properties(compared.swept())]
    assert_golden("junit-compared.txt", "".join(f"{name}={value}\n" for name, value in properties))


def test_golden_json() -> None:
    text = msgspec.json.format(msgspec.json.encode(SESSION.comparisons, order="deterministic"), indent=2)
    assert_golden("json-compared.json", text.decode() + "\n")
    assert msgspec.json.decode(text, type=tuple[type(SESSION.comparisons[0]), ...]) == SESSION.comparisons  # type: ignore[misc]  # a type that is made here
    read = msgspec.json.decode(session_json.dump(SESSION), type=type(SESSION))
    assert msgspec.structs.replace(read, cases=SESSION.cases) == SESSION
    assert [case.observation for case in read.cases] == [case.observation for case in SESSION.cases]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [60, 72, 80, 99, 140, 200])
def test_no_line_is_wider_than_the_terminal(kind: Callable[[], Comparison], width: int) -> None:
    assert all(width_of(line) <= width for line in comparison_lines([kind()], width))


@pytest.mark.parametrize("kind", KINDS)
def test_figures_stand_in_columns(kind: Callable[[], Comparison]) -> None:
    lines = [text_of(line).rstrip() for line in comparison_lines([kind()], 160)]
    (head,) = [line for line in lines if "speed-up (" in line]
    ends = [line.index("× (") for line in lines if re.search(r"\d× \(", line)]
    assert ends, lines
    for line in lines:
        total = re.search(r"\d m?s(?=  +(reference|\d))", line)
        if total is not None:
            assert total.end() == head.index("total") + len("total"), line


def test_a_session_without_comparisons_has_no_section_for_comparisons() -> None:
    assert comparison_lines([], 80) == []
    assert "variants" not in plain(summary_lines(compared.session(), 80, verbose=False))


def test_what_needs_a_reader_is_said_below_the_table() -> None:
    text = plain(comparison_lines([compared.swept()], 160))
    assert "0.5: 1.28×, which the denoiser's FLOPs predict, lies outside the interval" in text
    assert "0.5: dominated, 0.7 is faster and more alike" in text
    assert "0.7:" not in text


def test_names_are_text() -> None:
    nasty = "</b>|`x`\x1b[31m"
    first, other, *_ = compared.named().variants
    named = msgspec.structs.replace(
        compared.named(), reference=nasty, variants=(msgspec.structs.replace(first, name=nasty), other)
    )
    text = page(compared.session(named), Links())
    (row,) = [line for line in text.splitlines() if "`x`" in line]
    assert len(re.findall(r"(?<!\\)\|", row)) == 10
    assert "\x1b" not in plain(comparison_lines([named], 80))


def test_properties_are_text_and_their_names_unique() -> None:
    for kind in KINDS:
        named_values = comparison_properties(kind())
        assert len(dict(named_values)) == len(named_values)
        assert all(type(name) is str and type(value) is str and value for name, value in named_values)


def test_a_variant_changing_nothing_is_red_beside_the_speedup() -> None:
    comparison = compared.named()
    rows = [
        msgspec.structs.replace(variant, inert=variant.name != comparison.reference)
        if variant.error is None
        else variant
        for variant in comparison.variants
    ]
    inert = msgspec.structs.replace(comparison, variants=tuple(rows))
    names = [row.name for row in rows if row.inert]
    assert names
    inert_lines = [
        f"{name}: inert: the option saved neither work nor operators, and changed no bit of the output"
        for name in names
    ]
    assert [line for line in remarks(inert) if "inert" in line] == inert_lines
    lines = comparison_lines([inert], 160)
    assert sum(" inert" in text_of(line) and "×" in text_of(line) for line in lines) == len(names)
    red = [line for line in lines if inert_lines[0] in text_of(line)]
    assert all(markup == {"red": True, "bold": True} for text, markup in red[0] if text.strip())
    text = page(compared.session(inert), Links())
    assert text.count("**inert**") == len(names)
    assert inert_lines[0] in text
    assert not any("inert" in line for line in remarks(comparison))
