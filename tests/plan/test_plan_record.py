"""What stands in a plan of each component."""

from __future__ import annotations

import torch

from pytest_diffbench.plan.record import plan_of


class Target:
    """A pipeline with one component that it calls, and one that it doesn't."""

    def __init__(self) -> None:
        self.components = {"used": torch.nn.Linear(4, 8), "idle": torch.nn.Linear(4, 2)}

    def __call__(self, size: int) -> torch.Tensor:
        return self.components["used"](torch.zeros(size, 4))  # type: ignore[no-any-return]  # of a module


def test_an_uncalled_component_has_weights_and_no_work(real_libraries: None) -> None:
    parts = {part.name: part for part in plan_of(Target(), {"size": 3}, source="a test", dtype="float32").parts}
    idle, used = parts["idle"], parts["used"]
    assert (idle.calls, idle.flops, idle.activations_peak_bytes) == (0, 0, 0)
    assert (idle.parameters, idle.weights_bytes) == (10, 40)
    assert (used.calls, used.flops, used.parameters) == (1, 2 * 3 * 4 * 8, 40)
