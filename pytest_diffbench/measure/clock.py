"""Clocks that tell the time of a device without waiting for it, except at the outer boundaries of a call."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from pytest_diffbench.errors import MeasureError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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


class CudaClock:
    """CUDA events on the current stream of a device: marks cost microseconds and wait for nothing."""

    def __init__(self, device: str) -> None:
        import torch

        self._torch = torch
        self._device = torch.device(device)

    def synchronize(self) -> None:
        """Wait for all streams of the device."""
        self._torch.cuda.synchronize(self._device)

    def mark(self) -> object:
        """Record an event on the device's current stream."""
        event = self._torch.cuda.Event(enable_timing=True)
        event.record(self._torch.cuda.current_stream(self._device))
        return event

    def seconds(self, marks: Sequence[object]) -> list[float]:
        """Seconds of each event since the first, at the events' resolution of about half a microsecond."""
        first = marks[0]
        return [first.elapsed_time(mark) / 1e3 for mark in marks]  # type: ignore[attr-defined]  # torch.cuda.Event


def clock_for(device: str) -> Clock:
    """The clock that tells the truth about a torch device such as `cpu`, `cuda:1` or `mps`."""
    kind = device.partition(":")[0]
    if kind == "cuda":
        return CudaClock(device)
    if kind == "cpu":
        return HostClock()
    import torch

    backend = getattr(torch, kind, None)
    synchronize = getattr(backend, "synchronize", None) or torch.accelerator.synchronize
    return HostClock(synchronize)
