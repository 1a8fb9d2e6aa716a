"""Drawn weights are stretches of one table: where it ends they go on from its beginning."""

from __future__ import annotations

import torch

from pytest_diffbench.pipelines.random_weights import fill


def test_a_parameter_longer_than_the_table_wraps_around() -> None:
    table = torch.arange(1.0, 8.0)
    layer = torch.nn.Linear(4, 8, bias=False)  # 32 elements of 7 draws; 1 / sqrt(4) is the scale
    fill(layer, "any", table)
    drawn = 2 * layer.weight.detach().flatten()
    first = int(drawn[0]) - 1
    assert drawn.tolist() == [float((first + i) % 7 + 1) for i in range(32)]


class GemmaNorm(torch.nn.Module):
    """Adds 1 to its gains, as Gemma's norms do."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((4,), 7.0))


def test_gains_are_1_biases_0_and_the_rest_is_drawn_by_fan_in() -> None:
    layers = torch.nn.ModuleDict(
        {
            "norm": torch.nn.LayerNorm(4),
            "gemma": GemmaNorm(),
            "linear": torch.nn.Linear(16, 4),
            "words": torch.nn.Embedding(4, 4),
        }
    )
    fill(layers, "any", torch.ones(5))
    values = {name: set(parameter.detach().flatten().tolist()) for name, parameter in layers.named_parameters()}
    assert values == {
        "norm.weight": {1.0},
        "norm.bias": {0.0},
        "gemma.weight": {0.0},
        "linear.weight": {0.25},
        "linear.bias": {0.0},
        "words.weight": {1.0},
    }
