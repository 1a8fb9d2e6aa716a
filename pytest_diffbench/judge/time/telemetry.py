"""What the machine's own readings say about a change in time: clocks, processor time, throttling, other processes."""

from __future__ import annotations

import collections
import math
import statistics
from typing import TYPE_CHECKING

from pytest_diffbench.judge.text import percent, plural
from pytest_diffbench.judge.time.figures import TOTAL, label, times_of
from pytest_diffbench.judge.time.runs import crowded_rel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.judge.time.rule import Figure
    from pytest_diffbench.records import Run, Telemetry


def clocks_explain(now: Sequence[Run], past: Sequence[Run], leading: Figure, slower: Sequence[Figure]) -> str | None:
    """Tell that a slowdown vanishes in clock cycles of the device.

    Args:
        now: runs of this session, or of one side of pairs.
        past: those that they are held against.
        leading: of what is slower, the figure that is told.
        slower: all of it.

    Returns:
        The clocks in words; None where they weren't read in every run, where a figure grew in cycles by more than its
        floor, or where the leading one shrank by more than that and the device doesn't say that it was throttled:
        code that waits for memory follows the clock in part, but so does a misread clock.
    """
    mine, theirs = _clocks_mhz(now), _clocks_mhz(past)
    if mine is None or theirs is None:
        return None
    after, before = statistics.median(mine), statistics.median(theirs)
    if after >= before:
        return None
    ours_s, before_s = times_of(now), times_of(past)
    cycles_log = {
        one.name: _mean_log([time_s * mhz for time_s, mhz in zip(ours_s[one.name], mine, strict=True)])
        - _mean_log([time_s * mhz for time_s, mhz in zip(before_s[one.name], theirs, strict=True)])
        for one in slower
    }
    if any(cycles_log[one.name] > one.floor_log for one in slower):
        return None
    if cycles_log[leading.name] < -leading.floor_log and not _mostly_throttled(now):
        return None
    what = "the call" if leading.name == TOTAL else label(leading.name, len(now[0].step_medians_s))
    return (
        f"the device's clock fell from {before:,.0f} to {after:,.0f} MHz, and in clock cycles {what} changed by"
        f" {percent(math.expm1(cycles_log[leading.name]))}"
    )


def _mostly_throttled(runs: Sequence[Run]) -> bool:
    seen = [one.telemetry for run in runs for one in run.rounds if one.telemetry is not None]
    return 2 * sum(bool(one.throttled_by) for one in seen) > len(seen)


def waited(now: Sequence[Run], past: Sequence[Run], floor_log: float) -> bool | None:
    """Whether wall time grew alone on a CPU: this process used hardly more processor time.

    Both are those of the whole call. Where that grew by less than the floor, as it may where a stage of it is slower,
    it can't be told, and is False.

    Returns:
        None where the processor didn't do the work: a process that waits for a device may spin or sleep meanwhile,
        whatever keeps the device busy. None too where its time wasn't read.
    """
    mine, theirs = _cpu_s(now), _cpu_s(past)
    if mine is None or theirs is None or any(run.environment.family != "cpu" for run in (*now, *past)):
        return None
    wall_log, cpu_log = (
        _mean_log(after) - _mean_log(before)
        for after, before in (([run.median_s for run in now], [run.median_s for run in past]), (mine, theirs))
    )
    return wall_log > floor_log and cpu_log <= min(floor_log, wall_log / 2)


WAITED = " Wall time grew, processor time didn't: the call waited, or less of it ran at once."
"""Said at the end of a message, where it is so."""


def remarks(runs: Sequence[Run]) -> list[str]:
    """Say which rounds of this session were throttled, and who else was on the device. No round is thrown away."""
    seen = [one.telemetry for run in runs for one in run.rounds if one.telemetry is not None]
    reasons = collections.Counter(reason for one in seen for reason in one.throttled_by)
    throttled = sum(bool(one.throttled_by) for one in seen)
    lines = []
    if throttled:
        named = ", ".join(sorted(reasons))
        lines.append(f"{throttled} of {plural(len(seen), 'round')} throttled: {named}")
    most = max((one.other_processes or 0 for one in seen), default=0)
    if most:
        lines.append(f"{plural(most, 'other process')} on the device")
    for name, read in (("other processes", _others), ("the hypervisor's other guests", _steal)):
        shares = [share for one in seen if (share := read(one)) is not None]
        if shares and statistics.median(shares) >= _BUSY_REL:
            lines.append(f"{name} had {100 * statistics.median(shares):.0f} % of the processors")
    return lines


def slowed_down(run: Run, limits: Limits) -> str | None:
    """Why a run is no baseline: heat or the power supply held the device's clocks down in most of its rounds.

    Or other processes had the processors.

    A power cap (`sw_power_cap`) isn't asked about: it is how many busy cards always run.
    """
    rounds = [
        reasons
        for one in run.rounds
        if one.telemetry is not None and (reasons := _SLOWDOWNS.intersection(one.telemetry.throttled_by))
    ]
    if crowded := crowded_rel(run, limits):
        return (
            f"The machine was busy: each thread waited {100 * crowded:.0f} % of the time for a processor, "
            f"{100 * limits.machine_crowded_rel:g} % allowed."
        )
    if 2 * len(rounds) <= len(run.rounds):
        return None
    named = ", ".join(sorted({reason for reasons in rounds for reason in reasons}))
    return (
        f"The device's clocks were held down in {len(rounds)} of {plural(len(run.rounds), 'round')} ({named}):"
        " cool it, or look at its power supply."
    )


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
    found = []
    for run in runs:
        values = [
            value for one in run.rounds if one.telemetry is not None and (value := read(one.telemetry)) is not None
        ]
        if not values or not all(math.isfinite(value) and value > 0 for value in values):
            return None
        found.append(statistics.median(values))
    return found or None


def _clocks_mhz(runs: Sequence[Run]) -> list[float] | None:
    return _medians(runs, lambda one: one.sm_clock_mhz)


def _cpu_s(runs: Sequence[Run]) -> list[float] | None:
    return _medians(runs, lambda one: one.cpu_s)


def _mean_log(values: Sequence[float]) -> float:
    return math.fsum(map(math.log, values)) / len(values)
