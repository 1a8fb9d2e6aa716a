"""Measuring on an accelerator that works by itself, in virtual time: what no CPU shows, and no GPU is needed for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from fake_cuda import FakeCuda
from real_calls import PROMPT, SMALL, mini, new_mini, prepared, read_back, take

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.measure import runner
from pytest_diffbench.measure.clock import clock_for
from pytest_diffbench.measure.memory import gauge_for
from pytest_diffbench.measure.pace import Pace
from pytest_diffbench.measure.rounds import drive_plainly
from pytest_diffbench.pipelines import devices

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_diffbench.records import Observation

pytestmark = pytest.mark.pipeline


@pytest.fixture
def cuda() -> Iterator[FakeCuda]:
    with FakeCuda(cards=2).installed() as fake:
        yield fake


def observed(pipeline: Any, rounds: int = 2) -> Observation:
    return take(prepared(pipeline, PROMPT, device="cuda:0", rounds=rounds, pace=Pace("cpu"), **SMALL))


def test_stages_are_timed_by_events_and_add_up(cuda: FakeCuda) -> None:
    observation = observed(mini("lumina2"))
    for timed in observation.run.rounds:
        assert sum(timed.stages_s.values()) == pytest.approx(timed.total_s, rel=0.02)
        assert len(timed.steps_s) == 2
        assert min(timed.stages_s.values()) >= 0
    assert observation.memory is not None
    assert observation.memory.source == "cuda_allocator"
    assert observation.run.environment.hardware["device"] == "NVIDIA H100 80GB HBM3"


def test_the_package_never_waits_within_a_timed_round(cuda: FakeCuda) -> None:
    pipeline = mini("lumina2")
    cuda.syncs.clear()
    pipeline(PROMPT, generator=torch.Generator().manual_seed(0), **SMALL)
    own = len(cuda.syncs)
    waits: list[int] = []

    def drive(prepare: Any, run: Any, finish: Any, rounds: int) -> None:
        for _ in range(rounds):
            prepare()
            before = len(cuda.syncs)
            run()
            waits.append(len(cuda.syncs) - before)
            finish()

    prepared(pipeline, PROMPT, device="cuda:0", rounds=2, pace=Pace("cpu"), **SMALL).take(drive, lambda *_: None)
    assert waits == [own + 1] * 2, "the pipeline's own, and one at the end"


def test_a_longer_kernel_shows_in_a_single_stage(cuda: FakeCuda) -> None:
    pipeline = mini("lumina2")
    before = observed(pipeline).run.stage_medians_s
    cuda.kernel_us = lambda operator: 2000.0 if "convolution" in str(operator) else 20.0
    after = observed(pipeline).run.stage_medians_s
    assert after["vae_decode"] > 2 * before["vae_decode"]
    for stage in ("text_encode", "denoise"):
        assert after[stage] == pytest.approx(before[stage], rel=0.05)


def test_the_work_of_a_second_card_is_waited_for_and_timed(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = new_mini("lumina2")
    monkeypatch.setattr(runner, "devices_of", lambda *_: ("cuda:0", "cuda:1"))
    alone = observed(pipeline).run.stage_medians_s
    cuda.kernel_us = lambda _: 20.0 if cuda.current == 0 else 400.0
    with cuda.on(pipeline.vae.decoder, 1):
        observation = observed(pipeline)
    assert observation.run.stage_medians_s["vae_decode"] > 5 * alone["vae_decode"]
    assert observation.memory is not None
    for timed in observation.run.rounds:
        assert sum(timed.stages_s.values()) == pytest.approx(timed.total_s, rel=0.02)


def test_components_on_other_cards_are_located() -> None:
    class Elsewhere(torch.nn.Module):
        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

        def parameters(self, recurse: bool = True) -> Any:  # torch's signature
            return iter([type("Parameter", (), {"device": torch.device("cuda", self.index)})()])

    pipeline = type("Pipeline", (), {"components": {"vae": Elsewhere(1), "unet": Elsewhere(0), "tokenizer": None}})
    assert devices.devices_of(pipeline, "cuda:0") == ("cuda:0", "cuda:1")
    assert devices.devices_of(pipeline, "cpu") == ("cpu",)


def test_what_is_reserved_does_not_depend_on_what_ran_before(cuda: FakeCuda) -> None:
    pipeline = mini("lumina2")
    pipeline(PROMPT, **SMALL)  # so that the first of the two isn't the process's first
    first = observed(pipeline, rounds=1).memory
    block = torch.empty(64 << 20, dtype=torch.uint8)
    del block
    assert cuda.cards[0].reserved_bytes >= 64 << 20, "the cache keeps it"
    again = observed(pipeline, rounds=1).memory
    assert first is not None
    assert again is not None
    assert first.reserved_bytes is not None
    assert again.reserved_bytes == pytest.approx(first.reserved_bytes, abs=4096), "but for single numbers"
    assert all(stage.reserved_bytes is None for stage in again.stages.values())


def test_memory_kept_by_graphs_counts(cuda: FakeCuda) -> None:
    gauge = gauge_for("cuda:0")
    assert gauge is not None
    gauge.reset()
    before, _ = gauge.read()
    cuda.cards[0].graph_pool_bytes = 300 << 20
    cuda.cards[1].graph_pool_bytes = 1 << 30  # of another device
    assert gauge.read()[0] - before == 300 << 20


@pytest.mark.parametrize(
    "error",
    [
        lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        lambda: torch.AcceleratorError("CUDA error: out of memory"),
    ],
    ids=["allocator", "cublas", "driver"],
)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99], ids=["first", "middle", "last"])
def test_running_out_of_memory_is_reported_and_the_next_measurement_goes_on(
    cuda: FakeCuda, error: Any, share: float
) -> None:
    pipeline = mini("lumina2")
    before = cuda.launches
    pipeline(PROMPT, **SMALL)
    cuda.fails_at = cuda.launches + max(1, round(share * (cuda.launches - before)))
    cuda.error = error
    measurement = prepared(pipeline, PROMPT, device="cuda:0", pace=Pace("cpu"), **SMALL)
    with pytest.raises(MeasureError, match="ran out of memory"):
        measurement.take(drive_plainly, lambda *_: None)
    assert not read_back(measurement, complete=False).run.rounds
    assert observed(pipeline, rounds=1).complete


def test_an_event_is_asked_only_once_the_device_got_there(cuda: FakeCuda) -> None:
    clock = clock_for("cuda:0")
    first = clock.mark()
    torch.ones(8) + 1
    last = clock.mark()
    with pytest.raises(AssertionError, match="before the device got there"):
        clock.seconds([first, last])
    clock.synchronize()
    assert clock.seconds([first, last])[1] > 0
