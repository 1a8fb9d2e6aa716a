"""Calls of a module that are answered from memory: which are alike, and that they count as if they had run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pytest_diffbench.placeholders.tensors import Layout
from pytest_diffbench.plan.planning import Planner


class Layer(torch.nn.Module):
    """Counts how often its own code runs, and takes four times its input for a moment."""

    ran = 0

    def forward(self, x: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        self.ran += 1
        return x.repeat(4, 1)[:1] + place.sum()


def calls(*places: torch.Tensor) -> tuple[Layer, Planner]:
    """Plan a call for each, beside a megabyte that stays in use."""
    layer, planner = Layer(), Planner()
    with planner.planning(SimpleNamespace(components={"layer": layer})):
        kept = planner.mode.placeholder(Layout.contiguous((1, 1 << 18), torch.float32))
        for place in places:
            layer(kept, place)
    return layer, planner


@pytest.mark.parametrize(
    ("first", "second", "ran"),
    [
        (torch.tensor(1), torch.tensor(2), 1),
        (torch.tensor([0.1, 0.2]), torch.tensor([0.2, 0.1]), 1),
        (torch.tensor([1, 2]), torch.tensor([1, 2]), 1),
        (torch.tensor([1, 2]), torch.tensor([2, 1]), 2),
        (torch.tensor([True, False]), torch.tensor([False, True]), 2),
        (torch.tensor([1, 2]), torch.tensor([[1, 2]]), 2),
    ],
    ids=["one number", "real numbers", "equal", "other numbers", "another mask", "another shape"],
)
def test_values_count_if_shapes_may_depend_on_values(first: Any, second: Any, ran: int) -> None:
    assert calls(first, second, first)[0].ran == ran


def test_a_remembered_call_takes_the_memory_of_the_first_call() -> None:
    place = torch.tensor([1])
    _, once = calls(place)
    layer, again = calls(*[place] * 4)
    assert layer.ran == 1
    assert again.ledger.peak_bytes == once.ledger.peak_bytes > 4 << 20
    assert again.total() == 4 * once.total()
