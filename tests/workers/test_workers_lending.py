"""What stays on the device beside a fresh process is told, whoever holds it."""

from __future__ import annotations

import contextlib
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from fake_cuda import FakeCuda

from pytest_diffbench.pipelines import devices
from pytest_diffbench.session.lending import free_device_memory

PIPELINES: Any = SimpleNamespace(about=lambda _: None, release=lambda: None)
ITEM: Any = SimpleNamespace()


class Pipeline:
    """Says that it is on a card, and moves or doesn't."""

    def __init__(self, problem: str | None = None) -> None:
        self.device = SimpleNamespace(type="cuda")
        self.problem = problem

    def to(self, device: Any) -> None:
        if self.problem is not None and device == "cpu":
            raise ValueError(self.problem)


class Offloaded(Pipeline):
    """Says that it is on the CPU, as one that offloads does."""

    def __init__(self) -> None:
        super().__init__()
        self.device = SimpleNamespace(type="cpu")


def paint() -> None:
    """Hold nothing that anybody knows of."""


@pytest.fixture
def stays(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Takes how many bytes are allocated still when all was done."""
    monkeypatch.setattr(devices, "return_memory", lambda: None)
    return lambda count: monkeypatch.setattr(devices, "allocated_bytes", lambda: count)


def lent(*targets: Any) -> list[str]:
    with contextlib.ExitStack() as room:
        return free_device_memory(PIPELINES, ITEM, list(targets), room)


HELD = "19.0 GiB stayed on the device beside the fresh process: the measured objects can't be moved"


@pytest.mark.parametrize(
    ("targets", "notes"),
    [
        ((lambda: None,), [f"{HELD}. Measure the pipeline itself, not <lambda>, to have it moved"]),
        (
            (paint, paint, lambda: None),
            [f"{HELD}. Measure the pipeline itself, not <lambda> or paint, to have it moved"],
        ),
        ((Pipeline(),), [HELD]),
        ((Offloaded(),), [HELD]),
        ((Pipeline("no"),), ["Pipeline stayed on its device beside the fresh process: ValueError: no"]),
        (
            (paint, Pipeline("no")),
            [
                "Pipeline stayed on its device beside the fresh process: ValueError: no",
                f"{HELD}. Measure the pipeline itself, not paint, to have it moved",
            ],
        ),
    ],
    ids=["lambda", "functions", "something else", "offloaded", "stubborn", "both"],
)
def test_what_stays_is_reported(stays: Any, targets: tuple[Any, ...], notes: list[str]) -> None:
    stays(19 << 30)
    assert lent(*targets) == notes


def test_a_function_without_memory_on_a_card_is_left_alone(stays: Any) -> None:
    stays(8 << 20)  # a workspace of a library
    assert lent(paint) == []


def test_workspaces_of_cublas_are_not_reported() -> None:
    import torch

    with FakeCuda(cards=3).installed() as cuda:
        for card in range(3):
            cuda.current = card
            torch.eye(2) @ torch.eye(2)
        assert devices.allocated_bytes() > 64 << 20, "more than is let pass of other libraries"
        assert lent(paint) == []


def test_the_memory_of_all_cards_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: True,
        device_count=lambda: 3,
        memory_allocated=lambda device: 10**device,
    )
    none = SimpleNamespace(is_available=lambda: False)
    torch: Any = SimpleNamespace(cuda=cuda, xpu=none, accelerator=none)
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert devices.allocated_bytes() == 111
    cuda.is_initialized = lambda: False
    assert devices.allocated_bytes() == 0


@pytest.mark.gpu
def test_a_lambda_around_weights_on_a_card_is_reported() -> None:
    import torch

    weights = torch.zeros(100 << 20, dtype=torch.uint8, device="cuda")
    (note,) = lent(lambda: weights + 1)
    assert note.startswith("0.1 GiB stayed on the device beside the fresh process: ")
    assert note.endswith("Measure the pipeline itself, not <lambda>, to have it moved")
