"""What an image metric is: how it is computed, which way is better, its limits, and how its values are written."""

from __future__ import annotations

import dataclasses
import functools
import math
import sys
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from pytest_diffbench.outputs.image_metrics import Tile, check_images, luma, ssim_map

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    from numpy.typing import NDArray

RerunModel: TypeAlias = Literal["psnr", "structure", "percentile", "colour", "tier"]
"""What noise between identical calls does to a limit, see `judge.output.tolerance`; `tier`: the limit of another
machine holds."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line through an image.

    Attributes:
        orientation: of the line.
        position_px: its row (of a horizontal line) or column, from the top left corner.
        period_px: distance at which further ones follow, None where none do.
    """

    orientation: Literal["horizontal", "vertical"]
    position_px: int
    period_px: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A metric's value for a pair of images, and where in the image it is from; of the whole without a place."""

    value: float
    tile: Tile | None = None
    line: Line | None = None


class ImagePair:
    """An image and the baseline's, with what several metrics need of both.

    Args:
        image: uint8 of shape (height, width) or (height, width, channels) with 1, 3 or 4 channels.
        reference: the same, of the baseline.
        tile_size_px: side of a tile.

    Raises:
        ValueError: shapes differ, or an array isn't such an image.
    """

    def __init__(self, image: NDArray[np.uint8], reference: NDArray[np.uint8], tile_size_px: int = 64) -> None:
        check_images(image, reference)
        self.image = image
        self.reference = reference
        self.tile_size_px = tile_size_px

    @functools.cached_property
    def lumas(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Brightness of the image and of the reference."""
        return luma(self.image), luma(self.reference)

    @functools.cached_property
    def similarity(self) -> NDArray[np.float64]:
        """SSIM of each window."""
        return ssim_map(*self.lumas)


class Package(NamedTuple):
    """A package that a metric needs: the module that is imported, and the name that it is installed by."""

    module: str
    distribution: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A figure of what was returned beside the baseline's, and its limits.

    Attributes:
        name: in a test's `tolerance`, in the details of verdicts and in reports.
        label: in messages and tables.
        machine: limit on one class of machine.
        drift: limit on another one.
        broken: limit beyond which no other machine is an excuse; None where there is none.
        higher_is_better: the limit is a least value.
        decibels: a logarithm of an amplitude, of which the error is taken.
        best: value of equal results.
        largest: largest value that a limit may have.
        whole: values are whole numbers.
        digits: behind the decimal point, where a value is written.
        unit: written behind a value.
        limit_unit: written behind a limit, beside a value with its unit.
        percent: values are shares, and written as per cent.
        steps_per_unit: fineness of limits that `calibrate` proposes; None for two significant digits.
    """

    name: str
    label: str
    machine: float
    drift: float
    broken: float | None = None
    higher_is_better: bool = False
    decibels: bool = False
    best: float = 0.0
    largest: float = math.inf
    whole: bool = False
    digits: int = 4
    unit: str = ""
    limit_unit: str = ""
    percent: bool = False
    steps_per_unit: int | None = None

    def error(self, value: float) -> float:
        """How far a value is from that of equal images; infinite for one that is no number."""
        if self.decibels:
            return 10 ** (-value / 20)
        if not math.isfinite(value):
            return math.inf
        return self.best - value if self.higher_is_better else value - self.best

    def value_of(self, error: float) -> float:
        """The value that has such an error."""
        if self.decibels:
            return -20 * math.log10(error)
        return self.best - error if self.higher_is_better else self.best + error

    def excess(self, value: float, limit: float) -> float:
        """The error in units of the limit's: above 1 it is beyond the limit. No limit allows what is no number."""
        error = self.error(value)
        return error if math.isinf(error) else over(error, self.error(limit))

    def looser(self, left: float, right: float) -> float:
        """Of two limits, the one that allows more."""
        return min(left, right) if self.higher_is_better else max(left, right)

    def is_looser(self, limit: float, than: float) -> bool:
        """Whether a limit allows more than another."""
        return limit != than and self.looser(limit, than) == limit

    @property
    def any_value(self) -> float:
        """A limit that every number keeps."""
        if self.decibels:
            return -6000.0
        return -sys.float_info.max if self.higher_is_better else sys.float_info.max

    def worst(self, values: Iterable[float]) -> float:
        """Of several images: the value that is furthest from the best."""
        return max(values, key=self.error)

    def text(self, value: float | None) -> str:
        """A value with its unit; None is what JSON has for one that is infinite or no number."""
        if value is None or not math.isfinite(value):
            return "no difference" if self.decibels else "not a number"
        return f"{100 * value:.2g} %" if self.percent and abs(value) < 0.995 else self._plain_text(value)

    def _plain_text(self, value: float) -> str:
        return f"{100 * value:,.0f} %" if self.percent else f"{value:.{self.digits}f}{self.unit}"

    def limit_text(self, limit: float) -> str:
        """A limit as it stands beside a value."""
        return f"{100 * limit:.4g} %" if self.percent else f"{limit:.4g}{self.limit_unit}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ImageMetric(Metric):
    """A metric of two images.

    Attributes:
        measure: computes it; None where it needs weights, see `measured_by`.
        rerun: what noise between identical calls does to its limit.
        in_summary: summaries have it.
        package: that it needs; such a metric is computed only where a test asks for it.
    """

    measure: Callable[[ImagePair], Measurement] | None = None
    rerun: RerunModel = "tier"
    in_summary: bool = False
    package: Package | None = None

    def measured_by(self, measure: Callable[[ImagePair], Measurement]) -> ImageMetric:
        """The same metric, computed by a function that holds what it needs."""
        return dataclasses.replace(self, measure=measure)


def signal_to_noise(name: str, label: str, *, machine: float, drift: float, broken: float | None = None) -> Metric:
    """A ratio in decibels of what should be to what differs, infinite for equal results."""
    return Metric(
        name=name,
        label=label,
        machine=machine,
        drift=drift,
        broken=broken,
        higher_is_better=True,
        decibels=True,
        steps_per_unit=1,
        best=math.inf,
        digits=1,
        unit=" dB",
        limit_unit=" dB",
    )


def over(error: float, allowed: float) -> float:
    """An error in units of what is allowed; infinite where nothing is."""
    # rounding may leave the error of equal images a little under 0
    if error <= 0:
        return 0.0
    return error / allowed if allowed > 0 else math.inf
