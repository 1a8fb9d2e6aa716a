"""Structural similarity of two images, and the tile in which it is least."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WINDOW_PX = 7
"""Side of the SSIM window; smaller images take the largest odd window that fits."""

_C1 = (0.01 * 255) ** 2
_C2 = (0.03 * 255) ** 2
_STRIP_PX = 64
"""Rows of the image that are worked on at a time, so that the intermediate arrays stay in the cache."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A part of an image and its mean SSIM; place and size in pixels, counted from the top left corner."""

    ssim: float
    left_px: int
    top_px: int
    width_px: int
    height_px: int


def ssim_map(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Structural similarity of each whole window (Wang et al. 2004, doi:10.1109/TIP.2003.819861, equation 13).

    Uniform window of 7 by 7 pixels, K1 = .01, K2 = .03, range 255, sample covariance.

    Args:
        a: float64 of shape (height, width), 0 to 255.
        b: the same.

    Returns:
        Similarities, at most 1 up to rounding, of shape (height - window + 1, width - window + 1).
    """
    import numpy as np

    height, width = a.shape
    side = WINDOW_PX if min(height, width) >= WINDOW_PX else (min(height, width) - 1) // 2 * 2 + 1
    rows, columns = height - side + 1, width - side + 1
    similarity = np.empty((rows, columns))
    for top in range(0, rows, _STRIP_PX):
        bottom = min(top + _STRIP_PX, rows)
        part = slice(top, bottom + side - 1)
        similarity[top:bottom] = _ssim_strip(a[part], b[part], side)
    return similarity


def _ssim_strip(a: NDArray[np.float64], b: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    area = side * side
    # the luminance term needs the true means; variances are kept exact by centring on the middle of the range
    x, y = a - 128.0, b - 128.0
    mean_x, mean_y = _box_sum(x, side) / area, _box_sum(y, side) / area
    bessel = area / (area - 1) if area > 1 else 1.0
    variances = bessel * ((_box_sum(x * x + y * y, side)) / area - mean_x * mean_x - mean_y * mean_y)
    covariance = bessel * (_box_sum(x * y, side) / area - mean_x * mean_y)
    mean_a, mean_b = mean_x + 128.0, mean_y + 128.0
    product = mean_a * mean_b
    numerator = (2 * product + _C1) * (2 * covariance + _C2)
    result: NDArray[np.float64] = numerator / ((mean_a * mean_a + mean_b * mean_b + _C1) * (variances + _C2))
    return result


def _box_sum(values: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Sum over each whole window, by shifted additions: exact for whole numbers, and no error runs along a row."""
    rows = values.shape[0] - side + 1
    columns = values.shape[1] - side + 1
    down = values[:rows].copy()
    for shift in range(1, side):
        down += values[shift : shift + rows]
    across = down[:, :columns].copy()
    for shift in range(1, side):
        across += down[:, shift : shift + columns]
    return across


def worst_tile(similarity: NDArray[np.float64], height_px: int, width_px: int, tile_size_px: int) -> Tile:
    """Find the tile with the least mean similarity; the last tile of a row or column may be smaller.

    Args:
        similarity: what `ssim_map` returned.
        height_px: of the image.
        width_px: of the image.
        tile_size_px: side of a tile.
    """
    import numpy as np

    rows, columns = similarity.shape
    # a window counts for the tile that its centre lies in
    margin_y, margin_x = (height_px - rows) // 2, (width_px - columns) // 2
    tops, lefts = _starts(height_px, rows, margin_y, tile_size_px), _starts(width_px, columns, margin_x, tile_size_px)
    sums = np.add.reduceat(np.add.reduceat(similarity, [s for _, s in tops], axis=0), [s for _, s in lefts], axis=1)
    counts = np.outer(_sizes([s for _, s in tops], rows), _sizes([s for _, s in lefts], columns))
    means = sums / counts
    row, column = np.unravel_index(int(means.argmin()), means.shape)
    top, left = tops[int(row)][0], lefts[int(column)][0]
    return Tile(
        ssim=float(means[row, column]),
        left_px=left,
        top_px=top,
        width_px=min(tile_size_px, width_px - left),
        height_px=min(tile_size_px, height_px - top),
    )


def _starts(length_px: int, windows: int, margin_px: int, tile_size_px: int) -> list[tuple[int, int]]:
    """First pixel and first window of each tile along an axis; tiles without any window's centre are left out."""
    starts = []
    for start in range(0, length_px, tile_size_px):
        first = max(start - margin_px, 0)
        if first < windows and start + tile_size_px > margin_px:
            starts.append((start, first))
    return starts


def _sizes(starts: list[int], end: int) -> list[int]:
    return [after - start for start, after in zip(starts, [*starts[1:], end], strict=True)]
