"""Peak memory of a call, stage by stage, as exactly as the device allows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import msgspec

from pytest_diffbench.measure.components import modules_of, plain_tensors
from pytest_diffbench.pipelines.devices import backend_of, current_index, is_accelerator
from pytest_diffbench.records import Memory, StageMemory

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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


class DeviceGauge:
    """The statistics of the devices' caching allocators: exact, and free to read.

    Of several devices the peaks are added up, though they may have come at different times. Pools of CUDA graphs keep
    what their replays use, and no allocation of theirs shows in a peak: what they hold and nobody uses is added.

    Args:
        devices: of one type.
    """

    def __init__(self, devices: Sequence[str]) -> None:
        import torch

        self._places = [torch.device(device) for device in devices]
        kind = self._places[0].type
        self.source: Source = "cuda_allocator" if kind == "cuda" else "device_allocator"
        own = backend_of(kind)
        self._backend = own if hasattr(own, "max_memory_allocated") else torch.accelerator

    def reset(self) -> None:
        """Reset the devices' peaks. Peaks that the caller was watching are lost."""
        for place in self._places:
            self._backend.reset_peak_memory_stats(place)

    def read(self) -> tuple[int, int | None]:
        """Peak allocated and peak reserved bytes."""
        peaks = [int(self._backend.max_memory_allocated(place)) for place in self._places]
        reserved = [int(self._backend.max_memory_reserved(place)) for place in self._places]
        return sum(peaks) + self._graph_pools_bytes(), sum(reserved)

    def _graph_pools_bytes(self) -> int:
        """What pools of CUDA graphs hold beyond what is allocated in them."""
        if self.source != "cuda_allocator":
            return 0
        numbers = {place.index if place.index is not None else current_index("cuda") for place in self._places}
        return sum(
            segment["total_size"] - segment["allocated_size"]
            for segment in self._backend.memory_snapshot()
            if segment["device"] in numbers and tuple(segment.get("segment_pool_id", (0, 0))) != (0, 0)
        )


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


def gauge_for(device: str, *others: str) -> Gauge | None:
    """The best gauge for a torch device.

    Args:
        device: that a pipeline runs on.
        others: further ones of its type that parts of it lie on.

    Returns:
        None for an accelerator whose allocator keeps no peaks: the host's memory says nothing of it.
    """
    if is_accelerator(device):
        gauge = DeviceGauge((device, *others))
        try:
            gauge.reset()
            gauge.read()
        except Exception:  # backends of other makers raise all kinds
            return None
        return gauge
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
                # What is reserved in a stage is what any stage before it needed.
                stage: StageMemory(peak_bytes=bytes_)
                for stage, (bytes_, _) in self._peaks.items()
                if self._gauge.source != "process_lifetime"
            },
        )

    def _note(self) -> None:
        bytes_, held = self._gauge.read()
        before, held_before = self._peaks.get(self._stage, (0, None))
        self._peaks[self._stage] = max(bytes_, before), held if held_before is None else max(held or 0, held_before)


def held_bytes(others: Iterable[object], target: object) -> int:
    """What weights of other pipelines take of accelerators' memory beyond those that a pipeline shares with them.

    Args:
        others: pipelines and functions; `target` may be among them.
        target: whose weights don't count.
    """
    sizes_bytes: dict[int, int] = {}
    for other in others:
        sizes_bytes |= _storages(other)
    return sum(sizes_bytes[storage] for storage in sizes_bytes.keys() - _storages(target).keys())


def _storages(target: object) -> dict[int, int]:
    """Sizes of what a pipeline's weights are kept in on accelerators, by identity."""
    storages = (
        part.untyped_storage()
        for module in modules_of(target).values()
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
        for _, part in plain_tensors(name, tensor)
        if is_accelerator(str(part.device))
    )
    return {storage._cdata: storage.nbytes() for storage in storages}


def without(memory: Memory | None, others_bytes: int) -> Memory | None:
    """A call's memory without what others had in a device's while it was measured.

    What they have of the reservation can't be told, and so nothing is.
    """
    if memory is None or not others_bytes:
        return memory
    return msgspec.structs.replace(
        memory,
        peak_bytes=memory.peak_bytes - others_bytes,
        reserved_bytes=None,
        stages={
            stage: msgspec.structs.replace(stage_memory, peak_bytes=stage_memory.peak_bytes - others_bytes)
            for stage, stage_memory in memory.stages.items()
        },
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or the host, has no memory left."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    # Libraries beside torch's allocator have words of their own: cuBLAS, cuDNN, the driver, the host.
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


_OUT_OF_MEMORY = (
    "can't allocate memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "HIPBLAS_STATUS_ALLOC_FAILED",
)
