"""The full-size models with all their layers and steps, yet narrow: what depth does to values shows in seconds."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pytest_diffbench.pipelines.full_size import FLUX, LUMINA2, WAN, Part
from pytest_diffbench.pipelines.tokenizers import vocabulary_size

if TYPE_CHECKING:
    from collections.abc import Mapping

_WIDTH = 64


def _narrowed(part: Part, **config: Any) -> Part:
    return dataclasses.replace(part, config=MappingProxyType({**part.config, **config}))


_VAE = _narrowed(LUMINA2["vae"], block_out_channels=(32, 32, 64, 64))

_LUMINA2 = {
    "text_encoder": _narrowed(
        LUMINA2["text_encoder"],
        vocab_size=vocabulary_size(),
        hidden_size=_WIDTH,
        intermediate_size=2 * _WIDTH,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        query_pre_attn_scalar=16,
    ),
    "transformer": _narrowed(
        LUMINA2["transformer"],
        hidden_size=_WIDTH,
        num_attention_heads=4,
        num_kv_heads=2,
        multiple_of=32,
        axes_dim_rope=(4, 6, 6),
        cap_feat_dim=_WIDTH,
    ),
    "vae": _VAE,
}

_FLUX = {
    "text_encoder": _narrowed(
        FLUX["text_encoder"],
        vocab_size=vocabulary_size(),
        hidden_size=_WIDTH,
        intermediate_size=2 * _WIDTH,
        num_attention_heads=4,
        projection_dim=_WIDTH,
    ),
    "text_encoder_2": _narrowed(
        FLUX["text_encoder_2"],
        vocab_size=vocabulary_size(),
        d_model=_WIDTH,
        d_kv=16,
        d_ff=2 * _WIDTH,
        num_heads=4,
    ),
    "transformer": _narrowed(
        FLUX["transformer"],
        num_attention_heads=4,
        attention_head_dim=16,
        axes_dims_rope=(4, 6, 6),
        joint_attention_dim=_WIDTH,
        pooled_projection_dim=_WIDTH,
    ),
    "vae": _VAE,
}

_WAN = {
    "text_encoder": _narrowed(
        WAN["text_encoder"], vocab_size=vocabulary_size(), d_model=_WIDTH, d_kv=16, d_ff=2 * _WIDTH, num_heads=4
    ),
    "transformer": _narrowed(
        WAN["transformer"], num_attention_heads=4, attention_head_dim=16, ffn_dim=2 * _WIDTH, text_dim=_WIDTH
    ),
    "vae": _narrowed(WAN["vae"], base_dim=16),
}

NARROW: Mapping[str, Mapping[str, Part]] = MappingProxyType(
    {"lumina2": _LUMINA2, "neta-lumina": _LUMINA2, "flux": _FLUX, "wan": _WAN}
)
"""By the name of the model, as `full_size.PARTS`."""
