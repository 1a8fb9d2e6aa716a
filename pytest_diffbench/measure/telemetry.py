"""How the machine does around a timed round: read just before it and just after it, never within."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pytest_diffbench.measure.nvml import Gpu
from pytest_diffbench.measure.waiting import Waiting, waited_s
from pytest_diffbench.records import Fact, Telemetry
from pytest_diffbench.records.run import CLOCK_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_diffbench.measure.nvml import GpuReading
    from pytest_diffbench.measure.waiting import Waits

_SLOW_READING_S = 0.0005
"""Where no reading of the processor's clock was faster than this, none is taken any more: some systems ask every core
for its own."""

_TRIALS = 3

_FEWEST_TICKS = 20
"""The kernel counts in hundredths of a second. Of fewer ticks, over all cores, a share would be a rounding."""

_HELD_DOWN_REL = 0.01

_BUSY = (0, 1, 2, 5, 6)
"""Columns of /proc/stat: user, nice, system, irq, softirq (proc(5)). User holds guests already."""

_STEAL = 7
_COLUMNS = 8


@dataclasses.dataclass(frozen=True, slots=True)
class HostReading:
    """The host at one moment; None is what this system doesn't tell.

    Attributes:
        process_s: processor time of this process so far.
        children_s: the same of its child processes, in hundredths of a second.
        ticks: processor time of the machine so far by what it went to, in hundredths of a second.
        mhz: clock of the core that this process last ran on.
    """

    process_s: float
    ticks: tuple[int, ...] | None
    mhz: float | None
    children_s: float | None = None


class Host:
    """Reads the host. Elsewhere than on Linux only this process's own time is to be had.

    Args:
        proc: the folder that is `/proc` on Linux.
        sys: the folder that is `/sys`.
    """

    def __init__(self, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> None:
        self._proc = proc
        self._cores = sys / "devices/system/cpu"
        self._trials_s: list[float] = []
        self._clock_known = True

    def read(self) -> HostReading:
        """Read everything, in well under a millisecond."""
        children_s = self._children_s()
        return HostReading(process_s=time.process_time(), ticks=self._ticks(), mhz=self._mhz(), children_s=children_s)

    def _children_s(self) -> float | None:
        """Those that ended and were waited for count too; they are read last, so that none is lost in between."""
        tasks = self._proc / "self/task"
        if not (tasks / str(os.getpid()) / "children").exists():
            return None  # not every kernel lists them
        children: list[str] = []
        for listed in tasks.glob("*/children"):
            with contextlib.suppress(OSError):  # the thread has ended
                children += listed.read_text().split()
        ticks = 0
        for child in children:
            with contextlib.suppress(OSError):  # the child has
                # Behind the command, which may hold spaces and parentheses; fields 14 to 17 of proc(5).
                fields = (self._proc / child / "stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, fields[11:15]))
        ended = os.times()
        return ticks / os.sysconf("SC_CLK_TCK") + ended.children_user + ended.children_system

    def _ticks(self) -> tuple[int, ...] | None:
        try:
            with (self._proc / "stat").open(encoding="ascii") as stat:
                name, *columns = stat.readline().split()
            ticks = tuple(int(column) for column in columns[:_COLUMNS])
        except (OSError, ValueError):
            return None
        return ticks if name == "cpu" and len(ticks) == _COLUMNS else None

    def _mhz(self) -> float | None:
        if not self._clock_known:
            return None
        begin_s = time.perf_counter()
        mhz = self._clock_of_core()
        self._clock_known = mhz is not None
        if len(self._trials_s) < _TRIALS:
            self._trials_s.append(time.perf_counter() - begin_s)
            if len(self._trials_s) == _TRIALS:
                self._clock_known &= min(self._trials_s) <= _SLOW_READING_S
        return mhz

    def _clock_of_core(self) -> float | None:
        try:
            # Behind the command, which may hold spaces and parentheses; the 39th field of proc(5).
            core = int((self._proc / "self/stat").read_text().rpartition(")")[2].split()[36])
        except (OSError, ValueError, IndexError):
            return None
        try:
            return int((self._cores / f"cpu{core}/cpufreq/scaling_cur_freq").read_text()) / 1000
        except (OSError, ValueError):
            return self._clock_in_cpuinfo(core)

    def _clock_in_cpuinfo(self, core: int) -> float | None:
        is_core = False
        try:
            for line in (self._proc / "cpuinfo").read_text().splitlines():
                key, _, value = line.partition(":")
                if key.strip() == "processor":
                    is_core = int(value) == core
                elif is_core and key.strip() == "cpu MHz":
                    return float(value)
        except (OSError, ValueError):
            pass
        return None


class TelemetryWatch:
    """Samples the machine around each timed round. Never raises: what can't be read is None, and noted once.

    Args:
        device: that is measured.
        relatives: processes on it that started this one.
    """

    def __init__(self, device: str, relatives: int = 0) -> None:
        self._host = Host()
        self._waiting = Waiting()
        self._gpu = Gpu.of(device, relatives) if device.partition(":")[0] == "cuda" else None
        self._before: tuple[HostReading, GpuReading | None, Waits | None, float] | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What couldn't be read, and why."""
        return self._gpu.notes if self._gpu is not None else ()

    def facts(self) -> dict[str, Fact]:
        """Facts of the device for the environment's state. Its power limit is one of the hardware."""
        facts = self._gpu.facts() if self._gpu is not None else {}
        return {name: fact for name, fact in facts.items() if name != "device_power_limit_w"}

    def before(self) -> None:
        """Read. To be called last before a round begins."""
        gpu = self._gpu.read() if self._gpu is not None else None
        self._before = self._host.read(), gpu, self._waiting.read(), time.monotonic()

    def after(self) -> Telemetry | None:
        """Read again. To be called first when a round has ended; None where `before` wasn't."""
        if self._before is None:
            return None
        waits = self._waiting.read()
        host = self._host.read()
        gpu = self._gpu.read() if self._gpu is not None else None
        (host_before, gpu_before, waits_before, began_s), self._before = self._before, None
        return telemetry(
            host_before, host, gpu_before, gpu, waited_s(waits_before, waits), time.monotonic() - began_s
        )

    def close(self) -> None:
        """Let go of the device's library."""
        if self._gpu is not None:
            self._gpu.close()


