"""How fast the machine is at fixed pieces of work, timed beside the rounds: tells a slow machine from slow code."""

from __future__ import annotations

import gc
import statistics
import time
from typing import TYPE_CHECKING, TypeAlias

from pytest_diffbench.measure import clock as host
from pytest_diffbench.measure import pace_kernels
from pytest_diffbench.measure.clock import clock_for
from pytest_diffbench.measure.waiting import Waiting, net_s, waited_s

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_diffbench.measure.clock import Clock
    from pytest_diffbench.measure.pace_kernels import Kernel

Reading: TypeAlias = "dict[str, float]"
"""Seconds that each kernel took, by its name."""

_RAMP_S = 0.2
"""How long a device is kept busy before its kernels count: its clocks rise and fall within tenths of a second."""

_COUNTED_S = 0.3
_BATCH_S = 0.01
"""A device is waited for after batches of about this length, so that launching and waiting don't matter."""

_MOST_IN_BATCH = 10_000
_MOST_BATCHES = 1000
_LEAST_S = 1e-9


class Pace:
    """Times the kernels of a device. They share the round's threads and clocks, but none of the code under test.

    On a processor a reading takes about 10 ms on a slow core, and one is taken before each round. On other devices it
    takes over half a second, so that clocks and power settle, and two are taken: before the first round and after the
    last. The buffers, 9 MiB on a processor, are there from the first reading until they're released; other
    devices have theirs, under 400 MiB, during a reading alone.

    Variants that are measured together share one: none has the buffers in its memory, and on other devices than a
    processor all share the two readings.

    Args:
        device: torch device.
        dtype: of the products on other devices than a processor.
    """

    def __init__(self, device: str, dtype: str = "float32") -> None:
        self._device = device
        self._dtype = dtype
        self._read: Callable[[], Reading] | None = None
        self._latest: Reading | None = None
        self._stale = False
        self.note: str | None = None
        """Why there is no reading."""

    @property
    def per_round(self) -> bool:
        """Whether a reading is taken before each round."""
        return self._device.partition(":")[0] == "cpu"

    def before_round(self, first: bool) -> Reading | None:
        """A reading where one is due before a round: its very own, or the one before the first of all rounds."""
        if self.per_round:
            return self.read()
        if self._latest is None:
            self._latest = self.read()
        self._stale = True
        return self._latest if first else None

    def after_rounds(self) -> Reading | None:
        """The reading after the last round of all, where one is due."""
        if self.per_round or self._latest is None:
            return None
        if self._stale:
            self._latest, self._stale = self.read(), False
        return self._latest

    def read(self) -> Reading:
        """Time each kernel once, or for a fifth of a second on other devices than a processor.

        Returns:
            Seconds of one execution, without what threads of this process waited for a processor; empty where the
            device has no room for the buffers.
        """
        import torch

        # A kernel's tensors must be of the kind that it can write to, whatever the test has switched on.
        with torch.inference_mode(False), torch.no_grad():
            if self._read is None:
                try:
                    self._read = _prepared(self._device, self._dtype)
                except torch.OutOfMemoryError:
                    self.note = "the device's pace wasn't measured: there is no memory for the kernels' buffers"
                    return {}
            reading = self._read()
        if not self.per_round:
            self.release()
        return reading

    def release(self) -> None:
        """Give the buffers back; a later reading makes new ones."""
        self._read = None


class PaceReadings:
    """The readings that belong to the rounds of one measurement.

    Args:
        pace: where they come from.
        rounds: for which there are readings; calls beyond them have none.
    """

    def __init__(self, pace: Pace, rounds: int) -> None:
        self._pace = pace
        self._rounds = rounds
        self._begun = 0
        self._readings: list[Reading] = []

    def before_round(self) -> None:
        """To be called before each round is prepared."""
        if self._begun < self._rounds:
            self._keep(self._pace.before_round(first=self._begun == 0))
        self._begun += 1

    def after_rounds(self) -> None:
        """To be called after the last one."""
        if self._begun:
            self._keep(self._pace.after_rounds())

    @property
    def times_s(self) -> dict[str, tuple[float, ...]]:
        """Seconds of each kernel, one figure a reading."""
        names = self._readings[0] if self._readings else ()
        return {name: tuple(reading[name] for reading in self._readings) for name in names}

    @property
    def notes(self) -> tuple[str, ...]:
        """Why there are none."""
        return () if self._pace.note is None else (self._pace.note,)

    def _keep(self, reading: Reading | None) -> None:
        if reading:
            self._readings.append(reading)


def _prepared(device: str, dtype: str) -> Callable[[], Reading]:
    """What takes a reading. Kernels have run once by then, which allocates and picks the code."""
    if device.partition(":")[0] == "cpu":
        return processor_reader(pace_kernels.processor_kernels(), Waiting())
    return device_reader(pace_kernels.device_kernels(device, dtype), clock_for(device))


def processor_reader(kernels: Mapping[str, Kernel], waiting: Waiting) -> Callable[[], Reading]:
    """Takes readings on a processor, of wall time less what threads waited."""
    for kernel in kernels.values():
        kernel()

    def read() -> Reading:
        reading = {}
        collecting = gc.isenabled()
        gc.disable()  # a collection is over all that the test has made
        try:
            before = waiting.read()
            for name, kernel in kernels.items():
                computed_ns, begin_ns = time.thread_time_ns(), host.now_ns()
                kernel()
                wall_s = (host.now_ns() - begin_ns) / 1e9
                computed_s = (time.thread_time_ns() - computed_ns) / 1e9
                after = waiting.read()
                reading[name] = max(net_s(wall_s, waited_s(before, after), computed_s), _LEAST_S)
                before = after
        finally:
            if collecting:
                gc.enable()
        return reading

    return read


def device_reader(
    kernels: Mapping[str, Kernel], clock: Clock, ramp_s: float = _RAMP_S, counted_s: float = _COUNTED_S
) -> Callable[[], Reading]:
    """Takes readings on a device that works by itself: the first kernel warms it up, then each is counted.

    Args:
        kernels: by name.
        clock: of the device.
        ramp_s: how long the device works before anything counts.
        counted_s: how long each kernel is repeated.
    """

    def repeated_s(kernel: Kernel, least_s: float) -> float:
        """Seconds of one execution: the median of batches, by which the host's own pauses don't matter."""
        batches: list[tuple[int, float]] = []
        count, spent_s = 1, 0.0
        for _ in range(_MOST_BATCHES):
            clock.synchronize()
            begin_ns = host.now_ns()
            for _ in range(count):
                kernel()
            clock.synchronize()
            batch_s = max((host.now_ns() - begin_ns) / 1e9, _LEAST_S)
            batches.append((count, batch_s / count))
            spent_s += batch_s
            if spent_s >= least_s:
                break
            if batch_s < _BATCH_S / 2:
                count = min(max(2 * count, round(count * _BATCH_S / batch_s)), _MOST_IN_BATCH)
        return statistics.median(execution_s for of, execution_s in batches if of == count)

    def read() -> Reading:
        repeated_s(next(iter(kernels.values())), ramp_s)
        return {name: repeated_s(kernel, counted_s) for name, kernel in kernels.items()}

    return read
