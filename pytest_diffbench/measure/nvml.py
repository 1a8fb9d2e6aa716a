"""Clocks, heat and power of an NVIDIA device, as its driver tells them through NVML."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_diffbench.records import Fact

_Value = TypeVar("_Value")

_IDLE = 0x1
_REASONS = {
    0x002: "applications_clocks_setting",
    0x004: "sw_power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal_slowdown",
    0x040: "hw_thermal_slowdown",
    0x080: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
    0x200: "board_limit",
    0x400: "reliability",
}
"""Bits of nvmlDeviceGetCurrentClocksEventReasons, which used to be called throttle reasons (nvml.h). Two are settings
that somebody made; they are recorded with the others, and aren't throttling."""

_POLICIES = {
    "POWER": "sw_power_cap",
    "THERMAL": "sw_thermal_slowdown",
    "SYNC_BOOST": "sync_boost",
    "BOARD_LIMIT": "board_limit",
    "RELIABILITY": "reliability",
}
"""Policies of nvmlDeviceGetViolationStatus, each with the reason that it stands for. The driver counts for how long
each has held the clocks down."""

_NOT_FOUND = 6
"""nvmlReturn_t: NVML_ERROR_NOT_FOUND (nvml.h)."""

_INSTALL = "pip install 'pytest-diffbench[nvml]'"


@dataclasses.dataclass(frozen=True, slots=True)
class GpuReading:
    """A device at one moment; None is what its driver doesn't tell.

    Attributes:
        idle: nothing was running, so the clocks are those of a device at rest.
        sm_clock_mhz: of the multiprocessors.
        memory_clock_mhz: of the memory.
        throttle_reasons: why the clocks weren't the highest, settings included; empty where they were, or where it
            isn't told.
        temperature_c: of the chip.
        power_w: drawn at the moment.
        energy_j: used since the driver was loaded.
        other_processes: on the device, besides this one and the one that started it.
        held_down_ns: for how long each reason has held the clocks down so far, by its name.
        clock_samples: the driver's own samples of the multiprocessors' clock, as time in us and MHz, oldest first.
    """

    idle: bool = False
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    throttle_reasons: tuple[str, ...] = ()
    temperature_c: float | None = None
    power_w: float | None = None
    energy_j: float | None = None
    other_processes: int | None = None
    held_down_ns: Mapping[str, int] | None = None
    clock_samples: tuple[tuple[int, float], ...] | None = None


