"""How far a picture may be from its baseline, given how near the machine is and how much the case itself drifts."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from pytest_diffbench.outputs.image_extras import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.outputs.image_extras import ExtraName
    from pytest_diffbench.records import Distance, RerunNoise


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """Limits of one comparison of images.

    Attributes:
        distance: how near the baseline's machine is.
        psnr_db: least PSNR.
        p999_levels: largest 99.9th percentile of the absolute difference.
        ssim: least mean SSIM.
        tile_ssim: least SSIM of a tile.
        tile_p99_levels: largest 99th percentile of the absolute difference in a tile.
        colour_levels: largest RMS difference of a channel after reduction.
        seam_levels: largest jump along a line.
        hash_bits: most bits in which the perceptual hashes differ.
        latents_rel: largest relative L2 distance of the final latents: of a result, and across machines.
        rerun_db: PSNR between identical calls of the case, None when they agree or weren't repeated.
        hopeless: identical calls drift so far that a difference says nothing.
        extras: name and limit of each metric of another package that was asked for: a least score of SSIMULACRA2, a
            largest value of the others.
    """

    distance: Distance
    psnr_db: float
    p999_levels: float
    ssim: float
    tile_ssim: float
    tile_p99_levels: float
    colour_levels: float
    seam_levels: float
    hash_bits: int
    latents_rel: float
    rerun_db: float | None = None
    hopeless: bool = False
    extras: tuple[tuple[ExtraName, float], ...] = ()

    def text(self) -> str:
        """The limits, in words."""
        noise = "" if self.rerun_db is None else f" (identical calls: {self.rerun_db:.1f} dB)"
        extras = "".join(f", {KINDS[name].words} {limit:.4g}" for name, limit in self.extras)
        return (
            f"PSNR {self.psnr_db:.4g} dB{noise}, p99.9 {self.p999_levels:.3g} levels, SSIM {self.ssim:.3g},"
            f" tile's SSIM {self.tile_ssim:.3g}, tile's p99 {self.tile_p99_levels:.3g} levels,"
            f" colour {self.colour_levels:.3g} levels, seam {self.seam_levels:.3g} levels,"
            f" hash {self.hash_bits} bits, latents {100 * self.latents_rel:.3g} %{extras}"
        )

    def figures(self) -> dict[str, float]:
        """The limits, as plain JSON."""
        others = ("distance", "rerun_db", "hopeless", "extras")
        plain = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in others
        }
        return plain | dict(self.extras)

    def broken(self, limits: Limits) -> Tolerance:
        """Limits beyond which no other machine is an excuse: judged by PSNR and mean SSIM, or by the latents."""
        return Tolerance(
            distance=self.distance,
            psnr_db=min(self.psnr_db, limits.psnr_broken_db),
            p999_levels=255.0,
            ssim=min(self.ssim, limits.ssim_broken),
            tile_ssim=-1.0,
            tile_p99_levels=255.0,
            colour_levels=255.0,
            seam_levels=255.0,
            hash_bits=64,
            latents_rel=max(self.latents_rel, limits.latents_broken_rel),
            extras=tuple((name, KINDS[name].any_value) for name, _ in self.extras),
        )


def tolerance(
    distance: Distance, now: RerunNoise, base: RerunNoise, limits: Limits, extras: Sequence[ExtraName] = ()
) -> Tolerance:
    """Pick the tier by distance, and loosen it down to the case's own rerun noise, with a margin.

    The baseline's noise counts; this run's only where the baseline's rounds were not repeated. Otherwise code that
    became random would excuse itself.
    """
    noise = base if base.rounds > 1 else now
    near = distance == "machine"
    chosen = Tolerance(
        distance=distance,
        psnr_db=limits.psnr_machine_db if near else limits.psnr_drift_db,
        p999_levels=limits.p999_machine_levels if near else limits.p999_drift_levels,
        ssim=limits.ssim_machine if near else limits.ssim_drift,
        tile_ssim=limits.tile_ssim_machine if near else limits.tile_ssim_drift,
        tile_p99_levels=limits.tile_p99_machine_levels if near else limits.tile_p99_drift_levels,
        colour_levels=limits.colour_machine_levels if near else limits.colour_drift_levels,
        seam_levels=limits.seam_machine_levels if near else limits.seam_drift_levels,
        hash_bits=limits.hash_machine_bits if near else limits.hash_drift_bits,
        latents_rel=limits.latents_machine_rel if near else limits.latents_drift_rel,
        extras=tuple((name, getattr(limits, f"{name}_{'machine' if near else 'drift'}")) for name in extras),
    )
    if noise.identical:
        return chosen
    if noise.latents_rel is not None:
        drift_rel = noise.latents_rel * 10 ** (limits.rerun_margin_db / 20)
        chosen = dataclasses.replace(chosen, latents_rel=max(chosen.latents_rel, drift_rel))
    if noise.psnr_db is None:
        return chosen
    noise_db = noise.psnr_db - limits.rerun_margin_db
    least_db = min(chosen.psnr_db, noise_db)
    chosen = dataclasses.replace(_with_noise(chosen, 255 * 10 ** (-noise_db / 20), limits), rerun_db=noise.psnr_db)
    if least_db == chosen.psnr_db:
        return chosen
    # only PSNR is recorded of the noise: structure is not asked to survive more of it than flat areas can
    flat = flat_ssim(max(least_db, limits.psnr_broken_db))
    return dataclasses.replace(
        chosen,
        psnr_db=max(least_db, limits.psnr_broken_db),
        ssim=min(chosen.ssim, limits.ssim_drift, flat),
        tile_ssim=min(chosen.tile_ssim, limits.tile_ssim_drift, flat),
        seam_levels=max(chosen.seam_levels, limits.seam_drift_levels),
        hash_bits=max(chosen.hash_bits, limits.hash_drift_bits),
        extras=tuple((name, _looser(name, limit, getattr(limits, f"{name}_drift"))) for name, limit in chosen.extras),
        hopeless=least_db < limits.psnr_broken_db,
    )


def _with_noise(chosen: Tolerance, rms_levels: float, limits: Limits) -> Tolerance:
    """Loosen what noise of that size may reach where it is all on the edges, up to the limits of another machine.

    Percentiles and reduced colours see such noise long before PSNR does. Colours need no factor of their own: the
    RMS of a channel's means is at most that of the channel, and this at most sqrt(3) times that of all three.
    """
    tail_levels = limits.rerun_tail * rms_levels
    return dataclasses.replace(
        chosen,
        p999_levels=max(chosen.p999_levels, min(tail_levels, limits.p999_drift_levels)),
        tile_p99_levels=max(chosen.tile_p99_levels, min(tail_levels, limits.tile_p99_drift_levels)),
        colour_levels=max(chosen.colour_levels, min(math.sqrt(3) * rms_levels, limits.colour_drift_levels)),
    )


def _looser(name: ExtraName, left: float, right: float) -> float:
    return max((left, right), key=KINDS[name].error)


def flat_ssim(psnr_db: float) -> float:
    """SSIM of a flat picture under even noise of that PSNR: `C2 / (C2 + mean square)`, with C2 as in `images`."""
    steady = (0.03 * 255) ** 2
    return steady / (steady + 255**2 * 10 ** (-psnr_db / 10))
