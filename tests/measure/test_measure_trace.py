"""Sketches: linear, norm-preserving, and the same for ever."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pytest_diffbench.measure.trace import SKETCH_SIZE, first_tensor, sketch, tensors_in


def random_tensor(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_norms_and_distances_survive() -> None:
    estimates = []
    for seed in range(20):
        a = random_tensor(seed, 1, 16, 32, 32)
        b = a + 0.01 * random_tensor(seed + 100, 1, 16, 32, 32)
        estimates.append(np.linalg.norm(sketch(a) - sketch(b)) / (a - b).norm().item())
    # One estimate has a relative standard deviation of about 1 / sqrt(2 * SKETCH_SIZE) = 4.4 %.
    assert np.mean(estimates) == pytest.approx(1, abs=0.03)
    assert max(abs(one - 1) for one in estimates) < 0.2


def test_it_is_linear() -> None:
    a, b = random_tensor(0, 1000), random_tensor(1, 1000)
    assert sketch(2 * a - b) == pytest.approx(2 * sketch(a) - sketch(b), abs=1e-4)


def test_the_projection_never_changes() -> None:
    # Baselines hold sketches, so a change of the projection would part every trace at its beginning.
    first = sketch(torch.arange(8, dtype=torch.float32))
    assert first.shape == (SKETCH_SIZE,)
    assert {int(i): float(first[i]) for i in first.nonzero()[0]} == GOLDEN


GOLDEN = {60: 7.0, 79: -2.0, 155: -4.0, 225: -6.0, 234: -5.0, 236: 3.0, 244: -1.0}


def test_a_tensor_is_found_where_pipelines_put_it() -> None:
    tensor = torch.ones(2)
    assert first_tensor((tensor, 1)) is tensor
    assert first_tensor({"sample": tensor}) is tensor
    assert first_tensor("text") is None
    assert tensors_in((None, [tensor], {"x": tensor})) == [tensor, tensor]
