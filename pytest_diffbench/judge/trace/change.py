"""What became of a tensor, as far as sketch and moments tell: scaled, shifted, its sign flipped, or another one."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_diffbench.judge.trace.entries import TraceEntry
    from pytest_diffbench.records.details import TensorChange

_EXPLAINED_REL = 0.9
"""Share of the squared distance that a scale must explain. Sketches are linear, so a mere scale explains all of it;
of a distance in a direction of its own a scale explains about 1 in 256 by chance."""

_PARALLEL = 0.95
"""Least cosine of a tensor that was scaled: against one that is far larger, a scale of nearly 0 explains all."""

_UNRELATED = 0.2
"""Sketches of unrelated tensors have a cosine of 0 give or take .06."""

_SHIFT_REL = (0.67, 1.5)
"""Bounds of the share of the squared distance that a shift of the mean explains; the sketch estimates it to 9 %."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How a tensor differs from the baseline's.

    Attributes:
        kind: None where nothing simple explains it.
        scale: factor that brings the baseline's nearest to this run's, `<a, b> / <b, b>`; None where it has none.
        cosine: of the angle between them; None where one is zero or they can't be compared.
        shift: what was added to all values, of a tensor that was shifted.
        not_finite: values that aren't finite, in the baseline and now, where their number differs.
    """

    kind: TensorChange | None = None
    scale: float | None = None
    cosine: float | None = None
    shift: float | None = None
    not_finite: tuple[int, int] | None = None


def change_of(now: TraceEntry, base: TraceEntry) -> Change:
    """Explain the difference of two entries of one place."""
    import numpy as np

    if now.not_finite and now.not_finite != base.not_finite:
        return Change(kind="not_finite", not_finite=(base.not_finite or 0, now.not_finite))
    if now.array.shape != base.array.shape:
        return Change(kind="shape")
    a, b = now.array.astype(np.float64).ravel(), base.array.astype(np.float64).ravel()
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return Change(kind="not_finite")
    aa, bb, ab = float(a @ a), float(b @ b), float(a @ b)
    if aa == 0 or bb == 0:
        return Change(kind=None if aa == bb else "zeros_now" if aa == 0 else "zeros_in_baseline")
    scale, cosine = ab / bb, ab / math.sqrt(aa * bb)
    gap2, rest2 = float(np.sum((a - b) ** 2)), float(np.sum((a - scale * b) ** 2))
    if gap2 > 0 and abs(cosine) >= _PARALLEL and 1 - rest2 / gap2 >= _EXPLAINED_REL:
        return Change(kind="scaled", scale=scale, cosine=cosine)
    if (shift := _shift(now, base, gap2)) is not None:
        return Change(kind="shifted", scale=scale, cosine=cosine, shift=shift)
    return Change(kind="unrelated" if abs(cosine) < _UNRELATED else None, scale=scale, cosine=cosine)


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
