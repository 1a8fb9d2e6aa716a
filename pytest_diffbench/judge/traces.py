"""Finds the first place where two recordings of a call part: a text embedding, a step, or the decoder."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Trace = dict[str, NDArray[np.float32]]

_EPS = {"float64": 2.0**-23, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
"""Machine epsilon by dtype; traces are stored as float32, so nothing finer than that is seen."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """Where two traces part.

    Attributes:
        text: words for the place, and whether the distance jumped or grew.
        latents_rel: relative L2 distance of the final latents, or of the last step's sketch; None when not stored.
    """

    text: str
    latents_rel: float | None


def relative_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Norm of `a - b` over the norm of `b`; of sketches, an estimate of the same for the sketched tensors.

    Infinite when the shapes differ, when `b` alone is zero, or when either holds NaN or infinity.
    """
    import numpy as np

    if a.shape != b.shape:
        return math.inf
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    gap, size = float(np.linalg.norm(a64 - b64)), float(np.linalg.norm(b64))
    if gap == 0:
        return 0.0
    rel = gap / size if size > 0 else math.inf
    return rel if math.isfinite(rel) else math.inf


def rounding_rel(dtype: str) -> float:
    """Relative error of rounding to a dtype, root mean square: `eps / sqrt(12)`. Unknown names count as float32."""
    return _EPS.get(dtype.removeprefix("torch."), _EPS["float32"]) / math.sqrt(12)


def part(now: Trace, base: Trace, threshold_rel: float) -> Parting:
    """Follow two traces in the order of the call until their distance passes the threshold.

    Args:
        now: trace of this run.
        base: trace of the baseline.
        threshold_rel: relative distance up to which the traces count as equal.
    """
    texts, steps = _common(now, base, "text/"), _common(now, base, "latents/")
    last = "latents/final" if "latents/final" in now and "latents/final" in base else None
    if last is None and steps:
        last = f"latents/{steps[-1]}"
    latents_rel = relative_distance(now[last], base[last]) if last else None
    for number in texts:
        gap_rel = relative_distance(now[f"text/{number}"], base[f"text/{number}"])
        if gap_rel > threshold_rel:
            return Parting(text=f"parts at text embedding {number}: {_share(gap_rel)} apart", latents_rel=latents_rel)
    gaps_rel = {step: relative_distance(now[f"latents/{step}"], base[f"latents/{step}"]) for step in steps}
    for position, step in enumerate(steps):
        if gaps_rel[step] > threshold_rel:
            before_rel = gaps_rel[steps[position - 1]] if position else 0.0
            text = _course(step, steps, gaps_rel, before_rel, threshold_rel)
            return Parting(text=text, latents_rel=latents_rel)
    if latents_rel is None:
        return Parting(text="parts at a place that isn't known: no trace is stored on both sides", latents_rel=None)
    if latents_rel > threshold_rel:
        text = f"parts at the final latents: {_share(latents_rel)} apart"
    else:
        text = f"parts in the decoder or after it: the latents agree to the end ({_share(latents_rel)} apart)"
    return Parting(text=text, latents_rel=latents_rel)


def _common(now: Trace, base: Trace, prefix: str) -> list[int]:
    """Numbers of the entries `prefix<number>` that both traces hold, in order."""
    names = (name.removeprefix(prefix) for name in now.keys() & base.keys() if name.startswith(prefix))
    return sorted(int(name) for name in names if name.isdecimal())


def _course(step: int, steps: list[int], gaps_rel: dict[int, float], before_rel: float, threshold_rel: float) -> str:
    gap_rel, end_rel = gaps_rel[step], gaps_rel[steps[-1]]
    where = f"parts at latents of step {step}"
    # rounding grows from step to step by less than tenfold; a fault comes at once
    if gap_rel > 10 * max(before_rel, threshold_rel / 10):
        course = f"jumped from {_share(before_rel)} to {_share(gap_rel)}"
    else:
        course = f"grew from {_share(before_rel)} to {_share(gap_rel)}"
    end = f", {_share(end_rel)} at the last step" if step != steps[-1] else ""
    return f"{where}: {course}{end}"


def _share(gap_rel: float) -> str:
    return "not comparable" if math.isinf(gap_rel) else f"{100 * gap_rel:.2g} %"
