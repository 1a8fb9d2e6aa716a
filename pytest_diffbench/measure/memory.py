"""Peak memory of a call, stage by stage, as exactly as the device allows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from pytest_diffbench.records import Memory, StageMemory

if TYPE_CHECKING:
    from pytest_diffbench.records import Stage


Source: TypeAlias = Literal["cuda_allocator", "device_allocator", "process_rss", "process_lifetime"]


class Gauge(Protocol):
    """Reads and resets the peak of one kind of memory."""

    @property
    def source(self) -> Source:
        """What is being read, and so how rough it is."""

    def reset(self) -> None:
        """Start a new peak at what is in use now."""

    def read(self) -> tuple[int, int | None]:
        """Peak since the last reset, and the peak of the allocator's reservation where there is one, in bytes."""


class CudaGauge:
    """The caching allocator's own statistics: exact, and free to read."""

    source: Literal["cuda_allocator"] = "cuda_allocator"

    def __init__(self, device: str) -> None:
        import torch

        self._cuda = torch.cuda
        self._device = torch.device(device)

    def reset(self) -> None:
        """Reset the device's peaks. Peaks that the caller was watching are lost."""
        self._cuda.reset_peak_memory_stats(self._device)

    def read(self) -> tuple[int, int | None]:
        """Peak allocated and peak reserved bytes."""
        return self._cuda.max_memory_allocated(self._device), self._cuda.max_memory_reserved(self._device)


class RssGauge:
    """The peak resident set of this process, on Linux, where the kernel lets a process reset it.

    Rough: it includes everything that the process holds, and pages that the allocator hasn't given back.
    """

    source: Literal["process_rss"] = "process_rss"

    def reset(self) -> None:
        """Reset the kernel's high-water mark (proc(5), clear_refs)."""
        Path("/proc/self/clear_refs").write_text("5")

    def read(self) -> tuple[int, int | None]:
        """Peak resident bytes since the last reset."""
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024, None
        return 0, None


class LifetimeGauge:
    """The peak resident set since the process began: all that is to be had elsewhere. Can't be reset."""

    source: Literal["process_lifetime"] = "process_lifetime"

    def reset(self) -> None:
        """Do nothing: there is no way."""

    def read(self) -> tuple[int, int | None]:
        """Peak resident bytes of the process's life; 0 where the platform doesn't tell."""
        try:
            import resource
        except ImportError:  # Windows
            return 0, None
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return (peak if sys.platform == "darwin" else peak * 1024), None


def gauge_for(device: str) -> Gauge:
    """The best gauge for a torch device."""
    if device.partition(":")[0] == "cuda":
        return CudaGauge(device)
    rss = RssGauge()
    try:
        rss.reset()
        if rss.read()[0]:
            return rss
    except OSError:  # not Linux, or a sandbox that forbids it
        pass
    return LifetimeGauge()


class StageMemoryWatch:
    """Attributes peaks to stages: told whenever the stage changes, reads the peak and starts a new one."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._stage: Stage = "unattributed"
        self._peaks: dict[Stage, tuple[int, int | None]] = {}

    def start(self) -> None:
        """Begin with a fresh peak."""
        self._gauge.reset()

    def enter(self, stage: Stage) -> None:
        """The call is in `stage` from here on."""
        if stage != self._stage:
            self._note()
            self._gauge.reset()
            self._stage = stage

    def finish(self) -> Memory | None:
        """Peaks of all stages that were seen; None where the platform doesn't tell."""
        self._note()
        peak = max((bytes_ for bytes_, _ in self._peaks.values()), default=0)
        reserved = [held for _, held in self._peaks.values() if held is not None]
        if peak <= 0:
            return None
        return Memory(
            source=self._gauge.source,
            peak_bytes=peak,
            reserved_bytes=max(reserved, default=None),
            stages={
                stage: StageMemory(peak_bytes=bytes_, reserved_bytes=held)
                for stage, (bytes_, held) in self._peaks.items()
                if self._gauge.source != "process_lifetime"
            },
        )

    def _note(self) -> None:
        bytes_, held = self._gauge.read()
        before, held_before = self._peaks.get(self._stage, (0, None))
        self._peaks[self._stage] = max(bytes_, before), held if held_before is None else max(held or 0, held_before)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or the host, has no memory left."""
    import torch

    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
