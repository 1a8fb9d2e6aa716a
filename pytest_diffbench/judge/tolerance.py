"""How far a picture may be from its baseline, given how near the machine is and how much the case itself drifts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.records import Distance, RerunNoise


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """Limits of one comparison of images.

    Attributes:
        distance: how near the baseline's machine is.
        psnr_db: least PSNR.
        ssim: least mean SSIM.
        tile_ssim: least SSIM of a tile.
        colour_levels: largest shift of a channel's mean.
        latents_rel: largest relative L2 distance of latents, judged where the result is latents.
        rerun_db: PSNR between identical calls of the case, None when they agree or weren't repeated.
        hopeless: identical calls drift so far that a difference says nothing.
    """

    distance: Distance
    psnr_db: float
    ssim: float
    tile_ssim: float
    colour_levels: float
    latents_rel: float
    rerun_db: float | None = None
    hopeless: bool = False

    def text(self) -> str:
        """The limits of images, in words."""
        noise = "" if self.rerun_db is None else f" (identical calls: {self.rerun_db:.1f} dB)"
        return (
            f"PSNR {self.psnr_db:.4g} dB{noise}, SSIM {self.ssim:.3g}, tile {self.tile_ssim:.3g},"
            f" colour {self.colour_levels:g} levels"
        )

    def figures(self) -> dict[str, float]:
        """The limits, as plain JSON."""
        names = ("psnr_db", "ssim", "tile_ssim", "colour_levels", "latents_rel")
        return {name: getattr(self, name) for name in names}

    def broken(self, limits: Limits) -> Tolerance:
        """Limits beyond which no other machine is an excuse: judged by PSNR and mean SSIM, or by the latents."""
        return Tolerance(
            distance=self.distance,
            psnr_db=min(self.psnr_db, limits.psnr_broken_db),
            ssim=min(self.ssim, limits.ssim_broken),
            tile_ssim=-1.0,
            colour_levels=255.0,
            latents_rel=max(self.latents_rel, limits.latents_broken_rel),
        )


def tolerance(distance: Distance, now: RerunNoise, base: RerunNoise, limits: Limits) -> Tolerance:
    """Pick the tier by distance, and loosen it down to the case's own rerun noise, with a margin.

    The baseline's noise counts; this run's only where the baseline's rounds were not repeated. Otherwise code that
    became random would excuse itself.
    """
    noise = base if base.rounds > 1 else now
    near = distance == "machine"
    chosen = Tolerance(
        distance=distance,
        psnr_db=limits.psnr_machine_db if near else limits.psnr_drift_db,
        ssim=limits.ssim_machine if near else limits.ssim_drift,
        tile_ssim=limits.tile_ssim_machine if near else limits.tile_ssim_drift,
        colour_levels=limits.colour_machine_levels if near else limits.colour_drift_levels,
        latents_rel=limits.latents_machine_rel if near else limits.latents_drift_rel,
    )
    if noise.identical:
        return chosen
    if noise.latents_rel is not None:
        drift_rel = noise.latents_rel * 10 ** (limits.rerun_margin_db / 20)
        chosen = dataclasses.replace(chosen, latents_rel=max(chosen.latents_rel, drift_rel))
    if noise.psnr_db is None:
        return chosen
    least_db = min(chosen.psnr_db, noise.psnr_db - limits.rerun_margin_db)
    chosen = dataclasses.replace(chosen, rerun_db=noise.psnr_db)
    if least_db == chosen.psnr_db:
        return chosen
    # only PSNR is recorded of the noise: structure is not asked to survive more of it than flat areas can
    flat = flat_ssim(max(least_db, limits.psnr_broken_db))
    return dataclasses.replace(
        chosen,
        psnr_db=max(least_db, limits.psnr_broken_db),
        ssim=min(chosen.ssim, limits.ssim_drift, flat),
        tile_ssim=min(chosen.tile_ssim, limits.tile_ssim_drift, flat),
        colour_levels=max(chosen.colour_levels, limits.colour_drift_levels),
        hopeless=least_db < limits.psnr_broken_db,
    )


def flat_ssim(psnr_db: float) -> float:
    """SSIM of a flat picture under even noise of that PSNR: `C2 / (C2 + mean square)`, with C2 as in `images`."""
    steady = (0.03 * 255) ** 2
    return steady / (steady + 255**2 * 10 ** (-psnr_db / 10))
