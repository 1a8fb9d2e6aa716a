"""A planted slowdown takes the time that it says, and changes nothing that is computed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention
from torch import nn

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.measure import clock, planting
from pytest_diffbench.measure.planting import plant


class Clock:
    """Moves by a microsecond at each look, and when it is told to."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        self.now_ns += 1000
        return self.now_ns


class Denoiser(nn.Module):
    """Takes .1 s a call, of which .04 s in attention."""

    def __init__(self, ticks: Clock) -> None:
        super().__init__()
        self.ticks = ticks
        self.calls = 0
        self.attention = Attention(query_dim=8, heads=1, dim_head=8)
        vars(self.attention)["forward"] = self._attend

    def _attend(self, x: torch.Tensor) -> torch.Tensor:
        self.ticks.now_ns += 40_000_000
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.ticks.now_ns += 60_000_000
        attended: torch.Tensor = self.attention(x)
        return attended + 1


class Pipeline:
    device = torch.device("cpu")


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Clock:
    ticks = Clock()
    monkeypatch.setattr(clock, "now_ns", ticks)
    return ticks


@pytest.fixture
def denoiser(ticks: Clock, monkeypatch: pytest.MonkeyPatch) -> Denoiser:
    denoiser_with_clock = Denoiser(ticks)
    monkeypatch.setattr(planting, "denoisers_of", lambda _: {"transformer": denoiser_with_clock})
    return denoiser_with_clock


def took_s(denoiser: Denoiser, calls: int = 1) -> float:
    begin_ns = denoiser.ticks.now_ns
    for _ in range(calls):
        assert denoiser(torch.zeros(1)).tolist() == [1.0]
    return (denoiser.ticks.now_ns - begin_ns) / 1e9


@pytest.mark.parametrize(
    ("slowdown", "seconds"),
    [("delay:0.5", 0.15), ("delay:0.05", 0.105), ("attention:0.5", 0.12), ("calls:1/1", 0.2)],
)
def test_a_call_takes_as_much_longer_as_was_planted(denoiser: Denoiser, slowdown: str, seconds: float) -> None:
    assert took_s(denoiser) == pytest.approx(0.1, abs=1e-4)
    plant(Pipeline(), slowdown)
    assert took_s(denoiser) == pytest.approx(seconds, abs=1e-4)


def test_time_is_taken_where_an_offloaded_pipeline_computes(
    denoiser: Denoiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Offloaded(Pipeline):
        _execution_device = torch.device("cuda", 0)

    asked: list[str] = []

    def clock_of(device: str) -> Any:
        asked.append(device)
        return clock.clock_for("cpu")

    monkeypatch.setattr(planting, "clock_for", clock_of)
    plant(Offloaded(), "delay:0.5")
    assert asked == ["cuda:0"]


def test_extra_calls_are_spread_and_as_many_as_were_planted(denoiser: Denoiser) -> None:
    plant(Pipeline(), "calls:2/6")
    counts = []
    for _ in range(12):
        before = denoiser.calls
        took_s(denoiser)
        counts.append(denoiser.calls - before)
    assert counts == [1, 1, 2, 1, 1, 2] * 2


@pytest.mark.parametrize(
    ("slowdown", "denoisers", "message"),
    [
        ("delay:1", {}, "Pipeline has no delay to slow down"),
        ("attention:1", {"unet": nn.Linear(1, 1)}, "Pipeline has no attention to slow down"),
        ("magic:1", {"unet": nn.Linear(1, 1)}, "use delay, attention or calls"),
    ],
)
def test_what_cannot_be_planted_is_refused(
    monkeypatch: pytest.MonkeyPatch, slowdown: str, denoisers: Any, message: str
) -> None:
    monkeypatch.setattr(planting, "denoisers_of", lambda _: denoisers)
    with pytest.raises(MeasureError, match=message):
        plant(Pipeline(), slowdown)
