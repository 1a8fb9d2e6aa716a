"""Clocks and gauges of accelerators beside CUDA, by what torch offers for all of them. None of them is needed."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pytest_diffbench.measure import clock
from pytest_diffbench.measure.clock import EventClock, HostClock, clock_for
from pytest_diffbench.measure.memory import gauge_for


class Accelerator:
    """Torch's general names for any accelerator, with events that take 2 ms between marks.

    Attributes:
        waits: devices that the host waited for, in order.
        timed: whether the device can time by events.
    """

    def __init__(self) -> None:
        self.waits: list[str] = []
        self.timed = True
        self.recorded = 0

    def event(self, _device: torch.device, *, enable_timing: bool) -> Any:
        if not self.timed:
            raise RuntimeError("Event is not supported on this device")
        assert enable_timing
        return Event(self)


class Event:
    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._at_ms = 0.0

    def record(self, _stream: object) -> None:
        self._accelerator.recorded += 1
        self._at_ms = 2.0 * self._accelerator.recorded

    def elapsed_time(self, later: Event) -> float:
        return later._at_ms - self._at_ms


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> Accelerator:
    simulated = Accelerator()
    monkeypatch.setattr(clock, "synchronize", simulated.waits.append)
    monkeypatch.setattr(torch, "Event", simulated.event)
    monkeypatch.setattr(torch.accelerator, "current_stream", lambda _device: None)
    return simulated


@pytest.mark.parametrize("device", ["xpu:0", "mps"])
def test_a_mark_on_a_device_with_events_waits_for_nothing(accelerator: Accelerator, device: str) -> None:
    timer = clock_for(device)
    accelerator.waits.clear()
    marks = [timer.mark(), timer.mark(), timer.mark()]
    assert accelerator.waits == []
    timer.synchronize()
    assert accelerator.waits == [device]
    assert isinstance(timer, EventClock)
    assert timer.seconds(marks) == pytest.approx([0, 0.002, 0.004])


def test_a_device_without_events_is_waited_for_at_marks(accelerator: Accelerator) -> None:
    accelerator.timed = False
    timer = clock_for("mps", "mps:1")
    assert isinstance(timer, HostClock)
    accelerator.waits.clear()
    timer.mark()
    assert accelerator.waits == ["mps", "mps:1"]


def test_the_peaks_of_all_devices_are_read_from_torchs_general_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks_bytes = {"mps:0": 700, "mps:1": 50}
    for name, factor in (("reset_peak_memory_stats", 0), ("max_memory_allocated", 1), ("max_memory_reserved", 2)):
        monkeypatch.setattr(
            torch.accelerator, name, lambda place, factor=factor: factor * peaks_bytes[str(place)], raising=False
        )
    gauge = gauge_for("mps:0", "mps:1")
    assert gauge is not None
    assert gauge.source == "device_allocator"
    assert gauge.read() == (750, 1500)
