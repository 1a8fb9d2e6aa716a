"""FLIP of the worst tile, by `flip-evaluator`: 0 for equal images, at most 1.

P. Andersson et al., "FLIP: A Difference Evaluator for Alternating Images", 2020, doi:10.1145/3406183. The mean over a
picture hides a lost patch, so the worst tile's mean is taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.outputs.image_metrics import area_means, cell_of
from pytest_diffbench.outputs.metrics.canvases import canvases
from pytest_diffbench.outputs.metrics.metric import ImageMetric, Measurement, Package

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pytest_diffbench.outputs.metrics.metric import ImagePair

_PIXELS_PER_DEGREE = 67.0
"""FLIP's default: a display of .7 m and 3840 px, seen from .7 m. Written down, so that it can't move."""


def flip(pair: ImagePair) -> Measurement:
    """The worst tile on the worst canvas."""
    measured = [_on_canvas(*canvas, pair.tile_size_px) for canvas in canvases(pair)]
    return max(measured, key=lambda measurement: METRIC.error(measurement.value))


def _on_canvas(reference: NDArray[np.uint8], image: NDArray[np.uint8], tile_size_px: int) -> Measurement:
    import flip_evaluator
    import numpy as np

    # It takes [0, 1] on trust and calls NaN equal; uint8 came in, so neither can be wrong here. The argument
    # `parameters` has a default that calls share, so each gets its own; the map is drawn in false colours unless
    # that is switched off.
    pair = [np.divide(pixels, 255, dtype=np.float32) for pixels in (reference, image)]
    parameters = {"ppd": _PIXELS_PER_DEGREE}
    errors, _, _ = flip_evaluator.evaluate(*pair, "LDR", applyMagma=False, parameters=parameters)
    errors = np.asarray(errors, dtype=np.float64).reshape(*reference.shape[:2], -1)[..., 0]
    return worst_tile_mean(errors, tile_size_px)


def worst_tile_mean(errors: NDArray[np.float64], tile_size_px: int) -> Measurement:
    """The tile with the largest mean of an error map; tiles are cut as `image_metrics.worst_tile_p99` does."""
    import numpy as np

    height_px, width_px = errors.shape
    rows, columns = -(-height_px // tile_size_px), -(-width_px // tile_size_px)
    means = area_means(errors, rows, columns)
    # NaN counts as the largest
    row, column = np.unravel_index(int(means.argmax()), means.shape)
    tile = cell_of(errors.shape, rows, columns, int(row), int(column))
    return Measurement(value=float(means[row, column]), tile=tile)


METRIC = ImageMetric(
    name="flip",
    label="FLIP",
    measure=flip,
    machine=0.04,  # rounding, truncation and noise of 45 dB reach .030; gamma 1.03 starts at .056
    drift=0.1,  # edges that wander by .4 px reach .073
    largest=1,
    in_summary=True,
    package=Package("flip_evaluator", "flip-evaluator"),
)
