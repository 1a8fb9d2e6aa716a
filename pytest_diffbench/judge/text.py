"""How figures and lists of differences are written in a verdict's message."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def listed(items: Sequence[str], most: int = 3) -> str:
    """Join lines with semicolons; beyond `most` of them say only how many more there are."""
    rest = len(items) - most
    return "; ".join(items[:most]) + (f"; and {rest} more" if rest > 0 else "")


def plural(count: int, noun: str) -> str:
    """Write a count with its noun: `1 call`, `2 calls`, `2 processes`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}{'es' if noun.endswith('s') else 's'}"


def percent(change_rel: float) -> str:
    """Write a relative change with its sign and about two significant digits: `+12 %`, `-0.31 %`."""
    share = 100 * change_rel
    digits = 0 if abs(share) >= 9.95 else 1 if abs(share) >= 0.995 else 2
    return f"{share:+,.{digits}f} %"


def seconds(value_s: float) -> str:
    """Write a duration in the unit that suits it, with three significant digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if abs(value_s) >= size:
            return f"{value_s / size:.3g} {unit}" if abs(value_s) < 1000 * size else f"{value_s:,.0f} s"
    return f"{value_s / 1e-6:.3g} µs"


def binary(value_bytes: int) -> str:
    """Write a number of bytes in GiB, MiB or KiB."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if abs(value_bytes) >= 2**power:
            return f"{value_bytes / 2**power:.2f} {unit}"
    return f"{value_bytes} B"


def flops(count: int) -> str:
    """Write a number of floating-point operations in TFLOP, GFLOP or MFLOP, with four digits."""
    for unit, power in (("TFLOP", 12), ("GFLOP", 9), ("MFLOP", 6)):
        if abs(count) >= 10**power:
            size = count / 10**power
            return f"{size:,.0f} {unit}" if abs(size) >= 1000 else f"{size:.4g} {unit}"
    return f"{count:,} FLOP"


def step_list(ranges: str) -> str:
    """Write step ranges for a sentence: `0-2,5` becomes `steps 0-2, 5`."""
    noun = "step" if ranges.isdigit() else "steps"
    return f"{noun} {ranges.replace(',', ', ')}"
