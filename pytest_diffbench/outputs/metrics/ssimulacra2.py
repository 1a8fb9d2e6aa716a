"""SSIMULACRA2 by the package of that name: 100 for equal images, less and also negative for others.

The score of https://github.com/cloudinary/ssimulacra2. Images of less than 256 px along a side are continued by their
mirror image, so that it has all of its scales.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from pytest_diffbench.outputs.metrics.canvases import canvases, mirrored
from pytest_diffbench.outputs.metrics.metric import ImageMetric, Measurement, Package

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pytest_diffbench.outputs.metrics.metric import ImagePair

_LEAST_PX = 256
"""Its 108 weights belong to six scales, each half the one before and none under 8 px. With fewer scales it would give
the weights of one channel to another."""


def ssimulacra2(pair: ImagePair) -> Measurement:
    """The score on the worst canvas."""
    from ssimulacra2 import compute_ssimulacra2

    scores = [
        float(compute_ssimulacra2(*(_as_file(mirrored(pixels, _LEAST_PX)) for pixels in canvas)))
        for canvas in canvases(pair)
    ]
    return Measurement(value=METRIC.worst(scores))


def _as_file(image: NDArray[np.uint8]) -> io.BytesIO:
    """The image as an uncompressed file in memory: the package takes nothing else."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "BMP")
    stream.seek(0)
    return stream


METRIC = ImageMetric(
    name="ssimulacra2",
    label="SSIMULACRA2",
    measure=ssimulacra2,
    machine=88.0,  # noise of 45 dB leaves 90.6, and 90 is where the authors see no difference any more
    drift=75.0,  # edges that wander by .4 px leave 81.6
    higher_is_better=True,
    best=100.0,
    largest=100,
    digits=1,
    steps_per_unit=1,
    in_summary=True,
    package=Package("ssimulacra2", "ssimulacra2"),
)
