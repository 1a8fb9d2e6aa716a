"""The models at their full size, from their published configurations: with blank weights, for plans, or drawn ones.

The libraries' class defaults are the published configuration where nothing is said here. Tokenizers are built in
code: they cut everyday prompts into about as many tokens as the published ones do, not into the same.
"""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import PipelineError
from pytest_diffbench.pipelines import architectures
from pytest_diffbench.pipelines.tokenizers import BOS, EOS, PAD, SPECIAL_TOKENS, build_tokenizer
from pytest_diffbench.pipelines.unloaded import placeholder_module

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from pytest_diffbench.pipelines.registry import Model

_PAD_ID, _EOS_ID, _BOS_ID = (SPECIAL_TOKENS.index(token) for token in (PAD, EOS, BOS))


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """A component with weights.

    Attributes:
        library: `diffusers` or `transformers`.
        class_name: of the model.
        config: what differs from the class's defaults.
    """

    library: str
    class_name: str
    config: Mapping[str, Any]


def _part(library: str, class_name: str, **config: Any) -> Part:
    return Part(library, class_name, MappingProxyType(config))


VAE = _part(
    "diffusers",
    "AutoencoderKL",
    block_out_channels=(128, 256, 512, 512),
    down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4,
    layers_per_block=2,
    latent_channels=16,
    sample_size=1024,
    scaling_factor=0.3611,
    shift_factor=0.1159,
    use_quant_conv=False,
    use_post_quant_conv=False,
    force_upcast=True,
)
"""FLUX's autoencoder, which Lumina uses too."""

LUMINA2: Mapping[str, Part] = MappingProxyType(
    {
        "text_encoder": _part(
            "transformers", "Gemma2Model", pad_token_id=_PAD_ID, bos_token_id=_BOS_ID, eos_token_id=_EOS_ID
        ),
        "transformer": _part("diffusers", "Lumina2Transformer2DModel", cap_feat_dim=2304),
        "vae": VAE,
    }
)
"""Gemma-2-2B is the class's defaults but for the ids of the tokenizer's own tokens."""

_XXL: Mapping[str, Any] = MappingProxyType(
    {
        "d_model": 4096,
        "d_kv": 64,
        "d_ff": 10_240,
        "num_layers": 24,
        "num_heads": 64,
        "feed_forward_proj": "gated-gelu",
        "pad_token_id": _PAD_ID,
        "eos_token_id": _EOS_ID,
        "decoder_start_token_id": _PAD_ID,
    }
)
"""Of T5 v1.1 and UMT5 alike."""

FLUX: Mapping[str, Part] = MappingProxyType(
    {
        "text_encoder": _part(
            "transformers",
            "CLIPTextModel",
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=12,
            num_attention_heads=12,
            projection_dim=768,
            pad_token_id=_PAD_ID,
            bos_token_id=_BOS_ID,
            eos_token_id=_EOS_ID,
        ),
        "text_encoder_2": _part(
            "transformers",
            "T5EncoderModel",
            **_XXL,
        ),
        "transformer": _part("diffusers", "FluxTransformer2DModel", guidance_embeds=True),
        "vae": VAE,
    }
)
"""CLIP-L and T5 v1.1 XXL."""

WAN: Mapping[str, Part] = MappingProxyType(
    {
        "text_encoder": _part(
            "transformers",
            "UMT5EncoderModel",
            vocab_size=256_384,
            **_XXL,
        ),
        "transformer": _part(
            "diffusers", "WanTransformer3DModel", num_attention_heads=12, ffn_dim=8960, num_layers=30
        ),
        "vae": _part("diffusers", "AutoencoderKLWan"),
    }
)
"""Wan 2.1 T2V 1.3B: the transformer as `scripts/convert_wan_to_diffusers.py` in diffusers' repository makes it, an
autoencoder with the class's defaults, and UMT5-XXL."""

PARTS: Mapping[str, Mapping[str, Part]] = MappingProxyType(
    {"lumina2": LUMINA2, "neta-lumina": LUMINA2, "flux": FLUX, "wan": WAN}
)
"""By the name of the model."""


def build_full_size(model: Model, dtype: torch.dtype) -> Any:
    """Build a registered model at its full size with blank weights, on the CPU, in evaluation mode.

    torch's random state is left as it was.

    Raises:
        PipelineError: its configuration isn't in the package.
    """
    return assemble(model, placeholder_components(model, dtype))


def placeholder_components(
    model: Model, dtype: torch.dtype, parts: Mapping[str, Mapping[str, Part]] = PARTS
) -> dict[str, torch.nn.Module]:
    """Build the components that have weights, each of them blank.

    Args:
        model: a registered model.
        dtype: of the weights.
        parts: their configurations, by the name of the model.

    Raises:
        PipelineError: there is no configuration for the model.
    """
    if model.name not in parts:
        raise PipelineError(
            f"model={model.name!r}: the package has no full-size configuration of it, only of "
            f"{', '.join(sorted(parts))}. Plan a folder with its configuration: diffbench plan FOLDER."
        )
    return {
        name: placeholder_module(part.library, part.class_name, part.config, dtype)
        for name, part in parts[model.name].items()
    }


def assemble(model: Model, components: Mapping[str, torch.nn.Module]) -> Any:
    """Put a model's pipeline together, with tokenizers of a full-size one."""
    pipeline = architectures.ASSEMBLIES[model.pipeline_class].pipeline(**components)
    if model.pipeline_class == "Lumina2Pipeline":
        # Word by word: a full-size model does read the system prompt.
        pipeline.register_modules(
            tokenizer=build_tokenizer(8192, add_bos=True, add_eos=False, whole_system_prompt=False)
        )
    return pipeline
