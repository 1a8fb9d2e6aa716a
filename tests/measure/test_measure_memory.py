"""Peaks by stage, with a gauge that tells what the test says; and the gauges of this machine."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any, Literal

import pytest
import torch
from fake_cuda import FakeCuda

from pytest_diffbench.measure import memory as measuring
from pytest_diffbench.measure.memory import (
    LifetimeGauge,
    RssGauge,
    StageMemoryWatch,
    gauge_for,
    held_bytes,
    without,
)
from pytest_diffbench.measure.pace import Pace
from pytest_diffbench.measure.rounds import drive_plainly
from pytest_diffbench.measure.runner import Measurement, Plan
from pytest_diffbench.records import Definition, Memory, StageMemory
from pytest_diffbench.session import comparing
from pytest_diffbench.session.comparing import Asked

if TYPE_CHECKING:
    from pytest_diffbench.records import Stage


class FakeGauge:
    source: Literal["cuda_allocator"] = "cuda_allocator"

    def __init__(self) -> None:
        self.peak_bytes = 0

    def reset(self) -> None:
        self.peak_bytes = 10

    def read(self) -> tuple[int, int | None]:
        return self.peak_bytes, 2 * self.peak_bytes


def test_every_stage_gets_a_separate_peak() -> None:
    gauge = FakeGauge()
    watch = StageMemoryWatch(gauge)
    watch.start()
    course: list[tuple[Stage, int]] = [("text_encode", 50), ("unattributed", 20), ("denoise", 90), ("vae_decode", 70)]
    for stage, peak in course:
        watch.enter(stage)
        gauge.peak_bytes = peak
    memory = watch.finish()
    assert memory is not None
    assert memory.peak_bytes == 90
    assert memory.reserved_bytes == 180
    assert {stage: stage_memory.peak_bytes for stage, stage_memory in memory.stages.items()} == dict(course)


def test_a_recurring_stage_keeps_the_highest_peak() -> None:
    gauge = FakeGauge()
    watch = StageMemoryWatch(gauge)
    watch.start()
    for peak in (80, 30):
        watch.enter("denoise")
        gauge.peak_bytes = peak
        watch.enter("unattributed")
    memory = watch.finish()
    assert memory is not None
    assert memory.stages["denoise"].peak_bytes == 80


def test_a_platform_without_figures_gives_no_memory() -> None:
    class Silent(FakeGauge):
        def read(self) -> tuple[int, int | None]:
            return 0, None

    assert StageMemoryWatch(Silent()).finish() is None


@pytest.mark.skipif(
    not isinstance(gauge_for("cpu"), RssGauge), reason="the kernel doesn't let a process reset its peak"
)
def test_the_resident_peak_can_be_reset_and_sees_an_allocation() -> None:
    gauge = RssGauge()
    gauge.reset()
    before, _ = gauge.read()
    block = mmap.mmap(-1, 64 << 20)  # the heap may hold as much from earlier tests, and keeps it
    for page in range(0, len(block), mmap.PAGESIZE):
        block[page] = 1
    after, _ = gauge.read()
    assert after - before > 60 << 20
    block.close()
    gauge.reset()
    assert gauge.read()[0] < after - (32 << 20)


def test_the_lifetime_peak_is_present_and_labelled() -> None:
    memory = StageMemoryWatch(LifetimeGauge()).finish()
    assert memory is not None
    assert (memory.source, memory.stages) == ("process_lifetime", {})


class Pipeline:
    def __init__(self, **components: torch.nn.Module) -> None:
        self.components = components


def test_weights_of_other_pipelines_count_once_and_shared_weights_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "is_accelerator", lambda device: device == "cpu")  # as if it were one
    text, own, small = (torch.nn.Linear(width, 10, bias=False) for width in (30, 20, 1))
    target = Pipeline(text_encoder=text, transformer=own)
    other = Pipeline(text_encoder=text, transformer=small)
    third = Pipeline(transformer=small)
    assert held_bytes([target, other, third], target) == 10 * 4
    assert held_bytes([target, other, third], other) == 20 * 10 * 4
    assert held_bytes([target, other, third], third) == (30 + 20) * 10 * 4
    assert held_bytes([print, target], print) == (30 + 20) * 10 * 4
    monkeypatch.undo()
    assert held_bytes([target, other], other) == 0


def test_what_others_hold_is_not_in_a_calls_memory() -> None:
    memory = Memory(
        source="cuda_allocator",
        peak_bytes=900,
        reserved_bytes=1000,
        stages={"denoise": StageMemory(peak_bytes=900, workspace_bytes=5)},
    )
    assert without(memory, 0) == memory
    assert without(None, 300) is None
    assert without(memory, 300) == Memory(
        source="cuda_allocator", peak_bytes=600, stages={"denoise": StageMemory(peak_bytes=600, workspace_bytes=5)}
    )


def plan_of(name: str, device: str) -> Plan:
    """A plan of one round of a function."""
    definition = Definition(pipeline="function", weights="own", dtype="float32", seed=0, arguments={})
    return Plan(case_id=f"case#{name}", device=device, definition=definition, rounds=2, warmup_rounds=0)


@pytest.mark.parametrize("searches", [True, False])
def test_what_a_search_for_kernels_takes_is_not_in_a_calls_memory(
    monkeypatch: pytest.MonkeyPatch, searches: bool
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", searches)
    searched_bytes = 64 << 20
    called = False

    def paint() -> torch.Tensor:
        nonlocal called
        if not called:
            torch.empty(searched_bytes, dtype=torch.uint8)  # as `cudnn.benchmark` tries kernels, and is done with it
        called = True
        return torch.rand(3, 8, 8)

    with FakeCuda().installed():
        measurement = Measurement(plan_of("", "cuda:0"), paint, (), {}, Pace("cpu"))
        measurement.take(drive_plainly, lambda *_: None)
        memory = measurement.observation(complete=True).memory
    assert memory is not None
    assert (memory.peak_bytes < searched_bytes) == searches, "without a search, the first call is like any other"


def test_what_cublas_keeps_from_before_is_not_in_a_calls_memory() -> None:
    with FakeCuda().installed() as cuda:
        torch.eye(2) @ torch.eye(2)
        assert cuda.cards[0].reserved_bytes >= 32 << 20
        measurement = Measurement(plan_of("", "cuda:0"), lambda: torch.rand(3, 8, 8), (), {}, Pace("cpu"))
        measurement.take(drive_plainly, lambda *_: None)
        memory = measurement.observation(complete=True).memory
    assert memory is not None
    assert memory.reserved_bytes is not None
    assert memory.peak_bytes <= memory.reserved_bytes < 1 << 20


def test_variants_stay_out_of_the_memory_of_other_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    def first() -> list[object]:
        return []

    def second() -> list[object]:
        return []

    others: dict[object, list[object]] = {}

    def held(among: list[object], target: object) -> int:
        others[target] = among
        return 300

    monkeypatch.setattr(measuring, "held_bytes", held)
    kept: list[tuple[Any, str | None]] = []
    comparing.compare(
        [Asked(target.__name__, plan_of(target.__name__, "cpu"), target, (), {}) for target in (first, second)],
        "first",
        comparison_id="case",
        argument=None,
        confidence=0.99,
        precision_rel=9.0,
        seed=0,
        drive=drive_plainly,
        progress=lambda *_: None,
        measurements=kept,
        comparisons=[],
    )
    assert others == {first: [first, second], second: [first, second]}
    for case, _ in kept:
        alone, judged = case.measurement.observation(complete=True).memory, case.observation(complete=True).memory
        assert judged.peak_bytes == alone.peak_bytes - 300
