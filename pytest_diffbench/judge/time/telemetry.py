"""What the machine's own readings say about a change in time: clocks, processor time, throttling, other processes."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from pytest_diffbench.judge.time.figures import label, times_of
from pytest_diffbench.judge.time.runs import crowded_rel
from pytest_diffbench.records.details import Clocks, Doubt, MachineReadings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.judge.time.rule import Figure
    from pytest_diffbench.records import Run, Telemetry


def clocks_explain(
    now: Sequence[Run], past: Sequence[Run], leading: Figure, slower: Sequence[Figure]
) -> Clocks | None:
    """Tell that a slowdown vanishes in clock cycles of the device.

    Args:
        now: runs of this session, or of one side of pairs.
        past: those that they are held against.
        leading: of what is slower, the figure that names the verdict.
        slower: all of it.

    Returns:
        None where the clocks weren't read in every run, where a figure grew in cycles by more than its floor, or
        where the leading one shrank by more than that and the device doesn't say that it was throttled: code that
        waits for memory follows the clock in part, but so does a misread clock.
    """
    now_mhz, past_mhz = _clocks_mhz(now), _clocks_mhz(past)
    if now_mhz is None or past_mhz is None:
        return None
    after, before = statistics.median(now_mhz), statistics.median(past_mhz)
    if after >= before:
        return None
    now_s, past_s = times_of(now), times_of(past)
    cycles_log = {
        figure.name: _mean_log([time_s * mhz for time_s, mhz in zip(now_s[figure.name], now_mhz, strict=True)])
        - _mean_log([time_s * mhz for time_s, mhz in zip(past_s[figure.name], past_mhz, strict=True)])
        for figure in slower
    }
    if any(cycles_log[figure.name] > figure.floor_log for figure in slower):
        return None
    if cycles_log[leading.name] < -leading.floor_log and not _mostly_throttled(now):
        return None
    return Clocks(
        before_mhz=before,
        after_mhz=after,
        name=label(leading.name, len(now[0].step_medians_s)),
        cycles_rel=math.expm1(cycles_log[leading.name]),
    )


def _mostly_throttled(runs: Sequence[Run]) -> bool:
    """Whether the driver counted, in most rounds, that clocks were held down. Readings at rest excuse nothing."""
    telemetry = [timed.telemetry for run in runs for timed in run.rounds if timed.telemetry is not None]
    counted = [reading for reading in telemetry if reading.held_down_s is not None and reading.throttled_by]
    return 2 * len(counted) > len(telemetry)


def waited(now: Sequence[Run], past: Sequence[Run], floor_log: float) -> bool | None:
    """Whether wall time grew alone on a CPU: this process used hardly more processor time.

    Both are those of the whole call. Where that grew by less than the floor, as it may where a stage of it is slower,
    it can't be told, and is False.

    Returns:
        None where the processor didn't do the work: a process that waits for a device may spin or sleep meanwhile,
        whatever keeps the device busy. None too where its time wasn't read.
    """
    now_cpu_s, past_cpu_s = _cpu_s(now), _cpu_s(past)
    if now_cpu_s is None or past_cpu_s is None or any(run.environment.family != "cpu" for run in (*now, *past)):
        return None
    wall_log, cpu_log = (
        _mean_log(after) - _mean_log(before)
        for after, before in (
            ([run.median_s for run in now], [run.median_s for run in past]),
            (now_cpu_s, past_cpu_s),
        )
    )
    return wall_log > floor_log and cpu_log <= min(floor_log, wall_log / 2)


def readings(runs: Sequence[Run]) -> MachineReadings:
    """Which rounds of this session were throttled, and who else was on the device. No round is thrown away."""
    telemetry = [timed.telemetry for run in runs for timed in run.rounds if timed.telemetry is not None]
    shares = {}
    for name, read in (("others_rel", _others), ("steal_rel", _steal)):
        values = [share for reading in telemetry if (share := read(reading)) is not None]
        if values and statistics.median(values) >= _BUSY_REL:
            shares[name] = statistics.median(values)
    return MachineReadings(
        rounds=len(telemetry),
        throttled_rounds=sum(bool(reading.throttled_by) for reading in telemetry),
        throttled_by=tuple(sorted({reason for reading in telemetry for reason in reading.throttled_by})),
        other_processes=max((reading.other_processes or 0 for reading in telemetry), default=0),
        **shares,
    )


def slowed_down(run: Run, limits: Limits) -> Doubt | None:
    """Why a run is no baseline: heat or the power supply held the device's clocks down in most of its rounds.

    Or other processes had the processors.

    A power cap (`sw_power_cap`) isn't asked about: it is how many busy cards always run.
    """
    if crowded := crowded_rel(run, limits):
        return Doubt(kind="crowded", found_rel=crowded, allowed_rel=limits.machine_crowded_rel)
    rounds = [
        reasons
        for timed in run.rounds
        if timed.telemetry is not None and (reasons := _SLOWDOWNS.intersection(timed.telemetry.throttled_by))
    ]
    if 2 * len(rounds) <= len(run.rounds):
        return None
    names = tuple(sorted({reason for reasons in rounds for reason in reasons}))
    return Doubt(kind="throttled", rounds=(len(rounds), len(run.rounds)), names=names)


_SLOWDOWNS = frozenset({"hw_slowdown", "hw_thermal_slowdown", "sw_thermal_slowdown", "hw_power_brake_slowdown"})
"""NVML's reasons that say that something is wrong. The first stands for any that the hardware gives."""

_BUSY_REL = 0.05
"""Less than this of the processors in other hands is any machine's background."""


def _others(telemetry: Telemetry) -> float | None:
    return telemetry.others_rel


def _steal(telemetry: Telemetry) -> float | None:
    return telemetry.steal_rel


def _medians(runs: Sequence[Run], read: Callable[[Telemetry], float | None]) -> list[float] | None:
    """Median reading of each run; None where a run has none, or one that isn't above 0."""
    medians = []
    for run in runs:
        values = [
            value
            for timed in run.rounds
            if timed.telemetry is not None and (value := read(timed.telemetry)) is not None
        ]
        if not values or not all(math.isfinite(value) and value > 0 for value in values):
            return None
        medians.append(statistics.median(values))
    return medians or None


def _clocks_mhz(runs: Sequence[Run]) -> list[float] | None:
    return _medians(runs, lambda reading: reading.sm_clock_mhz)


def _cpu_s(runs: Sequence[Run]) -> list[float] | None:
    return _medians(runs, lambda reading: reading.cpu_s)


def _mean_log(values: Sequence[float]) -> float:
    return math.fsum(map(math.log, values)) / len(values)
