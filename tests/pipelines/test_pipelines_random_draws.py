"""Drawn weights are stretches of one table: where it ends they go on from its beginning."""

from __future__ import annotations

import torch

from pytest_diffbench.pipelines.random_weights import fill


def test_a_parameter_longer_than_the_table_goes_round_it() -> None:
    table = torch.arange(1.0, 8.0)
    layer = torch.nn.Linear(4, 8, bias=False)  # 32 elements of 7 draws; 1 / sqrt(4) is the scale
    fill(layer, "any", table)
    drawn = 2 * layer.weight.detach().flatten()
    first = int(drawn[0]) - 1
    assert drawn.tolist() == [float((first + i) % 7 + 1) for i in range(32)]
