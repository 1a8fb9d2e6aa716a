"""The metrics that are always computed, in the order in which tables have them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_diffbench.outputs.image_metrics import (
    colour_levels,
    hash_distance_bits,
    p999_levels,
    worst_tile,
    worst_tile_p99,
)
from pytest_diffbench.outputs.image_seams import find_seam
from pytest_diffbench.outputs.metrics.metric import ImageMetric, Line, Measurement
from pytest_diffbench.outputs.pixels import psnr_db

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_diffbench.outputs.metrics.metric import ImagePair, RerunModel


def _psnr(pair: ImagePair) -> Measurement:
    return Measurement(value=psnr_db(pair.image, pair.reference))


def _p999(pair: ImagePair) -> Measurement:
    return Measurement(value=p999_levels(pair.image, pair.reference))


def _tile_p99(pair: ImagePair) -> Measurement:
    levels, tile = worst_tile_p99(pair.image, pair.reference, pair.tile_size_px)
    return Measurement(value=levels, tile=tile)


def _ssim(pair: ImagePair) -> Measurement:
    return Measurement(value=float(pair.similarity.mean()))


def _tile_ssim(pair: ImagePair) -> Measurement:
    height_px, width_px = pair.image.shape[:2]
    ssim, tile = worst_tile(pair.similarity, height_px, width_px, pair.tile_size_px)
    return Measurement(value=ssim, tile=tile)


def _colour(pair: ImagePair) -> Measurement:
    return Measurement(value=colour_levels(pair.image, pair.reference))


def _seam(pair: ImagePair) -> Measurement:
    seam = find_seam(pair.image, pair.reference)
    line = Line(orientation=seam.orientation, position_px=seam.position_px, period_px=seam.period_px)
    return Measurement(value=seam.levels, line=line if seam.levels else None)


def _hash(pair: ImagePair) -> Measurement:
    return Measurement(value=hash_distance_bits(*pair.lumas))


def _levels(
    name: str,
    label: str,
    measure: Callable[[ImagePair], Measurement],
    *,
    machine: float,
    drift: float,
    digits: int = 1,
    rerun: RerunModel = "tier",
) -> ImageMetric:
    """A difference in levels of 255."""
    return ImageMetric(
        name=name,
        label=label,
        measure=measure,
        machine=machine,
        drift=drift,
        largest=255,
        digits=digits,
        unit="/255",
        steps_per_unit=10,
        rerun=rerun,
    )


def _structural(
    name: str,
    label: str,
    measure: Callable[[ImagePair], Measurement],
    *,
    machine: float,
    drift: float,
    broken: float | None = None,
) -> ImageMetric:
    return ImageMetric(
        name=name,
        label=label,
        measure=measure,
        machine=machine,
        drift=drift,
        broken=broken,
        higher_is_better=True,
        best=1.0,
        largest=1,
        steps_per_unit=100,
        rerun="structure",
        in_summary=True,
    )


BUILT_IN = (
    # 40 dB is 1 % of the range, root mean square; drift between kinds of device reaches 28 dB.
    ImageMetric(
        name="psnr_db",
        label="PSNR",
        measure=_psnr,
        machine=40.0,
        drift=28.0,
        broken=20.0,
        higher_is_better=True,
        decibels=True,
        best=math.inf,
        digits=1,
        unit=" dB",
        limit_unit=" dB",
        steps_per_unit=1,
        rerun="psnr",
        in_summary=True,
    ),
    # Noise of 45 dB reaches 5; a lost patch of two thousandths of the picture, over 100. Edges of a drawing that move
    # by half a pixel reach 100 while PSNR stays over 30 dB.
    _levels("p999_levels", "p99.9 difference", _p999, machine=8.0, drift=128.0, digits=0, rerun="percentile"),
    # Noise of 45 dB reaches 4 in every tile; an edge that is blurred, compressed or moved a pixel, 12 and more. Edges
    # that move by half a pixel reach 120 in the tile they cross; a black patch on a bright ground is more.
    _levels(
        "tile_p99_levels", "tile p99 difference", _tile_p99, machine=8.0, drift=128.0, digits=0, rerun="percentile"
    ),
    # Noise of 45 dB leaves a flat grey picture .966, a coloured one .985.
    _structural("ssim", "SSIM", _ssim, machine=0.96, drift=0.95, broken=0.8),
    # A tile has fewer pixels to average over, so it is allowed more; a lost patch falls to nearly 0, an edge that
    # moves by a pixel halves it.
    _structural("tile_ssim", "tile SSIM", _tile_ssim, machine=0.9, drift=0.5),
    # Noise of 45 dB leaves .7 after reduction in small pictures, and truncation .6; gamma 1.03 moves 1 to 3. Drift
    # moves edges, not areas; a visible cast is 8 levels.
    _levels("colour_levels", "colour shift", _colour, machine=1.0, drift=6.0, rerun="colour"),
    # Noise of 45 dB reaches .4; seams of 6 levels keep at least 3 in the most textured picture. Edges that move by
    # most of a pixel reach 2.4, since an edge that both pictures have is no seam.
    _levels("seam_levels", "seam", _seam, machine=2.0, drift=3.0),
    # Noise turns none, since frequencies that are zero but for rounding don't count, and drift none either; two
    # pictures that have nothing to do with each other differ in about 32.
    ImageMetric(
        name="hash_bits",
        label="hash distance",
        measure=_hash,
        machine=4,
        drift=10,
        largest=64,
        whole=True,
        digits=0,
        unit=" of 64 bits",
        steps_per_unit=1,
    ),
)
