"""Metrics of two images that see amplitude, structure, colour and composition; each misses what another one sees.

Images are uint8 of shape (height, width) or (height, width, channels) with 1, 3 or 4 channels. Where a function gets
others, or two of unequal shapes, it raises ValueError (`check_images`).
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


COLOUR_CELLS = 64
"""Cells along each side of the reduction in which colours are compared."""

HASH_CELLS = 32
"""Cells along each side of the reduction that is hashed."""

HASH_FREQUENCIES = 8
"""Lowest frequencies of each axis that are hashed, the constant left out: 64 bits."""

_LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue by ITU-R BT.601, as Pillow's mode `L`."""


def check_images(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> None:
    """Refuse what isn't a pair of images.

    Only uint8 passes, so the range is 255 wherever a metric needs one, and NaN can't come in.

    Raises:
        ValueError: an array isn't uint8 of shape (height, width[, 1, 3 or 4]), or the shapes differ.
    """
    for image in (a, b):
        if str(image.dtype) != "uint8" or image.size == 0:
            raise ValueError(f"an image must be uint8 with at least one pixel, not {image.dtype} of {image.shape}")
        if image.ndim != 2 and (image.ndim != 3 or image.shape[2] not in (1, 3, 4)):
            raise ValueError(f"an image must have shape (height, width[, 1, 3 or 4]), not {image.shape}")
    if a.shape != b.shape:
        raise ValueError(f"images of shapes {a.shape} and {b.shape} can't be compared")


def luma(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Brightness of each pixel by ITU-R BT.601, 0 to 255, of shape (height, width); alpha is left out."""
    import numpy as np

    if image.ndim == 2:
        return image.astype(np.float64)
    if image.shape[2] == 1:
        return image[:, :, 0].astype(np.float64)
    brightness = np.empty(image.shape[:2])
    for top in range(0, len(image), _STRIP_PX):
        # a strip at a time, so that the parts of the sum stay in the cache
        strip = image[top : top + _STRIP_PX]
        red, green, blue = (strip[:, :, channel] * weight for channel, weight in enumerate(_LUMA))
        red += green
        np.add(red, blue, out=brightness[top : top + _STRIP_PX])
    return brightness


def signed_difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.int16]:
    """`a - b` of shape (height, width, channels), -255 to 255; uint8 would wrap around."""
    import numpy as np

    check_images(a, b)
    difference: NDArray[np.int16] = np.subtract(a, b, dtype=np.int16)
    return difference.reshape(a.shape[0], a.shape[1], -1)


def absolute_difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`|a - b|` of shape (height, width, channels), 0 to 255: the larger less the smaller can't wrap around."""
    import numpy as np

    check_images(a, b)
    return np.asarray(np.maximum(a, b) - np.minimum(a, b)).reshape(a.shape[0], a.shape[1], -1)


def area_means(values: NDArray[Any], rows: int, columns: int) -> NDArray[np.float64]:
    """Reduce an image by averaging over cells of whole pixels.

    Args:
        values: shape (height, width) or (height, width, channels); whole numbers and truth values are summed exactly.
        rows: cells along the height; at most `height` are made.
        columns: cells along the width; at most `width` are made.

    Returns:
        Means, of shape (rows, columns[, channels]). Where the size isn't a multiple, cells differ by one pixel.
    """
    import numpy as np

    total = np.int32 if values.dtype.kind in "biu" else np.float64
    tops, lefts = _cell_edges(values.shape[0], rows), _cell_edges(values.shape[1], columns)
    sums = values
    # cells of one row or column are the values themselves
    if len(tops) <= values.shape[0]:
        # slices are summed several times faster than by `reduceat` along this axis
        strips = [values[top:bottom] for top, bottom in itertools.pairwise(tops)]
        sums = np.stack([strip.sum(axis=0, dtype=total) for strip in strips])
    if len(lefts) <= values.shape[1]:
        sums = np.add.reduceat(sums, lefts[:-1], axis=1, dtype=total)
    areas = np.outer(np.diff(tops), np.diff(lefts))
    return np.asarray(sums / areas.reshape(areas.shape + (1,) * (values.ndim - 2)), dtype=np.float64)


def cell_of(shape: Sequence[int], rows: int, columns: int, row: int, column: int) -> Tile:
    """A cell of an array that is cut into so many as `area_means` cuts it."""
    tops, lefts = _cell_edges(shape[0], rows).tolist(), _cell_edges(shape[1], columns).tolist()
    return Tile(
        left_px=lefts[column],
        top_px=tops[row],
        width_px=lefts[column + 1] - lefts[column],
        height_px=tops[row + 1] - tops[row],
    )


def _cell_edges(length_px: int, cells: int) -> NDArray[np.int64]:
    """First pixel of each cell along an axis, and the axis's end."""
    import numpy as np

    count = min(cells, length_px)
    return np.arange(count + 1) * length_px // count


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A part of an image; place and size in pixels, counted from the top left corner."""

    left_px: int
    top_px: int
    width_px: int
    height_px: int


def p999_levels(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    """The 99.9th percentile of the absolute difference over all values, in levels of 255.

    It is the least level that at least 999 of 1000 values don't exceed (the inverse of the empirical distribution,
    definition 1 of Hyndman and Fan 1996, doi:10.1080/00031305.1996.10473566). A mean hides a lost patch;
    this doesn't, from one pixel in a thousand on.
    """
    return _percentile(absolute_difference(a, b), 1, 1, 0.001)[0]


def worst_tile_p99(a: NDArray[np.uint8], b: NDArray[np.uint8], tile_size_px: int = 64) -> tuple[int, Tile]:
    """The tile with the largest 99th percentile of the absolute difference over its values, in levels of 255.

    A shift, a blur or a compression of a large flat drawing touches less than a thousandth of its pixels; yet where
    an edge crosses a tile, it touches more than a hundredth of that tile. The percentile is that of `p999_levels`.

    The image is cut into as few tiles of almost one size as `tile_size_px`, their largest side, allows.
    """
    gap = absolute_difference(a, b)
    rows, columns = (-(-length_px // tile_size_px) for length_px in gap.shape[:2])
    return _percentile(gap, rows, columns, 0.01)


def _percentile(gap: NDArray[np.uint8], rows: int, columns: int, exceeding_share: float) -> tuple[int, Tile]:
    """The least level that no more than a share of the values of any cell exceeds, and a cell that needs it."""
    import numpy as np

    low, high = 0, int(gap.max())
    row = column = 0
    while low < high:
        middle = (low + high) // 2
        shares = area_means(gap > middle, rows, columns).mean(axis=2)
        if shares.max() <= exceeding_share:
            high = middle
        else:
            low = middle + 1
            row, column = (int(index) for index in np.unravel_index(int(shares.argmax()), shares.shape))
    return low, cell_of(gap.shape, rows, columns, row, column)


def colour_levels(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Root mean square of the difference after reduction to 64 by 64 cells, of the worst channel, in levels of 255.

    Averaging takes out noise and fine edges, and leaves casts, gains, tone curves and colours that moved. It is never
    less than the shift of the channel's mean where all cells are of one size. Cells are at least 2 pixels wide, so
    that noise is averaged in small images too.
    """
    import numpy as np

    difference = signed_difference(a, b)
    rows, columns = (min(COLOUR_CELLS, max(length_px // 2, 1)) for length_px in difference.shape[:2])
    means = area_means(difference, rows, columns)
    return float(np.sqrt(np.square(means).mean(axis=(0, 1)).max()))


def hash_distance_bits(a: NDArray[np.float64], b: NDArray[np.float64]) -> int:
    """Number of bits in which the perceptual hashes of two lumas of shape (height, width) truly differ.

    In a drawn picture many frequencies are zero but for rounding, and so is their sign. A bit counts only where its
    frequency moved against the median by more than a wave of one level's amplitude; so this is at most the Hamming
    distance of the two hashes.
    """
    import numpy as np

    margins_a, margins_b = hash_margins(a), hash_margins(b)
    return int(np.count_nonzero(((margins_a > 0) != (margins_b > 0)) & (np.abs(margins_a - margins_b) > 1.0)))


def hash_margins(brightness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Low frequencies less their median, as amplitudes of their waves in levels; their signs are the hash.

    It is the DCT hash of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", Hagenberg
    2010: luma, reduced to 32 by 32 by area means, discrete cosine transform, frequencies 1 to 8 of each axis, one bit
    each for being above the median. Zauner's 7 by 7 mean filter is left to the area means.

    Returns:
        At most 8 by 8, the lowest frequencies first. Images of less than 9 pixels along a side have fewer.
    """
    import numpy as np

    small = area_means(brightness, HASH_CELLS, HASH_CELLS)
    amplitudes = _waves(small.shape[0]) @ small @ _waves(small.shape[1]).T
    return amplitudes - np.median(amplitudes) if amplitudes.size else amplitudes


def _waves(cells: int) -> NDArray[np.float64]:
    """The DCT's waves of frequency 1 to 8, one a row, scaled so that a product with one gives its amplitude."""
    import numpy as np

    frequencies = np.arange(1, min(HASH_FREQUENCIES, cells - 1) + 1)
    return np.asarray(np.cos(np.pi / cells * np.outer(frequencies, np.arange(cells) + 0.5)) * 2 / cells)


WINDOW_PX = 7
"""Side of the SSIM window; smaller images take the largest odd window that fits."""

_C1 = (0.01 * 255) ** 2
_C2 = (0.03 * 255) ** 2
_STRIP_PX = 64
"""Rows of the image that are worked on at a time, so that the intermediate arrays stay in the cache."""


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


def worst_tile(
    similarity: NDArray[np.float64], height_px: int, width_px: int, tile_size_px: int
) -> tuple[float, Tile]:
    """Find the tile with the least mean similarity; the last tile of a row or column may be smaller."""
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
    return float(means[row, column]), Tile(
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
