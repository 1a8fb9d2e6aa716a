"""Metrics of other packages that a test may ask for, behind one interface that keeps their traps shut."""

from __future__ import annotations

import dataclasses
import io
import math
import sys
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pytest_diffbench.outputs.image_metrics import area_means, cell_px, check_images

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ExtraName = Literal["flip", "ssimulacra2", "lpips"]

_FLIP_PIXELS_PER_DEGREE = 67.0
"""FLIP's default: a display of .7 m and 3840 px, seen from .7 m. Written down, so that it can't move."""

_SSIMULACRA2_LEAST_PX = 256
"""Its 108 weights belong to six scales, each half the one before and none under 8 px. With fewer scales it would give
the weights of one channel to another."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A part of an image; place and size in pixels, counted from the top left corner."""

    left_px: int
    top_px: int
    width_px: int
    height_px: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """One image's distance by another package's metric, in that metric's own units.

    Attributes:
        name: key of `KINDS`.
        value: of the metric; NaN where the package gave one.
        tile: the part that it is of, None where it is of the whole image.
    """

    name: ExtraName
    value: float
    tile: Tile | None = None


class ExtraMetric(Protocol):
    """Compares an image with the baseline's."""

    @property
    def name(self) -> ExtraName:
        """Key of `KINDS`."""

    def __call__(self, reference: NDArray[np.uint8], image: NDArray[np.uint8], tile_size_px: int) -> Extra:
        """Compare two images of one shape, as `images.distance` takes them. Neither is changed."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is known of a metric's values.

    Attributes:
        words: how it is called in messages.
        best: the value of equal images.
        least: less is worse.
        digits: behind the point, in messages.
    """

    words: str
    best: float = 0.0
    least: bool = False
    digits: int = 4

    def error(self, value: float) -> float:
        """How far a value is from that of equal images; infinite for one that is no number."""
        if not math.isfinite(value):
            return math.inf
        return self.best - value if self.least else value - self.best

    @property
    def any_value(self) -> float:
        """A limit that every number keeps."""
        return -sys.float_info.max if self.least else sys.float_info.max

    def worst(self, values: list[float]) -> float:
        """Of several images: the value that is furthest from the best."""
        return max(values, key=self.error)

    def text(self, value: float) -> str:
        return f"{value:.{self.digits}f}"


KINDS: dict[ExtraName, Kind] = {
    "flip": Kind(words="FLIP"),
    "ssimulacra2": Kind(words="SSIMULACRA2", best=100.0, least=True, digits=1),
    "lpips": Kind(words="LPIPS"),
}
"""Every metric that can be asked for."""


class Flip:
    """FLIP of the worst tile, by `flip-evaluator`: 0 for equal images, at most 1.

    P. Andersson et al., "FLIP: A Difference Evaluator for Alternating Images", 2020, doi:10.1145/3406183. The mean
    over a picture hides a lost patch, so the worst tile's mean is taken.
    """

    name: ClassVar[ExtraName] = "flip"

    def __call__(self, reference: NDArray[np.uint8], image: NDArray[np.uint8], tile_size_px: int) -> Extra:
        """See `ExtraMetric`."""
        extras = [self._of(*pair, tile_size_px) for pair in canvases(reference, image)]
        return max(extras, key=lambda extra: KINDS["flip"].error(extra.value))

    def _of(self, reference: NDArray[np.uint8], image: NDArray[np.uint8], tile_size_px: int) -> Extra:
        import flip_evaluator
        import numpy as np

        # It takes [0, 1] on trust and calls NaN equal; uint8 came in, so neither can be wrong here. The argument
        # `parameters` has a default that calls share, so each gets its own; the map is drawn in false colours unless
        # that is switched off.
        pair = [np.divide(pixels, 255, dtype=np.float32) for pixels in (reference, image)]
        given = {"ppd": _FLIP_PIXELS_PER_DEGREE}
        errors, _, _ = flip_evaluator.evaluate(*pair, "LDR", applyMagma=False, parameters=given)
        errors = np.asarray(errors, dtype=np.float64).reshape(*reference.shape[:2], -1)[..., 0]
        return worst_tile_mean("flip", errors, tile_size_px)


class Ssimulacra2:
    """SSIMULACRA2 by the package of that name: 100 for equal images, less and also negative for others.

    The score of https://github.com/cloudinary/ssimulacra2. Images of less than 256 px along a side are continued by
    their mirror image, so that it has all of its scales.
    """

    name: ClassVar[ExtraName] = "ssimulacra2"

    def __call__(self, reference: NDArray[np.uint8], image: NDArray[np.uint8], tile_size_px: int) -> Extra:  # noqa: ARG002  # it is of the whole image
        """See `ExtraMetric`."""
        from ssimulacra2 import compute_ssimulacra2

        scores = [
            float(compute_ssimulacra2(*(_as_file(mirrored(canvas, _SSIMULACRA2_LEAST_PX)) for canvas in pair)))
            for pair in canvases(reference, image)
        ]
        return Extra(name="ssimulacra2", value=KINDS["ssimulacra2"].worst(scores))


def canvases(
    reference: NDArray[np.uint8], image: NDArray[np.uint8]
) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """The pair as RGB, since the packages know no other: grey three times over, transparency on black and on white.

    A package that drops alpha takes two images for equal that are not. One canvas isn't enough: on a black one, black
    is as good as transparent.

    Raises:
        ValueError: shapes differ, or an array isn't such an image as `images.distance` takes.
    """
    import numpy as np

    check_images(reference, image)
    pair = [pixels.reshape(*pixels.shape[:2], -1) for pixels in (reference, image)]
    if pair[0].shape[2] == 4:
        drawn = [[_on(pixels, ground) for pixels in pair] for ground in (0, 255)]
    else:
        drawn = [[np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3))) for pixels in pair]]
    return [(before, after) for before, after in drawn]


def _on(image: NDArray[np.uint8], ground: int) -> NDArray[np.uint8]:
    import numpy as np

    alpha = image[..., 3:].astype(np.float64) / 255
    return np.rint(alpha * image[..., :3] + (1 - alpha) * ground).astype(np.uint8)


def mirrored(image: NDArray[Any], least_px: int) -> NDArray[Any]:
    """The image, continued by its mirror image to the right and to the bottom where a side is shorter."""
    import numpy as np

    missing = [(0, max(least_px - side_px, 0)) for side_px in image.shape[:2]]
    return np.pad(image, [*missing, (0, 0)], mode="symmetric") if any(after for _, after in missing) else image


def worst_tile_mean(name: ExtraName, errors: NDArray[np.float64], tile_size_px: int) -> Extra:
    """The tile with the largest mean of an error map; tiles are cut as `image_metrics.worst_tile_p99` does."""
    import numpy as np

    height_px, width_px = errors.shape
    rows, columns = -(-height_px // tile_size_px), -(-width_px // tile_size_px)
    means = area_means(errors, rows, columns)
    # NaN counts as the largest
    row, column = np.unravel_index(int(means.argmax()), means.shape)
    tile = Tile(**cell_px(errors.shape, rows, columns, int(row), int(column)))
    return Extra(name=name, value=float(means[row, column]), tile=tile)


def _as_file(image: NDArray[np.uint8]) -> io.BytesIO:
    """The image as an uncompressed file in memory: the package takes nothing else."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "BMP")
    stream.seek(0)
    return stream
