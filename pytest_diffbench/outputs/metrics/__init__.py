"""The image metrics: limits, tolerances, `calibrate`, reports and docs go over this registry.

A new metric is a module with an `ImageMetric`, and a line here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.outputs.metrics import flip, lpips, ssimulacra2
from pytest_diffbench.outputs.metrics.builtin import BUILT_IN
from pytest_diffbench.outputs.metrics.metric import ImageMetric, ImagePair, Line, Measurement, Tile, over

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

_ALL = (
    *BUILT_IN,
    flip.METRIC,
    ssimulacra2.METRIC,
    lpips.METRIC,
)

METRICS: dict[str, ImageMetric] = {metric.name: metric for metric in _ALL}
"""By name, in the order of tables."""

OPTIONAL: tuple[str, ...] = tuple(metric.name for metric in _ALL if metric.package is not None)
"""Names of those that need another package, and are computed only where a test asks for them."""


def distance(
    image: NDArray[np.uint8],
    reference: NDArray[np.uint8],
    tile_size_px: int = 64,
    metrics: Sequence[ImageMetric] = (),
) -> dict[str, Measurement]:
    """Measure how far an image is from the baseline's.

    Args:
        image: uint8 of shape (height, width) or (height, width, channels) with 1, 3 or 4 channels.
        reference: the same, of the baseline.
        tile_size_px: side of a tile.
        metrics: to compute besides those that are always computed.

    Returns:
        A measurement for each metric, by name.

    Raises:
        ValueError: shapes differ, or an array isn't such an image.
    """
    pair = ImagePair(image, reference, tile_size_px)
    always = [metric for metric in METRICS.values() if metric.package is None]
    return {metric.name: _measured(metric, pair) for metric in (*always, *metrics)}


def _measured(metric: ImageMetric, pair: ImagePair) -> Measurement:
    if metric.measure is None:
        raise ValueError(f"metric {metric.name} needs weights: bind them with measured_by")
    return metric.measure(pair)
