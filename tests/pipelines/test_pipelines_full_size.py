"""The architectures that the minis stand in for, at their full size and without their weights."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import torch


@pytest.mark.parametrize(
    ("class_name", "arguments", "parameters"),
    [
        ("Lumina2Transformer2DModel", {"cap_feat_dim": 2304}, 2_609_769_152),
        ("FluxTransformer2DModel", {"guidance_embeds": True}, 11_901_408_320),
    ],
)
def test_number_of_parameters(class_name: str, arguments: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        denoiser = getattr(import_module("diffusers"), class_name)(**arguments)
    assert sum(parameter.numel() for parameter in denoiser.parameters()) == parameters
