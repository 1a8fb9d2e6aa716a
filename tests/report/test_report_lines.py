"""Lines keep within their width, lose no word, and can be written to any stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_diffbench.report.lines import (
    ansi,
    encodable,
    flow,
    for_encoding,
    hang,
    plain,
    segment,
    spread,
    text_of,
    width_of,
)

WORDS = st.lists(st.text("abcdefgh", min_size=1, max_size=9), max_size=40)


@given(WORDS, st.integers(min_value=40, max_value=140))
def test_hanging_text_keeps_the_width_and_the_words(words: list[str], width: int) -> None:
    lines = hang([segment("    worse  ", "red")], " ".join(words), width, 11)
    assert all(width_of(line) <= width for line in lines)
    assert " ".join(text_of(line) for line in lines).split() == ["worse", *words]
    assert all(text_of(line).startswith(" " * 11) for line in lines[1:])


@given(WORDS, st.integers(min_value=20, max_value=140))
def test_cells_flow_within_the_width_in_order(words: list[str], width: int) -> None:
    lines = flow([[segment(word)] for word in words], width, 4)
    assert all(width_of(line) <= width for line in lines)
    assert " · ".join(text_of(line).strip() for line in lines) == " · ".join(words)


def test_a_cell_wider_than_the_line_is_broken() -> None:
    lines = flow([[segment("a")], [segment("word " * 12)], [segment("z")]], 40, 2)
    assert all(width_of(line) <= 40 for line in lines)
    assert plain(lines).split() == ["a", *["word"] * 12, "·", "z"]


def test_a_figure_stays_with_the_unit() -> None:
    lines = hang([], "a" * 33 + " 930 ms", 40, 0)
    assert [text_of(line) for line in lines] == ["a" * 33 + " 930 ms"]
    lines = hang([], "a" * 35 + " 930 ms", 40, 0)
    assert [text_of(line) for line in lines] == ["a" * 35, "930 ms"]


def test_line_ends_stay_and_control_characters_are_shown() -> None:
    lines = hang([segment("> ")], "first\x1b[31m\nsecond", 60, 2)
    assert plain(lines) == "> first\\x1b[31m\n  second\n"


def test_spread_keeps_two_blanks() -> None:
    assert text_of(spread([segment("left")], [segment("right")], 20)) == "left           right"
    assert text_of(spread([segment("left")], [segment("right")], 5)) == "left  right"


def test_plain_has_no_blanks_at_line_ends() -> None:
    assert plain([[segment("a  ", "bold")], []]) == "a\n\n"


def test_ansi_marks_up_and_resets() -> None:
    assert ansi([[segment("WORSE", "red", "bold"), segment(" x"), segment("", "red")]]) == (
        "\x1b[31;1mWORSE\x1b[0m x\n"
    )


@pytest.mark.parametrize("encoding", ["ascii", None, "cp437", "latin-1", "utf-8", "no-such-codec"])
def test_any_stream_can_take_the_lines(encoding: str | None) -> None:
    lines = for_encoding([[segment("128×128 · a → b ±1 µs 猫", "bold")]], encoding)
    known = encoding if encoding not in (None, "no-such-codec") else "ascii"
    assert known is not None
    assert text_of(lines[0]).encode(known)
    assert lines[0][0][1] == {"bold": True}


def test_replacements_are_ascii_words() -> None:
    assert encodable("128×128 · a → b ±1 µs", "ascii") == "128x128 - a -> b +/-1 us"
    assert encodable("128×128 · a", "utf-8") == "128×128 · a"
    assert encodable("猫", "ascii") == "\\u732b"
