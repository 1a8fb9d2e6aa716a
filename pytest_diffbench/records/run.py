"""Times: rounds, the run that they make, how the machine did meanwhile, and where the time went."""

from __future__ import annotations

import statistics
from typing import Literal

from pytest_diffbench.records.base import (
    STAGES,
    Celsius,
    Count,
    NotNegative,
    PositiveCount,
    PositiveSeconds,
    Record,
    Seconds,
    Share,
    Stage,
)
from pytest_diffbench.records.case import Environment

CLOCK_SETTINGS = frozenset({"applications_clocks_setting", "display_clock_setting"})
"""Of NVML's reasons for a clock below the highest: what somebody set, which is no throttling."""


class Telemetry(Record, frozen=True, kw_only=True):
    """How the machine did around one timed round, read just before and just after it, never within.

    Of readings, the one that is worse for the round is kept; of counters, the difference. What couldn't be read is
    None.

    Attributes:
        cpu_s: processor time of this process during the round, over all of its threads.
        children_cpu_s: processor time of its child processes, which its own doesn't hold; None where it isn't told.
        waited_s: time that threads of this process were ready to run and had no processor, added up over them.
        steal_rel: share of the machine's processor time that the hypervisor gave to others.
        others_rel: share of the machine's processor time that other processes had.
        cpu_mhz: clock of the processor.
        sm_clock_mhz: clock of the device's multiprocessors, the median of the driver's samples during the round;
            None where it takes none. `memory_clock_mhz` of its memory, read around the round.
        throttle_reasons: why the device's clocks weren't the highest, in NVML's words: `sw_power_cap`,
            `hw_thermal_slowdown`, and settings such as `applications_clocks_setting` too; see `throttled_by`.
        held_down_s: for how long during the round each reason held the clocks down, as the driver counts it; None
            where it doesn't.
        temperature_c: of the device.
        power_w: drawn by the device.
        energy_j: used by the device during the round.
        other_processes: processes on the device besides this one.
    """

    cpu_s: NotNegative | None = None
    children_cpu_s: NotNegative | None = None
    waited_s: NotNegative | None = None
    steal_rel: Share | None = None
    others_rel: Share | None = None
    cpu_mhz: NotNegative | None = None
    sm_clock_mhz: NotNegative | None = None
    memory_clock_mhz: NotNegative | None = None
    throttle_reasons: tuple[str, ...] = ()
    held_down_s: dict[str, Seconds] | None = None
    temperature_c: Celsius | None = None
    power_w: NotNegative | None = None
    energy_j: NotNegative | None = None
    other_processes: Count | None = None

    @property
    def throttled_by(self) -> tuple[str, ...]:
        """Why the device held its clocks down by itself: the reasons without what somebody set."""
        return tuple(
            throttle_reason for throttle_reason in self.throttle_reasons if throttle_reason not in CLOCK_SETTINGS
        )


class Warmup(Record, frozen=True, kw_only=True):
    """Whether the rounds became steady before they were timed.

    Attributes:
        rounds: calls made to get there.
        steady: False where the bound was reached first.
        doubt: why not steady, in words: `drift of +12 %`, `two modes, 21 % apart`; None where steady.
        compile_s: time that torch spent compiling or tuning kernels since the first call; None where it did neither.
    """

    rounds: Count
    steady: bool
    doubt: str | None = None
    compile_s: Seconds | None = None


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

    took_s: PositiveSeconds | None = None
    """What measuring the case took in all, its warm-ups and passes included: its share of the time of its test."""

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


class Operator(Record, frozen=True, kw_only=True):
    """One operator or kernel within one stage.

    Attributes:
        name: as the profiler names it, `aten::addmm` or a kernel's name without its template arguments.
        stage: that it ran in.
        calls: how often.
        self_s: its time without that of the operators it calls, summed over its calls.
        launched_by: of a kernel, the innermost operator on the processor that launched it; None for an operator, and
            where the profiler doesn't tell.
    """

    name: str
    stage: Stage
    calls: PositiveCount
    self_s: Seconds
    launched_by: str | None = None

    @property
    def label(self) -> str:
        """The name, of a kernel with what launched it: cuBLAS names no layer."""
        return self.name if self.launched_by is None else f"{self.name} of {self.launched_by}"


class Profile(Record, frozen=True, kw_only=True):
    """The operators of one profiled round, on the processor of the quieter of two, the most expensive first.

    Attributes:
        kind: `cpu` for operators on the processor, `device` for kernels.
        total_s: their time in all; what a bound on the number of rows leaves out is in it.
        operators: the rows.
    """

    kind: Literal["cpu", "device"]
    total_s: Seconds
    operators: tuple[Operator, ...]