class Gpu:
    """One device, found in NVML by what it is and not by its number: CUDA_VISIBLE_DEVICES counts anew.

    Nothing here raises. What isn't told is None, and `notes` says what and why, once.

    Args:
        nvml: the module `pynvml`; None where there is none.
        uuids: names under which NVML may know the device, the likeliest first.
        pci_bus_id: its place, for drivers that know it by none of them; None where torch doesn't tell.
        problem: why there is no module.
        relatives: processes on the device that started this one, and hold nothing there but a context.
    """

    def __init__(
        self,
        nvml: Any,
        uuids: tuple[str, ...],
        pci_bus_id: str | None,
        problem: str | None = None,
        relatives: int = 0,
    ) -> None:
        self._nvml = nvml
        self._relatives = relatives
        self._handle: Any = None
        self._part = False
        self._started = False
        self._untold: dict[str, str] = {}
        self._newest_us = 0
        self._problem = problem
        if nvml is None:
            return
        try:
            nvml.nvmlInit()
        except Exception as error:
            self._problem = f"NVML doesn't start ({_words(error)}): {_WITHOUT}"
            return
        self._started = True
        self._find(uuids, pci_bus_id)

    @classmethod
    def of(cls, device: str, relatives: int = 0) -> Gpu:
        """The device that torch calls `device`."""
        import torch

        properties = torch.cuda.get_device_properties(torch.device(device))
        uuid = str(getattr(properties, "uuid", ""))
        place = [getattr(properties, f"pci_{part}_id", None) for part in ("domain", "bus", "device")]
        domain, bus, slot = (number if number is not None else -1 for number in place)
        pci_bus_id = f"{domain:08X}:{bus:02X}:{slot:02X}.0" if min(domain, bus, slot) >= 0 else None
        uuids = (f"MIG-{uuid}", f"GPU-{uuid}") if uuid else ()
        try:
            import pynvml
        except Exception as error:
            return cls(None, uuids, pci_bus_id, f"nvidia-ml-py can't be imported ({_words(error)}): {_WITHOUT}")
        return cls(pynvml, uuids, pci_bus_id, relatives=relatives)

    @property
    def notes(self) -> tuple[str, ...]:
        """What isn't told, and why."""
        if self._problem is not None:
            return (self._problem,)
        if not self._untold:
            return ()
        reasons = ", ".join(f"{name} ({why})" for name, why in self._untold.items())
        return (f"NVML doesn't report for this device: {reasons}",)

    def read(self) -> GpuReading:
        """Read everything."""
        nvml = self._nvml
        if self._handle is None:
            return GpuReading()
        reasons = self._ask("throttle_reasons", self._reasons) or 0
        whole = not self._part
        return GpuReading(
            idle=bool(reasons & _IDLE),
            sm_clock_mhz=self._ask("sm_clock", lambda: nvml.nvmlDeviceGetClockInfo(self._handle, nvml.NVML_CLOCK_SM)),
            memory_clock_mhz=self._ask(
                "memory_clock", lambda: nvml.nvmlDeviceGetClockInfo(self._handle, nvml.NVML_CLOCK_MEM)
            ),
            throttle_reasons=tuple(name for bit, name in _REASONS.items() if reasons & bit),
            temperature_c=self._ask(
                "temperature", lambda: nvml.nvmlDeviceGetTemperature(self._handle, nvml.NVML_TEMPERATURE_GPU)
            ),
            power_w=self._ask("power", lambda: nvml.nvmlDeviceGetPowerUsage(self._handle) / 1e3) if whole else None,
            energy_j=(
                self._ask("energy", lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) / 1e3)
                if whole
                else None
            ),
            other_processes=self._ask("processes", self._others) if whole else None,
            held_down_ns=self._ask("held_down", self._held_down_ns),
            clock_samples=self._ask("clock_samples", self._clock_samples),
        )

    def facts(self) -> dict[str, Fact]:
        """Facts that hold for the whole run."""
        nvml = self._nvml
        if self._handle is None:
            return {}
        limit_w = self._ask("power_limit", lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(self._handle) / 1e3)
        driver = self._ask("driver", nvml.nvmlSystemGetDriverVersion)
        return {
            "device_power_limit_w": limit_w,
            "device_driver": driver.decode() if isinstance(driver, bytes) else driver,
        }

    def close(self) -> None:
        """Let go of the library; others that use it keep theirs, since it counts."""
        if self._started:
            self._started = False
            self._handle = None
            try:
                self._nvml.nvmlShutdown()
            except Exception:
                return

    def _find(self, uuids: tuple[str, ...], pci_bus_id: str | None) -> None:
        nvml, why = self._nvml, "torch reports neither its UUID nor its place on the bus"
        ways: list[Callable[[], Any]] = [
            lambda uuid=uuid: nvml.nvmlDeviceGetHandleByUUID(uuid)  # type: ignore[misc]  # a default binds it
            for uuid in uuids
        ]
        if pci_bus_id is not None:
            ways.append(lambda: nvml.nvmlDeviceGetHandleByPciBusId(pci_bus_id))
        for number, way in enumerate(ways):
            try:
                handle = way()
                if number < len(uuids) and uuids[number].startswith("MIG-"):
                    # An instance has no clocks of its own: those of the card that it is a part of are read.
                    handle, self._part = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle), True
            except Exception as error:
                why = _words(error)
                continue
            self._handle = handle
            self._part = self._part or self._is_split()
            if self._part:
                why = "the device is a part of a card: its readings are those of the whole card"
                self._untold |= dict.fromkeys(("power", "energy", "processes"), why)
            return
        self._problem = f"NVML doesn't find the device ({why}): {_WITHOUT}"

    def _is_split(self) -> bool:
        try:
            current, _pending = self._nvml.nvmlDeviceGetMigMode(self._handle)
        except Exception:
            return False
        return bool(current)

    def _reasons(self) -> int:
        ask = getattr(self._nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
        if ask is None:  # nvidia-ml-py before 12.535
            ask = self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons
        return int(ask(self._handle))

    def _held_down_ns(self) -> dict[str, int]:
        held_down_ns = {_POLICIES["POWER"]: self._violation_ns("POWER")}
        for policy, reason in list(_POLICIES.items())[1:]:
            with contextlib.suppress(Exception):  # cards count power, and not always all of the others
                held_down_ns[reason] = self._violation_ns(policy)
        return held_down_ns

    def _violation_ns(self, policy: str) -> int:
        nvml = self._nvml
        status = nvml.nvmlDeviceGetViolationStatus(self._handle, getattr(nvml, f"NVML_PERF_POLICY_{policy}"))
        return int(status.violationTime)

    def _clock_samples(self) -> tuple[tuple[int, float], ...]:
        nvml = self._nvml
        try:
            _kind, samples = nvml.nvmlDeviceGetSamples(self._handle, nvml.NVML_PROCESSOR_CLK_SAMPLES, self._newest_us)
        except Exception as error:
            if getattr(error, "value", None) == _NOT_FOUND:
                return ()  # none since the last reading: a round may be shorter than the driver's interval
            raise
        read = sorted((int(sample.timeStamp), float(sample.sampleValue.uiVal)) for sample in samples)
        self._newest_us = max([self._newest_us, *(time_us for time_us, _ in read)])
        return tuple(read)

    def _others(self) -> int | None:
        nvml = self._nvml
        running = [
            *nvml.nvmlDeviceGetComputeRunningProcesses(self._handle),
            *nvml.nvmlDeviceGetGraphicsRunningProcesses(self._handle),
        ]
        pids = {process.pid for process in running}
        if not pids:
            # This process is on the device, so who sees none sees nobody: a container, say.
            return None
        # From within a container this one and its relatives have other numbers outside; they are among them.
        return max(0, len(pids) - 1 - self._relatives)

    def _ask(self, name: str, query: Callable[[], _Value]) -> _Value | None:
        if name in self._untold:
            return None
        try:
            return query()
        except Exception as error:
            self._untold[name] = _words(error)
            return None


_WITHOUT = f"clocks, throttling and power of the device aren't recorded. With the driver in place: {_INSTALL}"


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
