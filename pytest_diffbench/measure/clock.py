"""Clocks that tell the time of a device without waiting for it, except at the outer boundaries of a call."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.pipelines.devices import is_accelerator, synchronize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

_READINGS = 10_000
"""Some milliseconds, where the slowest clocks tick each tenth of a microsecond."""


def now_ns() -> int:
    """The host's time in nanoseconds. All that is timed on the host asks here, so that tests can replace it."""
    return time.perf_counter_ns()


def refuse_standstill() -> None:
    """Refuse to measure by a clock that something has stopped.

    Raises:
        MeasureError: it showed one and the same time whenever it was read.
    """
    begin_ns = time.perf_counter_ns()
    if all(time.perf_counter_ns() == begin_ns for _ in range(_READINGS)):
        raise MeasureError(
            f"The clock time.perf_counter_ns stands still: {_READINGS:,} readings, all {begin_ns} ns. Something "
            "has frozen it, such as freezegun. Call diffbench() outside of it."
        )


class Clock(Protocol):
    """Marks points in the device's work and tells them apart later."""

    def synchronize(self) -> None:
        """Wait until the device has done all that it was given."""

    def mark(self) -> object:
        """Mark this point in the device's work. Never waits on an asynchronous device that has events."""

    def seconds(self, marks: Sequence[object]) -> list[float]:
        """Seconds of each mark since the first. Call it after `synchronize`."""


class HostClock:
    """The host's own clock, for devices whose calls return when the work is done.

    Args:
        synchronize: for asynchronous devices without events: waits for the device, at every mark too. That is
            truthful, yet serialises host and device, so the marks cost time.
    """

    def __init__(self, synchronize: Callable[[], None] | None = None) -> None:
        self._synchronize = synchronize

    def synchronize(self) -> None:
        """Wait for the device where it has to be waited for."""
        if self._synchronize is not None:
            self._synchronize()

    def mark(self) -> int:
        """Return the time in nanoseconds."""
        if self._synchronize is not None:
            self._synchronize()
        return now_ns()

    def seconds(self, marks: Sequence[object]) -> list[float]:
        """Seconds of each mark since the first."""
        times = [mark for mark in marks if isinstance(mark, int)]
        return [(time_s - times[0]) / 1e9 for time_s in times]


class EventClock:
    """Events on the current streams of one or several devices: marks cost microseconds and wait for nothing.

    A mark is an event on each device; its time is that of the last of them, since a stage whose work another device
    does isn't over before that. The first mark has to follow `synchronize`, so that all devices begin together.

    Args:
        devices: of one type.
    """

    def __init__(self, devices: Sequence[str]) -> None:
        import torch

        self._devices = [torch.device(device) for device in devices]
        self._names = list(devices)
        kind = self._devices[0].type
        self._is_cuda = kind == "cuda"
        # Other accelerators have events and streams by torch's general names.
        self._streams = torch.cuda if self._is_cuda else torch.accelerator

    def synchronize(self) -> None:
        """Wait for all streams of all devices."""
        for name in self._names:
            synchronize(name)

    def mark(self) -> list[Any]:
        """Record an event on each device's current stream."""
        return [self._record(device) for device in self._devices]

    def seconds(self, marks: Sequence[object]) -> list[float]:
        """Seconds of each mark since the first, at the events' resolution of about half a microsecond."""
        rows: list[list[Any]] = [mark for mark in marks if isinstance(mark, list)]
        first = rows[0]
        return [max(begin.elapsed_time(event) for begin, event in zip(first, row, strict=True)) / 1e3 for row in rows]

    def _record(self, device: torch.device) -> Any:
        import torch

        event: Any = (
            torch.cuda.Event(enable_timing=True) if self._is_cuda else torch.Event(device, enable_timing=True)
        )
        event.record(self._streams.current_stream(device))
        return event


def clock_for(device: str, *others: str) -> Clock:
    """The clock that tells the truth about a torch device such as `cpu`, `cuda:1` or `mps`.

    Args:
        device: that a pipeline runs on.
        others: further ones of its type that parts of it lie on.
    """
    if not is_accelerator(device):
        return HostClock()
    devices = (device, *others)
    if device.partition(":")[0] == "cuda" or _has_events(devices):
        return EventClock(devices)

    def wait() -> None:
        for name in devices:
            synchronize(name)

    return HostClock(wait)


def _has_events(devices: Sequence[str]) -> bool:
    """Whether torch can time by events there; what it says of it isn't to be relied on, so it is tried."""
    clock = EventClock(devices)
    try:
        clock.synchronize()
        marks = [clock.mark(), clock.mark()]
        clock.synchronize()
        return clock.seconds(marks)[1] >= 0
    except Exception:  # backends of other makers raise all kinds
        return False