def telemetry(
    host_before: HostReading,
    host: HostReading,
    gpu_before: GpuReading | None,
    gpu: GpuReading | None,
    waited_s: float | None = None,
    round_s: float = 0.0,
) -> Telemetry:
    """Two readings of the machine as one record: of counters the difference, of gauges the worse.

    Args:
        host_before: before the round; `gpu_before` of its device.
        host: after it; `gpu` of its device.
        gpu_before: None where there is no device.
        gpu: as `gpu_before`.
        waited_s: as `Telemetry` has it.
        round_s: what lies between the readings. A reason that held the clocks down for a hundredth of it is told.
    """
    cpu_s = max(host.process_s - host_before.process_s, 0.0)
    children_s = None
    if host_before.children_s is not None and host.children_s is not None:
        children_s = max(host.children_s - host_before.children_s, 0.0)
    steal_rel, others_rel = _shares(host_before.ticks, host.ticks, cpu_s)
    record = Telemetry(
        cpu_s=cpu_s,
        children_cpu_s=children_s,
        waited_s=waited_s,
        steal_rel=steal_rel,
        others_rel=others_rel,
        cpu_mhz=_lowest(host_before.mhz, host.mhz),
    )
    if gpu_before is None or gpu is None:
        return record
    # What an idle device's clocks are says nothing of the round.
    busy = [reading for reading in (gpu_before, gpu) if not reading.idle]
    # What the device does between rounds is no excuse for them: its driver's samples and counters are asked, and
    # readings only where it has none.
    clocks_mhz = [mhz for _, mhz in gpu.clock_samples or ()]
    held_down_s = _held_down_s(gpu_before.held_down_ns, gpu.held_down_ns)
    reasons = {*gpu_before.throttle_reasons, *gpu.throttle_reasons}
    if held_down_s is not None:
        least_s = _HELD_DOWN_REL * round_s
        counted = {name for name, time_s in held_down_s.items() if time_s > least_s}
        reasons = reasons & CLOCK_SETTINGS | counted
    energy_j = (
        gpu.energy_j - gpu_before.energy_j if gpu.energy_j is not None and gpu_before.energy_j is not None else None
    )
    return msgspec.structs.replace(
        record,
        sm_clock_mhz=statistics.median(clocks_mhz) if clocks_mhz else None,
        memory_clock_mhz=_lowest(*(reading.memory_clock_mhz for reading in busy)),
        throttle_reasons=tuple(sorted(reasons)),
        held_down_s=held_down_s,
        temperature_c=_highest(gpu_before.temperature_c, gpu.temperature_c),
        power_w=_highest(gpu_before.power_w, gpu.power_w),
        # The driver starts the counter anew when it is loaded.
        energy_j=energy_j if energy_j is not None and energy_j >= 0 else None,
        other_processes=_most(gpu_before.other_processes, gpu.other_processes),
    )


def _held_down_s(before: Mapping[str, int] | None, after: Mapping[str, int] | None) -> dict[str, float] | None:
    """Seconds by reason between two readings of counters that only grow."""
    if before is None or after is None:
        return None
    spent_ns = {name: count_ns - before.get(name, count_ns) for name, count_ns in after.items()}
    return {name: time_ns / 1e9 for name, time_ns in spent_ns.items() if time_ns > 0}


def _shares(
    before: tuple[int, ...] | None, after: tuple[int, ...] | None, own_s: float
) -> tuple[float | None, float | None]:
    """Shares of the machine's processor time that the hypervisor kept and that other processes had."""
    if before is None or after is None:
        return None, None
    spent = [b - a for a, b in zip(before, after, strict=True)]
    total = sum(spent)
    # Idle time and time lost to input and output run backwards now and then (proc(5)).
    if total < _FEWEST_TICKS or min(spent[i] for i in (*_BUSY, _STEAL)) < 0:
        return None, None
    others = sum(spent[i] for i in _BUSY) - own_s * os.sysconf("SC_CLK_TCK")
    return min(spent[_STEAL] / total, 1.0), min(max(others / total, 0.0), 1.0)


def _lowest(*values: float | None) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _highest(*values: float | None) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _most(*values: int | None) -> int | None:
    return max((value for value in values if value is not None), default=None)
