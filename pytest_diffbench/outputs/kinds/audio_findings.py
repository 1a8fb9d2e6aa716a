"""What became of a recording: silence, polarity, gain, channels, delay, clipping."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pytest_diffbench.outputs.kinds.kind import Finding, Kept, Place

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ALIKE_REL = 0.05
"""Up to this share of its amplitude a recording counts as the changed one: 26 dB under it."""

_MOST_DELAY = 1 << 16
"""Samples by which a delay is looked for."""

SILENT = 1e-4
"""Peak under which there is no sound: -80 dB of full scale, under the noise of 14 bits."""


def findings(
    new: NDArray[np.float32], old: NDArray[np.float32], now: Kept, base: Kept, block: int
) -> tuple[Finding, ...]:
    """Name the first change that explains the difference, after the place where it begins.

    Args:
        new: samples of this run, of shape (channels, samples).
        old: those of the baseline.
        now: what is kept of this run's recording.
        base: what is kept of the baseline's.
        block: samples that share a digest.
    """
    first = next(
        (n for n, pair in enumerate(zip(now.piece_digests, base.piece_digests, strict=False)) if pair[0] != pair[1]),
        None,
    )
    named = []
    if first is not None:
        named.append(Finding(code="first_difference", place=_first_place(new, old, first, now, block)))
    size = _norm(old)
    if size == 0 or _norm(new - old) <= 1e-3 * size:
        return tuple(named)
    change = _of_channels(new, old) or _of_amplitude(new, old) or _delayed(new, old) or _clipped(new, old)
    return (*named, *([change] if change is not None else []))


def _norm(values: NDArray[Any]) -> float:
    import numpy as np

    return float(np.linalg.norm(values.astype(np.float64)))


def _is_near(new: NDArray[Any], candidate: NDArray[Any], share: float = _ALIKE_REL) -> bool:
    return _norm(new - candidate) <= share * _norm(candidate)


def _first_place(new: NDArray[Any], old: NDArray[Any], first: int, kept: Kept, block: int) -> Place:
    """The first sample that differs where its block is kept, else the block."""
    sample = first * block
    if first in kept.kept_pieces:
        begin = kept.kept_pieces.index(first) * block
        unequal = (new[:, begin : begin + block] != old[:, begin : begin + block]).any(axis=0)
        sample += int(unequal.argmax())
    return Place(first_sample=sample)


def _of_channels(new: NDArray[Any], old: NDArray[Any]) -> Finding | None:
    import numpy as np

    if len(old) < 2:
        return None
    for channel in range(len(old)):
        if np.abs(new[channel]).max() < SILENT <= np.abs(old[channel]).max():
            return Finding(code="channel_silent", place=Place(channel=channel))
    for left in range(len(old)):
        for right in range(left + 1, len(old)):
            exchanged = old.copy()
            exchanged[[left, right]] = old[[right, left]]
            if _is_near(new, exchanged) and not _is_near(old, exchanged, 2 * _ALIKE_REL):
                return Finding(code="swapped_channels", place=Place(channel=left), other=right)
    return None


def _of_amplitude(new: NDArray[Any], old: NDArray[Any]) -> Finding | None:
    import numpy as np

    new64, old64 = new.astype(np.float64), old.astype(np.float64)
    factor = float((new64 * old64).sum() / np.square(old64).sum())
    # a limiter changes loud samples alone, and is no gain
    if not factor or not _is_near(new64, factor * old64, 0.01):
        return None
    if abs(factor + 1) < 0.01:
        return Finding(code="inverted")
    if _norm(new64 - factor * old64) > 0.5 * _norm(new64 - old64):
        return None  # noise, for the most part
    return Finding(code="gain", factor=factor)


def _delayed(new: NDArray[Any], old: NDArray[Any]) -> Finding | None:
    """By cross-correlation of all channels together."""
    import numpy as np

    length = min(old.shape[1], 1 << 18)
    a, b = (values[:, :length].sum(axis=0, dtype=np.float64) for values in (new, old))
    size = 1 << (2 * length - 1).bit_length()
    correlation = np.fft.irfft(np.fft.rfft(a, size) * np.conj(np.fft.rfft(b, size)), size)
    lag = int(correlation.argmax())
    lag = lag - size if lag > size // 2 else lag
    if lag == 0 or abs(lag) > min(_MOST_DELAY, length // 2):
        return None
    after, before = (a[lag:], b[:-lag]) if lag > 0 else (a[:lag], b[-lag:])
    share = float(after @ before / math.sqrt(max(float(after @ after) * float(before @ before), 1e-300)))
    return Finding(code="delayed", shift=float(lag)) if share > 0.95 else None


def _clipped(new: NDArray[Any], old: NDArray[Any]) -> Finding | None:
    import numpy as np

    level = float(np.abs(new).max())
    if level >= float(np.abs(old).max()) or not _is_near(new, old.clip(-level, level), 0.01):
        return None
    return Finding(code="clipped", factor=level)
