"""Depth, normals and other maps: values in their own units, compared relative to the baseline's range."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_diffbench.outputs.image_metrics import area_means
from pytest_diffbench.outputs.kinds.kind import (
    Figure,
    Finding,
    Kept,
    Kind,
    Part,
    PartComparison,
    Place,
    Sketch,
    Value,
    greys_of,
    kept_of,
    names_of,
    part_of,
    stored_float32,
)
from pytest_diffbench.outputs.metrics.metric import Metric, Tile

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

MOST_VALUES = 1 << 21
"""Values that are kept of a map, 8 MiB: depths of 1024 x 1024, normals of 768 x 768; of a larger map, cells."""

TILE_PX = 64

SKETCH_CELLS = 16
"""Along each side of a sketch. A distance of means over cells is never more than that of the values."""

_FIELDS = ("prediction", "depth", "predicted_depth", "disparity", "normals", "normal", "uncertainty", "albedo")
_CHANNELS = (1, 2, 3, 4)
_ALIKE_REL = 0.02
"""Up to this part of the range a map counts as the inverted, scaled or moved one."""

_REL = Metric(
    # 1 % of the range, root mean square, as 40 dB of an image.
    name="map_rel",
    label="RMS difference over the range",
    machine=0.01,
    drift=0.06,
    broken=0.25,
    percent=True,
)
_TILE_REL = Metric(
    # Noise of 1 % reaches as much in each tile; a lost patch, most of the range.
    name="map_tile_rel",
    label="RMS difference of a tile over the range",
    machine=0.03,
    drift=0.5,
    percent=True,
)
_ANGLE = Metric(
    # Rounding to half precision turns normals by less than .1 degrees; a texture that is lost, by 10.
    name="map_angle_deg",
    label="mean angle",
    machine=1.0,
    drift=6.0,
    broken=45.0,
    largest=180,
    digits=1,
    unit=" degrees",
    limit_unit=" degrees",
)


class Maps(Kind):
    """A value or a vector for each pixel. The array has shape (height, width, channels)."""

    name: ClassVar[str] = "map"
    noun: ClassVar[str] = "map"
    has_picture: ClassVar[bool] = True
    metrics: ClassVar[tuple[Metric, ...]] = (_REL, _TILE_REL, _ANGLE)
    likeness: ClassVar[tuple[str, ...]] = (_REL.name,)

    def is_no_image(self, value: Value) -> bool:
        """By the names that diffusers and others give to them."""
        return value.field in _FIELDS

    def read(self, value: Value) -> tuple[Part, ...] | None:
        """Floating point or 16-bit values of shape HW, HWC, NHWC, or CHW and NCHW where they came from torch."""
        if not self.is_no_image(value) or value.latents:
            return None
        if value.array is None:
            parts = [self.read(element) for element in value.elements]
            return tuple(part for inner in parts for part in inner or ()) if parts and all(parts) else None
        maps = _split(value.array, value.channels_first)
        if maps is None:
            return None
        names = names_of(value, len(maps))
        return tuple(part_of(self.name, name, array) for name, array in zip(names, maps, strict=True))

    def keep(self, part: Part) -> Kept:
        """Every value, or means of cells."""
        values = part.array
        while values.size > MOST_VALUES:
            values = area_means(values, values.shape[0] // 2, values.shape[1] // 2)
        return kept_of(part, {"values": stored_float32(values)})

    def compare(self, now: Kept, base: Kept) -> PartComparison:
        """Differences over the range of the baseline; of vectors their angles, too."""
        import numpy as np

        new, old = (side.arrays["values"].astype(np.float64) for side in (now, base))
        span = _range(old)
        scale_px = now.shape[0] / new.shape[0]
        square = np.square(new - old).mean(axis=2)
        value, tile = _worst_tile(square, scale_px)
        figures = [
            Figure(metric=_REL.name, value=_over(math.sqrt(float(square.mean())), span)),
            Figure(metric=_TILE_REL.name, value=_over(value, span), tile=tile),
        ]
        if new.shape[2] == 3:
            figures.append(Figure(metric=_ANGLE.name, value=_mean_angle_deg(new, old)))
        return PartComparison(figures=tuple(figures), findings=_findings(new, old, span))

    def sketch(self, kept: Kept) -> Sketch:
        """Means over cells."""
        import numpy as np

        values = kept.arrays["values"].astype(np.float64)
        return Sketch(values=area_means(values, SKETCH_CELLS, SKETCH_CELLS).reshape(-1), size=_range(values))

    def least_distances(self, now: Sketch, base: Sketch) -> tuple[Figure, ...]:
        """The difference over the range."""
        import numpy as np

        gap = math.sqrt(float(np.square(now.values - base.values).mean()))
        return (Figure(metric=_REL.name, value=gap / base.size),) if base.size > 0 else ()

    def picture(self, kept: Kept) -> NDArray[np.uint8]:
        """From black for the least value to white for the greatest; vectors as colours."""
        return self.pictures([kept])[0]

    def pictures(self, parts: Sequence[Kept]) -> tuple[NDArray[np.uint8], ...]:
        """The same, from the least value of all to the greatest of all."""
        return tuple(grey if grey.shape[2] == 3 else grey[:, :, 0] for grey in greys_of(parts))


def _split(array: NDArray[Any], channels_first: bool) -> list[NDArray[Any]] | None:
    """The maps of a batch, channels last; None where the array holds no maps."""
    import numpy as np

    if array.dtype.kind not in "fiu" or not array.size or array.ndim not in (2, 3, 4):
        return None
    if channels_first and array.ndim > 2:
        array = np.moveaxis(array, -3, -1)
    if array.ndim == 3 and array.shape[-1] not in _CHANNELS:
        array = array[..., np.newaxis]  # a batch of maps without an axis of channels
    if array.ndim == 2:
        array = array[..., np.newaxis]
    if array.shape[-1] not in _CHANNELS:
        return None
    return list(array) if array.ndim == 4 else [array]


def _range(values: NDArray[np.float64]) -> float:
    """Between the values that a thousandth lies under, and over: a single spike doesn't stretch it."""
    import numpy as np

    low, high = np.quantile(values, (0.001, 0.999))
    return float(high - low) or float(values.max() - values.min())


