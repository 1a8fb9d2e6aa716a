"""Pipelines of the zoo with an IP-Adapter, whose weights are drawn: a picture beside the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from zoo_parts import WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable

_TOKENS = 4
"""That a picture is read as."""


def _weights(unet: Any) -> dict[str, dict[str, torch.Tensor]]:
    """What an IP-Adapter's file holds: a projection of the picture, keys and values of each cross-attention."""
    generator = torch.Generator().manual_seed(3)

    def drawn(*shape: int) -> torch.Tensor:
        return 0.2 * torch.randn(shape, generator=generator)

    width = unet.config.cross_attention_dim
    crossing = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    attention: dict[str, torch.Tensor] = {}
    for number, name in enumerate(crossing):
        rows = unet.get_submodule(name.removesuffix(".processor")).to_k.weight.shape[0]
        for part in ("to_k_ip", "to_v_ip"):
            attention[f"{2 * number + 1}.{part}.weight"] = drawn(rows, width)
    projection = {
        "proj.weight": drawn(_TOKENS * width, WIDTH),
        "proj.bias": drawn(_TOKENS * width),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }
    return {"image_proj": projection, "ip_adapter": attention}


def with_ip_adapter(build: Callable[[], Any]) -> Callable[[], Any]:
    """A builder of the same pipeline, which has an image encoder, with an adapter loaded."""

    def make() -> Any:
        pipeline = build()
        pipeline.load_ip_adapter(_weights(pipeline.unet), subfolder="", weight_name="", image_encoder_folder=None)
        pipeline.set_ip_adapter_scale(0.6)
        return pipeline

    return make
