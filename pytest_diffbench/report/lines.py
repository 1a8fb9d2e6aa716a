"""Lines of marked-up text: putting them together, wrapping them, and writing them out with or without colour."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Segment: TypeAlias = tuple[str, dict[str, bool]]
"""Text and its markup, in the names of pytest's terminal writer: `bold`, `light`, `red`, `green` ..."""

Line: TypeAlias = list[Segment]
"""One line of the terminal, without its end."""

SEPARATOR = " · "

_LEAST_WIDTH = 16
"""Text is never squeezed into less; rather a line becomes too long."""

_CODES = {"bold": 1, "light": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}
_KEPT = "\xa0"
_UNIT = re.compile(r"(?<=\d) ((?:[munµ]?s|%|dB|B|[KMGT]iB|[kMGTP]?FLOP|px)\b|%)")
"""The blank between a figure and its unit, where no line is broken."""

BARS = "▁▂▃▄▅▆▇█"
"""Heights of a curve that is drawn in one line, the least first."""

_ASCII = str.maketrans(
    {"·": "-", "→": "->", "×": "x", "±": "+/-", "µ": "u"} | dict(zip(BARS, "_.-~=+*#", strict=True))
)


def segment(text: str, *markup: str) -> Segment:
    """Text with markup: `segment("worse", "red", "bold")`."""
    return text, dict.fromkeys(markup, True)


def labelled(label: str, value: str) -> Line:
    """A figure behind its label."""
    return [segment(f"{label} ", "light"), segment(value)]


def text_of(line: Line) -> str:
    """A line without its markup."""
    return "".join(text for text, _ in line)


def width_of(line: Line) -> int:
    """Number of characters in a line."""
    return sum(len(text) for text, _ in line)


def flow(cells: Sequence[Line], width: int, indent: int, separator: Segment | None = None) -> list[Line]:
    """Set cells side by side; one that doesn't fit on its line any more starts the next.

    Args:
        cells: pieces that are never broken, unless a single one is wider than the line; its markup is then lost.
        width: of the lines, indentation included.
        indent: blanks before each line.
        separator: between two cells of a line.
    """
    separator = separator or segment(SEPARATOR, "light")
    lines: list[Line] = []
    for cell in cells:
        if lines and width_of(lines[-1]) + len(separator[0]) + width_of(cell) <= width:
            lines[-1] += [separator, *cell]
        elif indent + width_of(cell) > width:
            lines += hang([segment(" " * indent)], text_of(cell), width, indent + 2)
        else:
            lines.append([segment(" " * indent), *cell])
    return lines


def hang(head: Line, text: str, width: int, indent: int) -> list[Line]:
    """Set a text behind a head, its further lines indented.

    Line ends in the text stay, control characters are made visible, and words longer than a line are broken.
    """
    start = width_of(head)
    if indent < start > width - _LEAST_WIDTH:
        return [head, *hang([segment(" " * indent)], text, width, indent)]
    width = max(width, indent + _LEAST_WIDTH)
    pieces: list[str] = []
    for number, paragraph in enumerate(text.splitlines() or [""]):
        first = " " * (indent if number else start)
        pieces += textwrap.wrap(
            _UNIT.sub(f"{_KEPT}\\1", visible(paragraph)),
            width,
            initial_indent=first,
            subsequent_indent=" " * indent,
            break_on_hyphens=False,
        ) or [first]
    pieces = [piece.replace(_KEPT, " ") for piece in pieces]
    return [[*head, segment(pieces[0][start:])], *([segment(piece)] for piece in pieces[1:])]


def visible(text: str) -> str:
    """A line of text with its control characters written as escapes."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text.expandtabs(4))


def spread(left: Line, right: Line, width: int) -> Line:
    """Set one part at the left margin and another at the right, at least two blanks apart."""
    gap = width - width_of(left) - width_of(right)
    return [*left, segment(" " * max(gap, 2)), *right]


def in_columns(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Rows of cells in columns as wide as they need to be, two blanks apart.

    `sides` says of each column on which side its cells stand, `<` or `>`; the last one holds for all further columns.
    """
    sides = sides.ljust(len(rows[0]), sides[-1])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()
        for row in rows
    ]


def plain(lines: Iterable[Line]) -> str:
    """Lines as text without markup, each with its end."""
    return "".join(text_of(line).rstrip() + "\n" for line in lines)


def ansi(lines: Iterable[Line]) -> str:
    """Lines as text with the terminal's escape sequences for markup, each with its end."""
    return "".join("".join(_escaped(*part) for part in line) + "\n" for line in lines)


def for_encoding(lines: Iterable[Line], encoding: str | None) -> list[Line]:
    """Replace characters that a stream can't encode: the report's own by ASCII ones, others by their escapes.

    Args:
        lines: what is to be written.
        encoding: the stream's; None is taken for ASCII.
    """
    return [[(encodable(text, encoding), markup) for text, markup in line] for line in lines]


def encodable(text: str, encoding: str | None) -> str:
    """The text in characters that an encoding has; None is taken for ASCII."""
    encoding = encoding or "ascii"
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        text = text.translate(_ASCII)
    else:
        return text
    try:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    except LookupError:
        return text.encode("ascii", "backslashreplace").decode("ascii")


def _escaped(text: str, markup: dict[str, bool]) -> str:
    codes = [str(_CODES[name]) for name, on in markup.items() if on]
    return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if codes and text else text