def _over(value: float, span: float) -> float:
    if value == 0:
        return 0.0
    return value / span if span > 0 else math.inf


def _worst_tile(square: NDArray[np.float64], scale_px: float) -> tuple[float, Tile | None]:
    """Root mean square difference of the worst tile, and where it is."""
    import numpy as np

    side = max(1, round(TILE_PX / scale_px))
    height, width = square.shape
    tops, lefts = range(0, height, side), range(0, width, side)
    sums = np.add.reduceat(np.add.reduceat(square, list(tops), axis=0), list(lefts), axis=1)
    rows = np.diff([*tops, height])
    columns = np.diff([*lefts, width])
    means = sums / np.outer(rows, columns)
    row, column = (int(i) for i in np.unravel_index(int(means.argmax()), means.shape))
    if not means[row, column]:
        return 0.0, None
    left, top, wide, high = (
        round(scale_px * cells) for cells in (lefts[column], tops[row], columns[column], rows[row])
    )
    return math.sqrt(float(means[row, column])), Tile(left_px=left, top_px=top, width_px=wide, height_px=high)


def _mean_angle_deg(new: NDArray[np.float64], old: NDArray[np.float64]) -> float:
    """Mean angle between vectors, where both have a length."""
    import numpy as np

    lengths = np.linalg.norm(new, axis=2) * np.linalg.norm(old, axis=2)
    cosines = (new * old).sum(axis=2)[lengths > 0] / lengths[lengths > 0]
    return float(np.degrees(np.arccos(cosines.clip(-1, 1))).mean()) if cosines.size else 0.0


def _findings(new: NDArray[np.float64], old: NDArray[np.float64], span: float) -> tuple[Finding, ...]:
    import numpy as np

    def is_near(candidate: NDArray[np.float64]) -> bool:
        return math.sqrt(float(np.square(new - candidate).mean())) <= _ALIKE_REL * span

    if span <= 0 or is_near(old):
        return ()
    for axis in (1, 0):
        if is_near(np.flip(old, axis)):
            return (Finding(code="mirrored", place=Place(axis=axis)),)
    centred = old - old.mean()
    factor = float((centred * new).sum() / np.square(centred).sum())
    offset = float(new.mean() - factor * old.mean())
    if not is_near(factor * old + offset):
        return ()
    if factor < 0:
        return (Finding(code="inverted"),)
    if abs(factor - 1) <= _ALIKE_REL:
        return (Finding(code="offset", shift=offset),)
    return (Finding(code="scaled", factor=factor),)
