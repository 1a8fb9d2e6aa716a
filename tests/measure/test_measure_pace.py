"""The pace of a machine: when it is read, what it leaves out, and that the kernels disturb nothing."""

from __future__ import annotations

import gc
import random
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from pytest_diffbench.measure import clock as host
from pytest_diffbench.measure import pace, runner
from pytest_diffbench.measure.clock import HostClock
from pytest_diffbench.measure.pace import Pace, PaceReadings, device_reader, processor_reader
from pytest_diffbench.measure.pace_kernels import device_kernels, processor_kernels
from pytest_diffbench.measure.runner import Measurement, Plan
from pytest_diffbench.measure.waiting import Waiting
from pytest_diffbench.records import Definition

if TYPE_CHECKING:
    from collections.abc import Callable

KERNELS = ["interpreter", "products", "convolution", "copy"]


class Counted:
    """Readings that are their own number, in place of real ones."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken = self.prepared = 0
        monkeypatch.setattr(pace, "_prepared", self._prepare)

    def _prepare(self, device: str, dtype: str) -> Callable[[], dict[str, float]]:
        self.prepared += 1
        self.asked = (device, dtype)
        return self._read

    def _read(self) -> dict[str, float]:
        self.taken += 1
        return {"products": float(self.taken)}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


def test_on_a_processor_there_is_a_reading_before_each_round(counted: Counted) -> None:
    readings = PaceReadings(Pace("cpu"), rounds=3)
    for _ in range(5):  # another plugin may add calls that are no rounds
        readings.before_round()
    readings.after_rounds()
    assert readings.times_s == {"products": (1, 2, 3)}
    assert (counted.prepared, readings.notes) == (1, ())


def test_on_a_device_there_are_two_around_all_rounds(counted: Counted) -> None:
    readings = PaceReadings(Pace("cuda:0", "bfloat16"), rounds=3)
    for _ in range(3):
        readings.before_round()
    assert readings.times_s == {"products": (1,)}, "interrupted here, it has the first"
    readings.after_rounds()
    assert readings.times_s == {"products": (1, 2)}
    assert counted.prepared == 2, "no round had the buffers in its memory"
    assert counted.asked == ("cuda:0", "bfloat16")


def test_on_a_device_variants_share_the_two(counted: Counted) -> None:
    shared = Pace("cuda")
    all_of_them = [PaceReadings(shared, rounds=2) for _ in range(3)]
    for _ in range(2):
        for readings in all_of_them:
            readings.before_round()
    for readings in all_of_them:
        readings.after_rounds()
        shared.release()
    assert [readings.times_s for readings in all_of_them] == [{"products": (1, 2)}] * 3
    assert counted.taken == 2


def test_without_rounds_there_is_none(counted: Counted) -> None:
    for device in ("cpu", "cuda"):
        readings = PaceReadings(Pace(device), rounds=1)
        readings.after_rounds()
        assert readings.times_s == {}


def test_a_device_without_room_has_no_pace_and_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: str) -> Any:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(pace, "_prepared", refuse)
    readings = PaceReadings(Pace("cuda"), rounds=1)
    readings.before_round()
    readings.after_rounds()
    assert readings.times_s == {}
    (note,) = readings.notes
    assert "no memory for" in note


class Waits:
    """A made-up scheduler, by which threads have waited so long at each reading."""

    def __init__(self, *waited_ns: int | None) -> None:
        self._next = iter(waited_ns)

    def read(self) -> dict[str, int] | None:
        waited_ns = next(self._next)
        return None if waited_ns is None else {"1": waited_ns}


@pytest.mark.parametrize(
    ("wall_ms", "waited_ms", "computed_ms", "net_ms"),
    [(10, 4, 2, 6), (10, 18, 3, 3), (10, 0, 9, 10), (10, None, 1, 10), (10, 0, 10.5, 10)],
    ids=["waited", "two threads at once", "not at all", "not told", "a coarser clock"],
)
def test_a_kernel_takes_what_it_did_not_wait_for(
    monkeypatch: pytest.MonkeyPatch, wall_ms: float, waited_ms: float | None, computed_ms: float, net_ms: float
) -> None:
    now = {"wall": 0.0, "computed": 0.0}

    def kernel() -> None:
        now["wall"] += wall_ms * 1e6
        now["computed"] += computed_ms * 1e6

    monkeypatch.setattr(host, "now_ns", lambda: int(now["wall"]))
    monkeypatch.setattr(time, "thread_time_ns", lambda: int(now["computed"]))
    waits: Any = Waits(None, None) if waited_ms is None else Waits(7, 7 + int(waited_ms * 1e6))
    reading = processor_reader({"one": kernel}, waits)()
    monkeypatch.undo()
    assert reading["one"] == pytest.approx(net_ms / 1e3)


def test_the_collector_of_garbage_is_off_meanwhile_and_as_it_was_afterwards() -> None:
    seen: list[bool] = []
    read = processor_reader({"one": lambda: seen.append(gc.isenabled())}, Waiting())
    read()
    assert gc.isenabled()
    gc.disable()
    try:
        read()
        assert not gc.isenabled()
    finally:
        gc.enable()
    assert seen == [True, False, False], "once for practice"


def test_a_device_is_timed_by_batches_of_many() -> None:
    calls = {"one": 0, "other": 0}

    def kernel(name: str) -> Callable[[], None]:
        def run() -> None:
            calls[name] += 1

        return run

    waits = 0

    def synchronize() -> None:
        nonlocal waits
        waits += 1

    kernels = {name: kernel(name) for name in calls}
    reading = device_reader(kernels, HostClock(synchronize), ramp_s=0.01, counted_s=0.02)()
    assert reading.keys() == calls.keys()
    assert all(0 < each_s < 0.02 for each_s in reading.values())
    assert calls["other"] > 10 * waits


def test_a_device_works_until_clocks_and_power_have_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = 0
    spent_s = {"products": 0.0, "copy": 0.0}

    def kernel(name: str) -> Callable[[], None]:
        def run() -> None:
            nonlocal now_ns
            now_ns += 1_000_000
            spent_s[name] += 0.001

        return run

    monkeypatch.setattr(host, "now_ns", lambda: now_ns)
    reading = device_reader({name: kernel(name) for name in spent_s}, HostClock())()
    assert reading == {"products": pytest.approx(0.001), "copy": pytest.approx(0.001)}
    assert spent_s["copy"] >= 0.3
    assert spent_s["products"] >= 0.3 + 0.2, "the clocks rise before anything counts"


def test_the_products_of_a_device_are_of_the_cases_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def pace_of(device: str, dtype: str) -> Pace:
        asked.append((device, dtype))
        return Pace(device, dtype)

    monkeypatch.setattr(runner, "Pace", pace_of)
    definition = Definition(pipeline="function", weights="own", dtype="bfloat16", seed=0, arguments={})
    plan = Plan(case_id="a case", device="cpu", definition=definition, rounds=1, warmup_rounds=0)
    Measurement(plan, lambda: None, (), {})
    assert asked == [("cpu", "bfloat16")]

    multiply = torch.mm
    multiplied: set[torch.dtype] = set()

    def watched(left: torch.Tensor, right: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        multiplied.add(left.dtype)
        return multiply(left, right, **kwargs)

    kernels = device_kernels("cpu", "bfloat16", edge=16, copied_bytes=64)
    monkeypatch.setattr(torch, "mm", watched)
    kernels["products"]()
    assert multiplied == {torch.bfloat16}


@pytest.mark.pace
def test_the_kernels_of_a_processor_are_read_for_real() -> None:
    cpu_pace = Pace("cpu")
    reading = cpu_pace.read()
    assert list(reading) == KERNELS
    assert all(each_s > 0 for each_s in reading.values())
    with torch.inference_mode():
        assert cpu_pace.read().keys() == reading.keys()
    with torch.inference_mode():
        other = Pace("cpu")
        other.read()
    assert other.read().keys() == reading.keys(), "its buffers can be written to outside, too"


def test_the_kernels_of_a_device_work_and_do_without_a_dtype_that_it_lacks() -> None:
    for dtype in ("bfloat16", "float32", "float8_e4m3fn", "int4"):
        kernels = device_kernels("cpu", dtype, edge=16, copied_bytes=64)
        assert list(kernels) == ["products", "copy"]
        for kernel in kernels.values():
            kernel()


def test_the_kernels_leave_no_trace() -> None:
    kernels = processor_kernels()
    read = processor_reader(kernels, Waiting())
    read()
    before = _random_states()
    gc.collect()
    tracemalloc.start()
    read()
    gc.collect()
    first_bytes = tracemalloc.get_traced_memory()[0]
    for _ in range(3):
        read()
    gc.collect()
    grown_bytes = tracemalloc.get_traced_memory()[0] - first_bytes
    tracemalloc.stop()
    assert grown_bytes < 4096
    assert _random_states() == before
    processor_kernels()
    assert _random_states() == before, "nor does making them draw a number"


def test_default_device_and_dtype_are_not_obeyed() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            kernels = processor_kernels()
    finally:
        torch.set_default_dtype(torch.float32)
    for kernel in kernels.values():
        kernel()


def _random_states() -> list[object]:
    return [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]  # type: ignore[index]  # the tuple form
