"""Finds seams: lines along which the difference of two images jumps, as between the tiles of a tiled decoder."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Literal

from pytest_diffbench.outputs.image_metrics import area_means, check_images

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SEGMENTS = 16
"""Parts of a line that vote on its jump; half of them must show it."""

_LEAST_SEGMENT_PX = 8
"""Shorter parts would average too little noise."""

_NEIGHBOURS = 8
"""Lines on each side that say how much jumps here anyway; the next one on each side belongs to the seam."""

_EDGE_PX = 2
"""Lines on each side within which both images have an edge that moved or was blurred."""

_EDGE_WEIGHT = 2.0
"""A blur of one pixel leaves an edge .38 of its jump, and the difference the other .62; a moved edge keeps all."""

_SAME_SEAM_PX = 3
"""Jumps this near to each other are the two sides of one bright or dark line."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Seam:
    """The line along which the difference of two images jumps most.

    Attributes:
        levels: the jump, beyond that of the lines beside it, in levels of 255; 0 where nothing jumps.
        orientation: of the line itself.
        position_px: the first row (of a horizontal seam) or column after the jump, from the top left corner.
        period_px: distance at which seams repeat, None where they don't.
    """

    levels: float
    orientation: Literal["horizontal", "vertical"]
    position_px: int
    period_px: int | None = None


def find_seam(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> Seam:
    """Find the line at which the difference of two images jumps most, though they have no edge in common there.

    Each line is cut into up to 16 parts. A part's mean against that of the same part of the line before is its jump,
    with either sign. A line's jump is the median over its parts, of the worst channel, less the median of the same
    over the lines on each side, the nearest left out. So noise and texture, which jump everywhere, don't count, and
    neither does a small object, which doesn't jump along half a line. From the jump of the difference, twice the
    smaller of the two images' own jumps within 2 lines is taken: an edge that both have moved, or was blurred, and is
    no seam. It has no source in the literature; `docs/verdicts.md` says what it finds.

    It takes and refuses what `image_metrics.check_images` does.
    """
    check_images(a, b)
    height, width = a.shape[:2]
    pair = [image.reshape(height, width, -1) for image in (a, b)]
    by_row = [area_means(image, height, _segments(width)) for image in pair]
    by_column = [area_means(image, _segments(height), width).swapaxes(0, 1) for image in pair]
    horizontal = _strongest(_seam_jumps(*by_row), "horizontal")
    vertical = _strongest(_seam_jumps(*by_column), "vertical")
    return max(horizontal, vertical, key=lambda seam: seam.levels)


def _segments(length_px: int) -> int:
    return min(max(length_px // _LEAST_SEGMENT_PX, 1), _SEGMENTS)


def _seam_jumps(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Jump of the difference before each line but the first, from means of shape (lines, segments, channels)."""
    import numpy as np

    if len(a) < 2:
        return np.zeros(0)
    shared = np.minimum(*(_windows(_jumps(image), _EDGE_PX).max(axis=1) for image in (a, b)))
    jumps: NDArray[np.float64] = np.maximum(_jumps(a - b) - _EDGE_WEIGHT * shared, 0)
    return jumps


def _jumps(means: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    jumps: NDArray[np.float64] = np.median(np.abs(np.diff(means, axis=0)), axis=1).max(axis=1)
    beside = np.abs(np.arange(-_NEIGHBOURS, _NEIGHBOURS + 1)) > 1
    return np.asarray(np.maximum(jumps - np.median(_windows(jumps, _NEIGHBOURS)[:, beside], axis=1), 0))


def _windows(jumps: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """The jumps around each; mirrored at the borders without the outermost, which mustn't be its own neighbour."""
    import numpy as np

    return np.lib.stride_tricks.sliding_window_view(np.pad(jumps, reach, mode="reflect"), 2 * reach + 1)


def _strongest(jumps: NDArray[np.float64], orientation: Literal["horizontal", "vertical"]) -> Seam:
    if not jumps.any():
        return Seam(levels=0.0, orientation=orientation, position_px=0)
    line = int(jumps.argmax())
    return Seam(levels=float(jumps[line]), orientation=orientation, position_px=line + 1, period_px=_period_px(jumps))


def _period_px(jumps: NDArray[np.float64]) -> int | None:
    """Distance at which seams of at least half the strongest one's height lie, if they lie on one grid."""
    positions: list[int] = []
    last = -_SAME_SEAM_PX - 1
    for line in (jumps >= 0.5 * jumps.max()).nonzero()[0].tolist():
        if line - last > _SAME_SEAM_PX:
            positions.append(line + 1)
        last = line
    gaps = [after - before for before, after in itertools.pairwise(positions)]
    if not gaps:
        return None
    period_px = min(gaps)
    if len(gaps) == 1:
        # two seams make a grid only together with the border that they are counted from
        return period_px if abs(positions[0] - period_px) <= 1 else None
    on_grid = all(min(gap % period_px, -gap % period_px) <= 1 for gap in gaps)
    # almost any places lie on a fine enough grid: half of its lines must be there
    return period_px if on_grid and 2 * len(gaps) * period_px >= positions[-1] - positions[0] else None
