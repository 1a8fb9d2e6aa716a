"""What became of a video: frames that repeat, stand elsewhere, are blank or moved."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pytest_diffbench.outputs.image_metrics import luma
from pytest_diffbench.outputs.kinds.kind import Finding, Kept, Place

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

_ALIKE_LEVELS = 1.0
"""Sketches this near, root mean square, show the same frame."""

_BLANK_LEVELS = 2.0
"""A frame that varies by less shows nothing, where the baseline's varies by four times as much."""

_LEAST_RUN = 3
"""Frames in a row that stand elsewhere by the same distance: fewer may look alike by chance."""

_MOST_COMPARED = 256
"""Frames of a video between which all distances are taken."""

_MOST_MOVED_PX = 32


def rms(values: NDArray[Any]) -> float:
    """Root mean square."""
    import numpy as np

    return math.sqrt(float(np.square(values, dtype=np.float64).mean()))


def findings(now: Kept, base: Kept, changed: list[int]) -> tuple[Finding, ...]:
    """Name what explains the frames that changed, after the first of them.

    Args:
        now: this run's video.
        base: the baseline's, of equal shape.
        changed: numbers of the frames whose bits differ, in order.
    """
    named = [Finding(code="first_difference", place=Place(frame=changed[0]))]
    for explain in (_blank, _repeated, _exchanged, _moved):
        explained = explain(now, base, changed)
        if explained:
            return (*named, *explained)
    return tuple(named)


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """First and last of each run of consecutive numbers."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _place(first: int, last: int) -> Place:
    return Place(frame=first, last_frame=last if last > first else None)


def _blank(now: Kept, base: Kept, changed: list[int]) -> list[Finding]:
    import numpy as np

    def spread(kept: Kept, number: int) -> float:
        return float(np.std(kept.arrays["sketches"][number], axis=(0, 1)).max())

    blank = [n for n in changed if spread(now, n) < _BLANK_LEVELS and spread(base, n) > 4 * _BLANK_LEVELS]
    return [Finding(code="blank", place=_place(*run)) for run in _runs(blank)]


def _repeated(now: Kept, base: Kept, changed: list[int]) -> list[Finding]:
    """Frames that are equal to the frame before, bit by bit or but for noise, where the baseline's aren't."""
    new, old = (kept.arrays["sketches"].astype("int16") for kept in (now, base))

    def is_repeated(n: int) -> bool:
        if n == 0 or now.piece_digests[n] == now.piece_digests[n - 1]:
            return n > 0 and base.piece_digests[n] != base.piece_digests[n - 1]
        still = rms(new[n] - new[n - 1])
        return still < 0.25 and still < 0.1 * rms(old[n] - old[n - 1])

    repeated = _runs([n for n in changed if is_repeated(n)])
    return [
        Finding(code="frozen" if last == len(new) - 1 and last > first else "repeated", place=_place(first, last))
        for first, last in repeated
    ]


def _exchanged(now: Kept, base: Kept, changed: list[int]) -> list[Finding]:
    """Frames that stand elsewhere in the baseline: two that were swapped, or a run that comes earlier or later."""
    if len(now.piece_digests) > _MOST_COMPARED:
        return []
    elsewhere = _elsewhere(now, base, changed)
    for left, right in ((n, m) for n in changed for m in changed if n < m):
        if right in elsewhere(left) and left in elsewhere(right):
            return [Finding(code="swapped_frames", place=Place(frame=left), other=right)]
    best: tuple[int, int, int] | None = None
    for shift in {n - m for n in changed for m in elsewhere(n)}:
        for first, last in _runs([n for n in changed if n - shift in elsewhere(n)]):
            if best is None or last - first > best[1] - best[0]:
                best = first, last, shift
    if best is None or best[1] - best[0] + 1 < _LEAST_RUN:
        return []
    return [Finding(code="shifted_frames", place=_place(best[0], best[1]), shift=float(best[2]))]


def _elsewhere(now: Kept, base: Kept, changed: list[int]) -> Callable[[int], set[int]]:
    """For a frame, numbers of the baseline's frames that it is far nearer to than to its own."""
    import numpy as np

    new, old = (
        kept.arrays["sketches"].reshape(len(kept.piece_digests), -1).astype(np.float64) for kept in (now, base)
    )
    squares = np.square(new).sum(axis=1)[:, None] + np.square(old).sum(axis=1)[None] - 2 * new @ old.T
    gaps = np.sqrt(squares.clip(0) / new.shape[1])
    near = {
        n: {int(m) for m in np.flatnonzero(gaps[n] <= _ALIKE_LEVELS) if m != n and gaps[n, m] < 0.25 * gaps[n, n]}
        for n in changed
    }
    return near.__getitem__


def _moved(now: Kept, base: Kept, changed: list[int]) -> list[Finding]:
    """Frames that are the baseline's, moved by whole pixels: by phase correlation of brightness."""
    new, old = (kept.arrays.get("frames", kept.arrays["sketches"]) for kept in (now, base))
    moved: list[Finding] = []
    for place, number in enumerate(now.kept_pieces):
        if number in changed and (shift_px := _shift_px(new[place], old[place])) is not None:
            moved.append(Finding(code="moved", place=Place(frame=number), shift_px=shift_px))
    return moved[:1]


def _shift_px(new: NDArray[np.uint8], old: NDArray[np.uint8]) -> tuple[int, int] | None:
    import numpy as np

    after, before = luma(new), luma(old)
    product = np.fft.rfft2(after) * np.conj(np.fft.rfft2(before))
    size = np.abs(product)
    correlation = np.fft.irfft2(
        np.divide(product, size, out=np.zeros_like(product), where=size > 1e-9), s=after.shape
    )
    down, right = (int(i) for i in np.unravel_index(int(correlation.argmax()), after.shape))
    height, width = after.shape
    down, right = (down - height if down > height // 2 else down), (right - width if right > width // 2 else right)
    if (down, right) == (0, 0) or max(abs(down), abs(right)) > min(_MOST_MOVED_PX, min(height, width) // 4):
        return None
    rolled = np.roll(before, (down, right), axis=(0, 1))
    inside = np.s_[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
    moved, unmoved = rms(after[inside] - rolled[inside]), rms(after - before)
    return (right, down) if moved < 0.5 * unmoved else None
