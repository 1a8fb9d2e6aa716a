"""How many positions a denoiser computes, told by the shape of its sample and its configuration."""

from __future__ import annotations

import types

import pytest
import torch

from pytest_diffbench.measure.handed import tokens_of


def _patched(deep: int | None) -> dict[str, object]:
    return {"in_channels": 16, "patch_size": 2, "patch_size_t": deep}


@pytest.mark.parametrize(
    ("name", "shape", "config", "tokens"),
    [
        ("hidden_states", (2, 16, 21, 60, 104), {"in_channels": 16, "patch_size": (1, 2, 2)}, 21 * 30 * 52),
        ("hidden_states", (1, 16, 33, 90, 160), _patched(1), 33 * 45 * 80),
        ("hidden_states", (2, 13, 16, 60, 90), _patched(None), 13 * 30 * 45),
        ("hidden_states", (2, 12, 16, 60, 90), _patched(2), 6 * 30 * 45),
        ("hidden_states", (1, 4992, 128), {"in_channels": 128, "patch_size": 1}, 4992),
        ("hidden_states", (2, 4, 64, 64), {"in_channels": 4, "patch_size": 2}, 32 * 32),
        ("hidden_states", (2, 4, 65, 65), {"in_channels": 4, "patch_size": 2}, 33 * 33),
        ("sample", (2, 4, 64, 64), {"in_channels": 4}, 64 * 64),
        ("sample", (2, 4, 14, 64, 64), {}, 14 * 64 * 64),
        ("sample", (2, 768), {}, 1),
        ("x.0", (16, 1, 64, 64), {"in_channels": 16}, 64 * 64),
        ("embeddings", (2, 4, 64, 64), {}, 0),
    ],
)
def test_tokens_are_frames_by_height_by_width(
    name: str, shape: tuple[int, ...], config: dict[str, object], tokens: int
) -> None:
    module = types.SimpleNamespace(config=config)
    arguments = {name: torch.empty(shape, device="meta"), "timestep": torch.empty(1)}
    assert tokens_of(module, arguments) == tokens


def test_tokens_without_a_configuration_are_positions() -> None:
    assert tokens_of(object(), {"sample": torch.empty(1, 4, 8, 8)}) == 64
