"""Parts that the tests' tiny pipelines of several classes share."""

from __future__ import annotations

from typing import Any

import torch

from pytest_diffbench.pipelines.tokenizers import BOS, EOS, PAD, SPECIAL_TOKENS, vocabulary_size

_WIDTH = 32


def tiny_clip(*, projected: bool) -> Any:
    """A CLIP text encoder of two layers, with random weights; `projected` adds its projection."""
    import transformers

    pad, eos, bos = (SPECIAL_TOKENS.index(token) for token in (PAD, EOS, BOS))
    config: Any = transformers.CLIPTextConfig(
        vocab_size=vocabulary_size(),
        hidden_size=_WIDTH,
        intermediate_size=_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        projection_dim=_WIDTH,
        pad_token_id=pad,
        eos_token_id=eos,
        bos_token_id=bos,
    )
    return (transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel)(config)


def tiny_autoencoder(**arguments: Any) -> Any:
    """An autoencoder of four levels and four latent channels, with random weights."""
    import diffusers

    return diffusers.AutoencoderKL(
        **arguments,
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
        shift_factor=0.1,
    )


def quiet(pipeline: Any) -> Any:
    """Ready a pipeline for being measured: evaluation mode, no gradients, no progress bar."""
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
