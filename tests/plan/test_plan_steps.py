"""What a planned step is said to have used: the branches that the scheduler's input depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from pytest_diffbench.placeholders.content import Content, Name
from pytest_diffbench.placeholders.tensors import Layout, Placeholder, PlaceholderMode
from pytest_diffbench.plan.planning import planned_step

if TYPE_CHECKING:
    from collections.abc import Callable


def prediction(mode: PlaceholderMode, call: int, batch: int = 1) -> Placeholder:
    """What a denoiser's call returned, each entry named."""
    entries = tuple(Name(hash((call, entry)), frozenset({(call, entry)})) for entry in range(batch))
    return mode.placeholder(Layout.contiguous((batch, 4, 8, 8), torch.float32), Content(None, entries))


@pytest.mark.parametrize(
    ("mixed", "used"),
    [
        (lambda cond, uncond: uncond + 4 * (cond - uncond), "guided"),
        (lambda cond, uncond: cond * 1.0, "cond"),
        (lambda cond, uncond: uncond * 1.0, "uncond"),
        (lambda cond, uncond: torch.zeros(1, 4, 8, 8), "unknown"),
    ],
    ids=["guided", "cond", "uncond", "unknown"],
)
@pytest.mark.parametrize("joint", [None, "cond_uncond", "uncond_cond"])
def test_a_step_used_what_the_input_depends_on(mixed: Callable[[Any, Any], Any], used: str, joint: Any) -> None:
    with torch.no_grad(), PlaceholderMode() as mode:
        if joint is None:
            halves: list[Any] = [prediction(mode, 1), prediction(mode, 2)]
            predictions: list[Any] = [("cond", halves[0], None), ("uncond", halves[1], None)]
        else:
            both = prediction(mode, 1, batch=2)
            predictions = [("joint", both, joint)]
            halves = list(both.chunk(2))
        cond, uncond = halves[::-1] if joint == "uncond_cond" else halves
        step = planned_step(predictions, mixed(cond, uncond), torch.tensor([500]))
    assert step.used == used
    assert step.branches == tuple(branch for branch, *_ in predictions)
    assert step.timestep == 500.0
