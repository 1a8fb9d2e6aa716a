"""Pipelines of the zoo that make sound."""

from __future__ import annotations

from typing import Any

import zoo_parts as parts
from zoo_parts import WIDTH

from pytest_diffbench.pipelines.tokenizers import vocabulary_size


def _clap_text() -> Any:
    import transformers

    return transformers.ClapTextConfig(
        vocab_size=vocabulary_size(),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        projection_dim=WIDTH,
        max_position_embeddings=80,
        pad_token_id=0,
    )


def _clap() -> Any:
    import transformers

    heard: Any = transformers.ClapAudioConfig(
        spec_size=64,
        window_size=4,
        num_mel_bins=64,
        hidden_size=WIDTH,
        patch_stride=[2, 2],
        patch_embeds_hidden_size=4,
        depths=[1, 1],
        num_attention_heads=[1, 1],
        num_hidden_layers=2,
        projection_dim=WIDTH,
    )
    config: Any = transformers.ClapConfig(
        text_config=_clap_text().to_dict(), audio_config=heard.to_dict(), projection_dim=WIDTH
    )
    return transformers.ClapModel(config)


def _hearing() -> Any:
    import transformers

    return transformers.ClapFeatureExtractor(feature_size=64, hop_length=480, sampling_rate=16000)


def _vocoder() -> Any:
    import transformers

    config: Any = transformers.SpeechT5HifiGanConfig(
        model_in_dim=8,
        sampling_rate=16000,
        upsample_initial_channel=16,
        upsample_rates=[2, 2],
        upsample_kernel_sizes=[4, 4],
        resblock_kernel_sizes=[3, 7],
        resblock_dilation_sizes=[[1, 3, 5], [1, 3, 5]],
        normalize_before=False,
    )
    return parts.stirred(transformers.SpeechT5HifiGan(config))  # as it comes, it is all but silent


def _autoencoder() -> Any:
    """Of spectrograms of one channel and eight bins, with latents of half the sides."""
    import diffusers

    return diffusers.AutoencoderKL(
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
    )


def audio_ldm() -> Any:
    import diffusers
    import transformers

    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=(8, 16),
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=WIDTH,
        class_embeddings_concat=True,
    )
    return diffusers.AudioLDMPipeline(
        vae=_autoencoder(),
        text_encoder=transformers.ClapTextModelWithProjection(_clap_text()),
        tokenizer=parts.tokenizer(),
        unet=unet,
        scheduler=diffusers.DDIMScheduler(clip_sample=False),
        vocoder=_vocoder(),
    )


def audio_ldm_2() -> Any:
    import diffusers
    import transformers
    from diffusers.pipelines.audioldm2.modeling_audioldm2 import (
        AudioLDM2ProjectionModel,
        AudioLDM2UNet2DConditionModel,
    )

    language: Any = transformers.GPT2Config(n_embd=16, n_head=2, n_layer=1, vocab_size=99, n_positions=99)
    return diffusers.AudioLDM2Pipeline(
        vae=_autoencoder(),
        text_encoder=_clap(),
        text_encoder_2=parts.t5(),
        projection_model=AudioLDM2ProjectionModel(
            text_encoder_dim=WIDTH, text_encoder_1_dim=WIDTH, langauge_model_dim=16
        ),
        language_model=transformers.GPT2LMHeadModel(language),
        tokenizer=parts.tokenizer(),
        tokenizer_2=parts.tokenizer(),
        feature_extractor=_hearing(),
        unet=AudioLDM2UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 16),
            layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=((None, 16, 32), (None, 16, 32)),
            attention_head_dim=4,
        ),
        scheduler=diffusers.DDIMScheduler(clip_sample=False),
        vocoder=_vocoder(),
    )
