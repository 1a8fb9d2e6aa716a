"""How figures are written for people: a unit that suits the size, and no more digits than mean something."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_BYTE_UNITS = (("TiB", 2.0**40), ("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10))
MOST_LISTED = 3
"""Items that a sentence names; of further ones it says how many there are."""

_FLOP_UNITS = (("TFLOP", 1e12), ("GFLOP", 1e9), ("MFLOP", 1e6), ("kFLOP", 1e3))


def format_seconds(value_s: float) -> str:
    """Write a duration: `123.5 s`, `1.842 s`, `112 ms`, `6.30 ms`, `0.06 ms`, `<0.01 ms`."""
    if not math.isfinite(value_s) or value_s == 0:
        return f"{value_s:.0f} s"
    if _rounds_to_unit(value_s, 3):
        return f"{_significant(max(value_s, 1.0), 4)} s"  # .9996 was rounded to 1 to get here
    value_ms = 1e3 * value_s
    if abs(value_ms) < 0.005:
        return "<0.01 ms"
    return f"{_significant(value_ms, 3)} ms" if _rounds_to_unit(value_ms, 3) else f"{value_ms:.2f} ms"


def format_bytes(count: int) -> str:
    """Write a number of bytes in powers of 1024: `812 MiB`, `19.2 GiB`, `640 B`."""
    for unit, size in _BYTE_UNITS:
        if _rounds_to_unit(count / size, 3):
            return f"{_significant(count / size, 3)} {unit}"
    return f"{count} B"


def format_flops(count: int) -> str:
    """Write a number of floating-point operations: `1,086 TFLOP`, `12.41 GFLOP`, `950 FLOP`."""
    for unit, size in _FLOP_UNITS:
        if _rounds_to_unit(count / size, 4):
            return f"{_significant(count / size, 4)} {unit}"
    return f"{count} FLOP"


def format_percent(share_rel: float, *, signed: bool = False) -> str:
    """Write a share or a relative change, .25 as `25 %`, with about two digits that mean something."""
    share = 100 * share_rel
    digits = 0 if abs(share) >= 9.95 else 1 if abs(share) >= 0.995 else 2
    if abs(share) < 0.005:  # neither -0.00 nor +0.00
        return "0 %"
    return f"{share:{'+' if signed else ''},.{digits}f} %"


def format_count(count: int, noun: str) -> str:
    """Write a count with its noun in the right number: `1 call`, `1,200 calls`, `2 processes`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}{'es' if noun.endswith('s') else 's'}"


def format_list(items: Sequence[str], most: int = MOST_LISTED) -> str:
    """Join items with semicolons; beyond `most` of them say only how many more there are."""
    rest = len(items) - most
    return "; ".join(items[:most]) + (f"; and {rest} more" if rest > 0 else "")


def format_steps_in_words(ranges: str) -> str:
    """Write step ranges for a sentence: `0-2,5` becomes `steps 0-2, 5`."""
    noun = "step" if ranges.isdigit() else "steps"
    return f"{noun} {ranges.replace(',', ', ')}"


def format_decibels(value_db: float | None) -> str:
    """Write a PSNR; None and infinity both stand for images without any difference."""
    return "no difference" if value_db is None or math.isinf(value_db) else f"{value_db:.1f} dB"


def format_distance(gap_rel: float) -> str:
    """Write a relative distance of tensors: `20 %`, `0.31 %`, `2.7e-05 %`; an infinite one can't be compared."""
    if math.isinf(gap_rel):
        return "not comparable"
    return f"{100 * gap_rel:,.0f} %" if gap_rel >= 0.995 else f"{100 * gap_rel:.2g} %"


def _rounds_to_unit(value: float, digits: int) -> bool:
    """Whether a value is at least 1 once it is rounded, so that 999.9 ms is written as 1.000 s."""
    return abs(float(f"{value:.{digits - 1}e}")) >= 1


def _significant(value: float, digits: int) -> str:
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])
    return f"{value:,.{max(digits - 1 - exponent, 0)}f}"
