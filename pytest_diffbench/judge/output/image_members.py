"""Holds the metrics of images against their limits, so that those of different units can be told which is worst."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from pytest_diffbench.outputs.image_extras import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.judge.output.tolerance import Tolerance
    from pytest_diffbench.outputs.image_extras import Extra
    from pytest_diffbench.outputs.image_extras import Tile as ExtraTile
    from pytest_diffbench.outputs.image_metrics import TileLevels
    from pytest_diffbench.outputs.images import ImageDistance, Tile


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """One metric of one image, against its limit.

    Attributes:
        excess: its error over the allowed error; above 1 it is beyond the limit, whatever the metric's unit.
        text: metric, value, image, place where it has one, and limit.
        placed: whether the text says where in the image.
    """

    excess: float
    text: str
    placed: bool = False


def members(distances: Sequence[ImageDistance], allowed: Tolerance) -> list[Member]:
    """Every metric of every image, each on its own: a mean over images would hide the one that broke."""
    return [member for number, one in enumerate(distances) for member in _members(number, one, allowed)]


def _members(number: int, image_distance: ImageDistance, allowed: Tolerance) -> list[Member]:
    tile, part, seam = image_distance.worst_tile, image_distance.tile_p99, image_distance.seam
    # errors in amplitude, so that PSNR and the others are measured alike
    noise = 10 ** ((allowed.psnr_db - image_distance.psnr_db) / 20)
    line = f", {seam.place()}" if seam.levels else ""
    # of two that are equally far beyond, the first is named: better one that has a place
    return [
        Member(
            over(part.levels, allowed.tile_p99_levels),
            f"worst tile's p99 of the difference {part.levels} levels of 255 in image {number}, {tile_text(part)}"
            f" (at most {allowed.tile_p99_levels:.3g})",
            placed=True,
        ),
        Member(
            over(1 - tile.ssim, 1 - allowed.tile_ssim),
            f"worst tile's SSIM {tile.ssim:.4f} of image {number}, {tile_text(tile)}"
            f" (at least {allowed.tile_ssim:.3g})",
            placed=True,
        ),
        Member(
            over(seam.levels, allowed.seam_levels),
            f"seam of {seam.levels:.1f} levels of 255 in image {number}{line} (at most {allowed.seam_levels:.3g})",
            placed=seam.levels > 0,
        ),
        Member(
            over(image_distance.p999_levels, allowed.p999_levels),
            f"p99.9 of the difference {image_distance.p999_levels} levels of 255 in image {number}"
            f" (at most {allowed.p999_levels:.3g})",
        ),
        Member(
            noise, f"PSNR {decibels(image_distance.psnr_db)} of image {number} (at least {allowed.psnr_db:.4g} dB)"
        ),
        Member(
            over(1 - image_distance.ssim, 1 - allowed.ssim),
            f"SSIM {image_distance.ssim:.4f} of image {number} (at least {allowed.ssim:.3g})",
        ),
        Member(
            over(image_distance.colour_levels, allowed.colour_levels),
            f"colour {image_distance.colour_levels:.2f} levels of 255 off in image {number}"
            f" (at most {allowed.colour_levels:.3g})",
        ),
        Member(
            over(image_distance.hash_bits, allowed.hash_bits),
            f"perceptual hash {image_distance.hash_bits} of 64 bits off in image {number}"
            f" (at most {allowed.hash_bits})",
        ),
        *(_extra_member(number, extra, dict(allowed.extras)[extra.name]) for extra in image_distance.extras),
    ]


def _extra_member(number: int, extra: Extra, limit: float) -> Member:
    kind, tile = KINDS[extra.name], extra.tile
    whose, where = ("", "") if tile is None else ("worst tile's ", f", {tile_text(tile)}")
    # no limit lets pass what is no number, not even an infinite one
    excess = over(kind.error(extra.value), kind.error(limit)) if math.isfinite(extra.value) else math.inf
    return Member(
        excess,
        f"{whose}{kind.words} {kind.text(extra.value)} of image {number}{where}"
        f" (at {'least' if kind.least else 'most'} {limit:.4g})",
        placed=tile is not None,
    )


def over(error: float, allowed: float) -> float:
    """An error in units of what is allowed; infinite where nothing is."""
    # rounding may leave the error of equal images a little under 0
    if error <= 0:
        return 0.0
    return error / allowed if allowed > 0 else math.inf


def tile_text(tile: Tile | TileLevels | ExtraTile) -> str:
    """Size and place of a tile, in words."""
    return f"{tile.width_px} x {tile.height_px} px at ({tile.left_px}, {tile.top_px})"


def decibels(value_db: float | None) -> str:
    """A PSNR, in words."""
    return "not measured" if value_db is None else "infinite" if math.isinf(value_db) else f"{value_db:.1f} dB"


def figures(image_distance: ImageDistance) -> dict[str, Any]:
    """The vector of one image, as plain JSON: an infinite PSNR is null, and so is what is no number."""
    plain = dataclasses.asdict(image_distance)
    plain["psnr_db"] = None if math.isinf(image_distance.psnr_db) else image_distance.psnr_db
    del plain["extras"]
    for extra in image_distance.extras:
        plain[extra.name] = {
            "value": extra.value if math.isfinite(extra.value) else None,
            "tile": None if extra.tile is None else dataclasses.asdict(extra.tile),
        }
    return plain
