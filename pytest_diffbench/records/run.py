"""Times: rounds, and the run that they make."""

from __future__ import annotations

import statistics
from typing import Literal

from pytest_diffbench.records.base import STAGES, Count, PositiveSeconds, Record, Seconds, Stage
from pytest_diffbench.records.case import Environment
from pytest_diffbench.records.telemetry import Telemetry, Warmup


class Round(Record, frozen=True, kw_only=True):
    """One timed call, synchronised at its outer boundaries.

    `stages_s` holds the stages that were seen, and `unattributed`; they add up to `total_s`. A target whose
    components can't be seen has no stages at all.
    """

    total_s: PositiveSeconds
    stages_s: dict[Stage, Seconds] = {}
    steps_s: tuple[Seconds, ...] = ()
    """One figure a scheduler step, from the end of the step before to its own end."""

    output_digest: str | None = None
    """Digest of the images' pixels: equal digests, equal bits."""

    telemetry: Telemetry | None = None


class Run(Record, frozen=True, kw_only=True):
    """The rounds of one case in one process: the unit of statistical evidence."""

    id: str
    started: str
    """UTC, ISO 8601."""

    warmup_s: tuple[PositiveSeconds, ...] = ()
    warmup: Warmup | None = None
    rounds: tuple[Round, ...]
    calibration_s: tuple[PositiveSeconds, ...] = ()
    """The one fixed piece of work that runs were measured beside before `pace_s`. Not comparable with it."""

    pace_s: dict[str, tuple[PositiveSeconds, ...]] = {}
    """Times of fixed pieces of work by their name, without the time that they waited for a processor: they tell a
    slow machine from slow code. On a processor one reading before each round; on other devices two, before the first
    round and after the last."""

    environment: Environment

    @property
    def totals_s(self) -> tuple[float, ...]:
        """Wall time of each round."""
        return tuple(round_.total_s for round_ in self.rounds)

    @property
    def median_s(self) -> float:
        """Median wall time of the rounds. Raises StatisticsError on a run without rounds."""
        return statistics.median(self.totals_s)

    @property
    def stage_medians_s(self) -> dict[Stage, float]:
        """Median time of each stage that was seen in every round, in the order of `STAGES`."""
        return {
            stage: statistics.median(round_.stages_s[stage] for round_ in self.rounds)
            for stage in STAGES
            if self.rounds and all(stage in round_.stages_s for round_ in self.rounds)
        }

    @property
    def step_medians_s(self) -> tuple[float, ...]:
        """Median time of each step over the rounds; empty where rounds differ in their number of steps."""
        if not self.rounds or len({len(round_.steps_s) for round_ in self.rounds}) != 1:
            return ()
        return tuple(
            statistics.median(times) for times in zip(*(round_.steps_s for round_ in self.rounds), strict=True)
        )


class Efficiency(Record, frozen=True, kw_only=True):
    """How well a run used its device, worked out from the other figures; shown, and never judged.

    Attributes:
        flops_per_s: counted FLOPs of a stage's components over the stage's median time.
        peak_rel: the same over `peak_flops_per_s`; empty where that isn't known.
        peak_flops_per_s: of the case's dtype.
        peak: where it comes from: published by the maker, or measured by a matrix product.
        images_per_s: images of a call over its median time.
        energy_per_image_j: median energy of a round over its images; None where the device doesn't tell.
    """

    flops_per_s: dict[Stage, float] = {}
    peak_rel: dict[Stage, float] = {}
    peak_flops_per_s: float | None = None
    peak: Literal["published", "measured"] | None = None
    images_per_s: float | None = None
    energy_per_image_j: float | None = None


class LayerTimes(Record, frozen=True, kw_only=True):
    """Time inside the denoiser by kind of layer, from a pass of its own (each layer is bracketed there).

    Only the shares carry over to other passes: bracketing hundreds of layers costs time itself.
    """

    attention_s: Seconds
    other_s: Seconds
    attention_layers: Count
    """Attention modules found in the denoiser; 0 means none was recognised, and `attention_s` is then 0 too."""

    @property
    def attention_rel(self) -> float | None:
        """Attention's share of the denoiser's time, None when nothing was timed."""
        total_s = self.attention_s + self.other_s
        return self.attention_s / total_s if self.attention_layers and total_s > 0 else None
