"""What became of a tensor, as far as sketch and moments tell: scaled, shifted, its sign flipped, or another one."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_diffbench.judge.trace.entries import TraceEntry

_EXPLAINED_REL = 0.9
"""Share of the squared distance that a scale must explain. Sketches are linear, so a mere scale explains all of it;
of a distance in a direction of its own a scale explains about 1 in 256 by chance."""

_PARALLEL = 0.95
"""Least cosine of a tensor that was scaled: against one that is far larger, a scale of nearly 0 explains all."""

_UNRELATED = 0.2
"""Sketches of unrelated tensors have a cosine of 0 give or take .06."""

_SHIFT_REL = (0.67, 1.5)
"""Bounds of the share of the squared distance that a shift of the mean explains; the sketch estimates it to 9 %."""

_SCALE_SEEN_REL = 0.005
"""A scale nearer to 1 is not worth its words."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How a tensor differs from the one that it is compared with.

    Attributes:
        text: in words, empty where nothing simple explains it.
        scale: factor that brings the other nearest to this one, `<a, b> / <b, b>`; None where it has none.
        cosine: of the angle between them; None where one is zero or they can't be compared.
    """

    text: str = ""
    scale: float | None = None
    cosine: float | None = None


def change_of(now: TraceEntry, base: TraceEntry) -> Change:
    """Explain the difference of two entries of one place."""
    import numpy as np

    if now.not_finite and now.not_finite != base.not_finite:
        return Change(text=_lost(now, base))
    if now.array.shape != base.array.shape:
        return Change(text="of another shape")
    a, b = now.array.astype(np.float64).ravel(), base.array.astype(np.float64).ravel()
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return Change(text="not finite")
    aa, bb, ab = float(a @ a), float(b @ b), float(a @ b)
    if aa == 0 or bb == 0:
        return Change(text="" if aa == bb else "all zeros here" if aa == 0 else "all zeros in the baseline")
    scale, cosine = ab / bb, ab / math.sqrt(aa * bb)
    gap2, rest2 = float(np.sum((a - b) ** 2)), float(np.sum((a - scale * b) ** 2))
    text = ""
    if gap2 > 0 and abs(cosine) >= _PARALLEL and 1 - rest2 / gap2 >= _EXPLAINED_REL:
        text = _scaled(scale)
    elif (shift := _shift(now, base, gap2)) is not None:
        text = f"shifted by {shift:.3g}"
    elif abs(cosine) < _UNRELATED:
        text = f"unrelated (cosine {cosine:.2f})"
    return Change(text=text, scale=scale, cosine=cosine)


def _lost(now: TraceEntry, base: TraceEntry) -> str:
    before = f", {base.not_finite:,} in the baseline" if base.not_finite else ""
    one = now.not_finite == 1
    return f"{now.not_finite:,} {'value isn' if one else 'values aren'}'t finite{before}"


def _scaled(scale: float) -> str:
    flipped = "sign flipped" if scale < 0 else ""
    factor = f"scaled by {abs(scale):.3g}" if abs(abs(scale) - 1) >= _SCALE_SEEN_REL else ""
    return " and ".join(part for part in (flipped, factor) if part)


def _shift(now: TraceEntry, base: TraceEntry, gap2: float) -> float | None:
    """What was added to all values alike; None where that isn't what happened, or moments are missing."""
    if now.mean is None or base.mean is None or base.std is None or gap2 == 0:
        return None
    mean_square = base.mean**2 + base.std**2
    if mean_square == 0:
        return None
    size = base.norm**2 / mean_square
    shift = now.mean - base.mean
    low, high = _SHIFT_REL
    return shift if low <= size * shift**2 / gap2 <= high else None
