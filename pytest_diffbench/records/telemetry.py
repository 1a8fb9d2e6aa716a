"""How the machine did while a case was measured: load, clocks, throttling."""

from __future__ import annotations

from pytest_diffbench.records.base import Celsius, Count, NotNegative, Record, Seconds, Share

CLOCK_SETTINGS = frozenset({"applications_clocks_setting", "display_clock_setting"})
"""Of NVML's reasons for a clock below the highest: what somebody set, which is no throttling."""


class Telemetry(Record, frozen=True, kw_only=True):
    """How the machine did around one timed round, read just before and just after it, never within.

    Of readings, the one that is worse for the round is kept; of counters, the difference. What couldn't be read is
    None.

    Attributes:
        cpu_s: processor time of this process during the round, over all of its threads.
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
