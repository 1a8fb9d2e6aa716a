"""Pipelines of the zoo that consist of the parts of LTX-2: a video and its sound, denoised together."""

from __future__ import annotations

from typing import Any

import zoo_parts as parts
from zoo_parts import WIDTH

from pytest_diffbench.pipelines.tokenizers import vocabulary_size

LAYERS = 2
_MEL_BINS = 8

BLOCKS = {"spatio_temporal_guidance_blocks": [1]}
"""Of the transformer, that one of the four predictions leaves out; the default is the 29th."""


def _gemma_3() -> Any:
    """Gemma 3, of which only texts are asked."""
    import transformers

    config: Any = transformers.Gemma3Config(
        text_config={
            "vocab_size": vocabulary_size(),
            "hidden_size": WIDTH,
            "intermediate_size": WIDTH,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
        },
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "image_size": 32,
            "patch_size": 16,
        },
    )
    return transformers.Gemma3ForConditionalGeneration(config)


def _tokenizer() -> Any:
    """Pads on the left, as some of the classes take for granted of a Gemma."""
    tokenizer = parts.tokenizer(64)
    tokenizer.padding_side = "left"
    return tokenizer


def _connectors() -> Any:
    from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors

    heads = {"num_attention_heads": 4, "attention_head_dim": 8, "num_layers": 1, "num_learnable_registers": None}
    return LTX2TextConnectors(
        caption_channels=WIDTH,
        text_proj_in_factor=LAYERS + 1,
        connector_rope_base_seq_len=32,
        rope_double_precision=False,
        rope_type="split",
        **{f"{of}_connector_{name}": value for of in ("video", "audio") for name, value in heads.items()},
    )


def _transformer(**arguments: Any) -> Any:
    import diffusers

    return parts.stirred(
        diffusers.LTX2VideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=8,
            cross_attention_dim=16,
            audio_in_channels=4,
            audio_out_channels=4,
            audio_num_attention_heads=2,
            audio_attention_head_dim=4,
            audio_cross_attention_dim=8,
            num_layers=LAYERS,
            caption_channels=WIDTH,
            rope_double_precision=False,
            rope_type="split",
            **arguments,
        )
    )


def _video_autoencoder() -> Any:
    """Half the sides, as many frames."""
    import diffusers

    return diffusers.AutoencoderKLLTX2Video(
        latent_channels=4,
        block_out_channels=(8,),
        down_block_types=("LTX2VideoDownBlock3D",),
        decoder_block_out_channels=(8,),
        layers_per_block=(1,),
        decoder_layers_per_block=(1, 1),
        spatio_temporal_scaling=(True,),
        decoder_spatio_temporal_scaling=(True,),
        decoder_inject_noise=(False, False),
        downsample_type=("spatial",),
        upsample_type=("spatial",),
        upsample_residual=(False,),
        upsample_factor=(1,),
        patch_size=1,
        decoder_causal=False,
    )


def _audio_autoencoder() -> Any:
    import diffusers

    return diffusers.AutoencoderKLLTX2Audio(
        base_channels=4, ch_mult=(1,), num_res_blocks=1, resolution=32, latent_channels=2, mel_bins=_MEL_BINS
    )


def _vocoder() -> Any:
    from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder

    return LTX2Vocoder(
        in_channels=2 * _MEL_BINS,
        hidden_channels=32,
        upsample_kernel_sizes=[4, 4],
        upsample_factors=[2, 2],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1, 3, 5]],
        output_sampling_rate=16000,
    )


def ltx_2(kind: str = "LTX2Pipeline", **further: Any) -> Any:
    """A pipeline of LTX-2's parts.

    Args:
        kind: name of its class.
        further: arguments of the transformer.
    """
    import diffusers

    return getattr(diffusers, kind)(
        **{
            "scheduler": parts.flow(),
            "vae": _video_autoencoder(),
            "audio_vae": _audio_autoencoder(),
            "text_encoder": _gemma_3(),
            "tokenizer": _tokenizer(),
            "connectors": _connectors(),
            "transformer": _transformer(**further),
            "vocoder": _vocoder(),
        }
    )


def upsampler() -> Any:
    import diffusers
    from diffusers.pipelines.ltx2.latent_upsampler import LTX2LatentUpsamplerModel

    return diffusers.LTX2LatentUpsamplePipeline(
        vae=_video_autoencoder(),
        latent_upsampler=LTX2LatentUpsamplerModel(in_channels=4, mid_channels=32, num_blocks_per_stage=1),
    )
