"""How far a result may be from its baseline, by machine and the case's own drift; and metrics held against that."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from pytest_diffbench.judge.limits import metric_named
from pytest_diffbench.outputs.kinds import PART_METRICS
from pytest_diffbench.outputs.metrics import METRICS, over
from pytest_diffbench.records.details import ImageLine, ImageTile, MetricFigure, MetricLimit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.outputs.metrics import ImageMetric, Line, Measurement, Tile
    from pytest_diffbench.outputs.metrics.metric import Metric
    from pytest_diffbench.records import Distance, RerunNoise

    ImageDistance = Mapping[str, Measurement]
    """Every metric of an image, by name."""


PSNR = METRICS["psnr_db"]
_PSNR_BROKEN_DB = PSNR.broken or 0.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """Limits of one comparison.

    Attributes:
        distance: how near the baseline's machine is.
        images: limit of each metric of images, by name.
        latents_rel: largest relative L2 distance of the final latents: of a result, and across machines.
        parts: limit of each metric of the other kinds of output, by name.
        noisy_parts: the same of parts in which identical calls differ, by the part's number and the metric.
        rerun_db: PSNR between identical calls of the case, None when they agree or weren't repeated.
        hopeless: identical calls drift so far that a difference says nothing.
    """

    distance: Distance
    images: dict[str, float]
    latents_rel: float
    rerun_db: float | None = None
    hopeless: bool = False
    parts: dict[str, float] = dataclasses.field(default_factory=dict)
    noisy_parts: dict[tuple[int, str], float] = dataclasses.field(default_factory=dict)

    def part_limit(self, part: int, metric: str) -> float:
        """The limit of a metric of a part."""
        return self.noisy_parts.get((part, metric), self.parts[metric])

    def figures(self) -> dict[str, float]:
        """The limits by name."""
        return {**self.images, "latents_rel": self.latents_rel}

    def broken(self, limits: Limits) -> Tolerance:
        """Limits beyond which no other machine is an excuse: judged by PSNR and mean SSIM, or by the latents."""
        return dataclasses.replace(
            self,
            images={name: _broken(METRICS[name], limit) for name, limit in self.images.items()},
            parts={name: _broken(PART_METRICS[name], limit) for name, limit in self.parts.items()},
            noisy_parts={key: _broken(PART_METRICS[key[1]], limit) for key, limit in self.noisy_parts.items()},
            latents_rel=max(self.latents_rel, limits.latents_broken_rel),
        )


def tolerance(
    distance: Distance, now: RerunNoise, base: RerunNoise, limits: Limits, extras: Sequence[str] = ()
) -> Tolerance:
    """Pick the tier by distance, and loosen it down to the case's own rerun noise, with a margin.

    The baseline's noise counts; this run's only where the baseline's rounds were not repeated. Otherwise code that
    became random would excuse itself.

    Args:
        distance: how near the baseline's machine is.
        now: how this run's calls differ.
        base: how the baseline's did.
        limits: of the test.
        extras: names of metrics that were asked for besides those that are always computed.
    """
    noise = base if base.rounds > 1 else now
    near = distance == "machine"
    names = [name for name, metric in METRICS.items() if metric.package is None or name in extras]
    tiers = {name: limits.tiers(name) for name in names}
    part_tiers = {name: limits.tiers(name) for name in PART_METRICS}
    chosen = Tolerance(
        distance=distance,
        images={name: tier.machine if near else tier.drift for name, tier in tiers.items()},
        latents_rel=limits.latents_machine_rel if near else limits.latents_drift_rel,
        parts={name: tier.machine if near else tier.drift for name, tier in part_tiers.items()},
    )
    if noise.identical:
        return chosen
    if noise.latents_rel is not None:
        drift_rel = noise.latents_rel * 10 ** (limits.rerun_margin_db / 20)
        chosen = dataclasses.replace(chosen, latents_rel=max(chosen.latents_rel, drift_rel))
    chosen = _with_part_noise(chosen, noise, limits)
    if noise.psnr_db is None:
        return chosen
    noise_db = noise.psnr_db - limits.rerun_margin_db
    least_db = min(chosen.images["psnr_db"], noise_db)
    loosened = {
        name: _with_noise(METRICS[name], limit, tiers[name].drift, noise_db, limits)
        for name, limit in chosen.images.items()
    }
    if least_db < chosen.images["psnr_db"]:
        loosened = {
            name: _below_psnr(METRICS[name], limit, tiers[name].drift, least_db) for name, limit in loosened.items()
        }
    hopeless = chosen.hopeless or least_db < min(chosen.images["psnr_db"], _PSNR_BROKEN_DB)
    return dataclasses.replace(chosen, images=loosened, rerun_db=noise.psnr_db, hopeless=hopeless)


def _with_part_noise(chosen: Tolerance, noise: RerunNoise, limits: Limits) -> Tolerance:
    """Loosen each metric of a part to what identical calls reach, with the margin that two draws of noise take."""
    noisy, hopeless = {}, False
    for drift in noise.parts:
        if drift.metric not in PART_METRICS:
            continue  # of a kind that isn't registered any more
        metric = metric_named(drift.metric)
        error = metric.error(drift.value) if drift.value is not None else math.inf
        if not math.isfinite(error) or (metric.broken is not None and error > metric.error(metric.broken)):
            hopeless = True
            continue
        margin = 10 ** (limits.rerun_margin_db / 20)
        reached = metric.value_of(error * margin) if error > 0 else metric.best
        noisy[drift.part, drift.metric] = metric.looser(chosen.parts[drift.metric], reached)
    return dataclasses.replace(chosen, noisy_parts=noisy, hopeless=hopeless)


def _broken(metric: Metric, limit: float) -> float:
    return metric.any_value if metric.broken is None else metric.looser(limit, metric.broken)


def _with_noise(metric: ImageMetric, limit: float, drift: float, noise_db: float, limits: Limits) -> float:
    """Loosen what noise of that size may reach where it is all on the edges, up to the limits of another machine.

    Percentiles and reduced colours see such noise long before PSNR does. Colours need no factor of their own: the
    RMS of a channel's means is at most that of the channel, and this at most sqrt(3) times that of all three.
    """
    rms_levels = 255 * 10 ** (-noise_db / 20)
    if metric.rerun == "percentile":
        return max(limit, min(limits.rerun_tail * rms_levels, drift))
    if metric.rerun == "colour":
        return max(limit, min(math.sqrt(3) * rms_levels, drift))
    return limit


def _below_psnr(metric: ImageMetric, limit: float, drift: float, least_db: float) -> float:
    """Loosen where noise is beyond the limit of PSNR: only PSNR is recorded of the noise.

    Structure is not asked to survive more of it than flat areas can.
    """
    least_db = max(least_db, _PSNR_BROKEN_DB)
    if metric.rerun == "psnr":
        return least_db
    if metric.rerun == "structure":
        return min(limit, drift, flat_ssim(least_db))
    return metric.looser(limit, drift) if metric.rerun == "tier" else limit


def flat_ssim(psnr_db: float) -> float:
    """SSIM of a flat picture under even noise of that PSNR: `C2 / (C2 + mean square)`, with C2 as in `images`."""
    steady = (0.03 * 255) ** 2
    return steady / (steady + 255**2 * 10 ** (-psnr_db / 10))


@dataclasses.dataclass(frozen=True, slots=True)
class LimitCheck:
    """One metric of one image, against its limit.

    Attributes:
        excess: its error over the allowed error; above 1 it is beyond the limit, whatever the metric's unit.
        figure: metric, value, image, place where it has one, and limit.
    """

    excess: float
    figure: MetricLimit


def checks(distances: Sequence[ImageDistance], allowed: Tolerance) -> list[LimitCheck]:
    """Every metric of every image, each on its own: a mean over images would hide the one that broke."""
    return [
        _check(number, name, measurement, allowed.images[name])
        for number, distance in enumerate(distances)
        for name, measurement in distance.items()
    ]


def latents_check(distance_rel: float, allowed: Tolerance, tensor: int | None = None) -> LimitCheck:
    """The final latents, or a tensor that was returned."""
    value = distance_rel if math.isfinite(distance_rel) else None
    figure = MetricLimit(metric="latents_rel", value=value, limit=allowed.latents_rel, tensor=tensor)
    return LimitCheck(over(distance_rel, allowed.latents_rel), figure)


def worst_of(judged: Iterable[LimitCheck]) -> LimitCheck:
    """What is furthest beyond its limit; of those that are equally far, better one that has a place."""
    return max(judged, key=lambda check: (check.excess, _is_placed(check.figure)))


def _check(number: int, name: str, measurement: Measurement, limit: float) -> LimitCheck:
    figure = figure_of(measurement)
    excess = METRICS[name].excess(measurement.value, limit)
    return LimitCheck(
        excess,
        MetricLimit(metric=name, value=figure.value, limit=limit, image=number, tile=figure.tile, line=figure.line),
    )


def _is_placed(figure: MetricLimit) -> bool:
    return figure.tile is not None or figure.line is not None or figure.place is not None


def figures(distance: ImageDistance) -> dict[str, MetricFigure]:
    """The metrics of one image as a record has them."""
    return {name: figure_of(measurement) for name, measurement in distance.items()}


def figure_of(measurement: Measurement) -> MetricFigure:
    """A measurement as a record has it: what is infinite or no number is None."""
    return MetricFigure(
        value=float(measurement.value) if math.isfinite(measurement.value) else None,
        tile=tile_of(measurement.tile),
        line=line_of(measurement.line),
    )


def tile_of(tile: Tile | None) -> ImageTile | None:
    """A tile as a record has it."""
    return None if tile is None else ImageTile(**dataclasses.asdict(tile))


def line_of(line: Line | None) -> ImageLine | None:
    """A line as a record has it."""
    return None if line is None else ImageLine(**dataclasses.asdict(line))
