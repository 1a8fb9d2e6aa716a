"""Pipelines of the zoo that denoise with a transformer, and read the prompt with another language model."""

from __future__ import annotations

import functools
import importlib
import types
from typing import Any

import numpy as np
import torch
import zoo_parts as parts
from zoo_parts import WIDTH

from pytest_diffbench.pipelines.tokenizers import vocabulary_size


def _flux_2_transformer(**arguments: Any) -> Any:
    import diffusers

    return diffusers.Flux2Transformer2DModel(
        **parts.PACKED,
        joint_attention_dim=3 * WIDTH,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        **arguments,
    )


def flux_2() -> Any:
    import diffusers
    import transformers

    config: Any = transformers.Mistral3Config(
        text_config={
            "model_type": "mistral",
            "vocab_size": vocabulary_size(),
            "hidden_size": WIDTH,
            "intermediate_size": WIDTH,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
        },
        vision_config={
            "model_type": "pixtral",
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "image_size": 28,
            "patch_size": 14,
        },
    )
    return diffusers.Flux2Pipeline(
        scheduler=parts.flow(),
        vae=parts.flux2_autoencoder(),
        text_encoder=transformers.Mistral3ForConditionalGeneration(config),
        tokenizer=parts.ChatOnly(),
        transformer=_flux_2_transformer(),
    )


def flux_2_klein() -> Any:
    import diffusers

    return diffusers.Flux2KleinPipeline(
        scheduler=parts.flow(),
        vae=parts.flux2_autoencoder(),
        text_encoder=parts.decoder_only("Qwen3", model="ForCausalLM", num_hidden_layers=3),
        tokenizer=parts.tokenizer(512, add_eos=False),
        transformer=_flux_2_transformer(guidance_embeds=False),
    )


def cogview_4() -> Any:
    import diffusers

    return diffusers.CogView4Pipeline(
        tokenizer=parts.tokenizer(256),
        text_encoder=parts.decoder_only("Glm"),
        vae=parts.tiny_autoencoder(),
        transformer=diffusers.CogView4Transformer2DModel(
            in_channels=4,
            out_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            text_embed_dim=WIDTH,
            time_embed_dim=8,
            condition_dim=4,
            sample_size=8,
            rope_axes_dim=(64, 64),
        ),
        scheduler=parts.flow(),
    )


def bria_fibo() -> Any:
    import diffusers

    return diffusers.BriaFiboPipeline(
        transformer=diffusers.BriaFiboTransformer2DModel(
            **parts.PACKED | {"in_channels": 4},
            joint_attention_dim=2 * WIDTH,
            axes_dims_rope=[4, 4, 8],
            text_encoder_dim=WIDTH,
        ),
        scheduler=parts.flow(),
        vae=parts.wan_autoencoder(),
        text_encoder=parts.decoder_only("SmolLM3", model="ForCausalLM"),
        tokenizer=parts.tokenizer(256),
    )


def ernie_image() -> Any:
    import diffusers

    return diffusers.ErnieImagePipeline(
        transformer=parts.stirred(
            diffusers.ErnieImageTransformer2DModel(
                hidden_size=32,
                num_attention_heads=2,
                num_layers=1,
                ffn_hidden_size=32,
                in_channels=16,
                out_channels=16,
                text_in_dim=WIDTH,
                rope_axes_dim=(4, 6, 6),
            )
        ),
        vae=parts.flux2_autoencoder(),
        text_encoder=parts.decoder_only("Mistral"),
        tokenizer=parts.tokenizer(256),
        scheduler=parts.flow(),
    )


def _transforms() -> Any:
    """What OmniGen takes from torchvision, which isn't installed: a picture as a tensor of -1 to 1."""

    def in_sequence(steps: list[Any]) -> Any:
        return lambda picture: functools.reduce(lambda value, step: step(value), steps, picture)

    def shifted(mean: list[float], std: list[float], **_: Any) -> Any:
        return lambda tensor: (tensor - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]

    def tensor(picture: Any) -> torch.Tensor:
        return torch.from_numpy(np.asarray(picture, np.float32) / 255).permute(2, 0, 1)

    return types.SimpleNamespace(
        Compose=in_sequence, Lambda=lambda function: function, ToTensor=lambda: tensor, Normalize=shifted
    )


def omnigen() -> Any:
    import diffusers

    package = "diffusers.pipelines.omnigen"
    processor: Any = importlib.import_module(f"{package}.processor_omnigen")
    if not hasattr(processor, "transforms"):
        processor.transforms = _transforms()
        pipeline: Any = importlib.import_module(f"{package}.pipeline_omnigen")
        pipeline.OmniGenMultiModalProcessor = processor.OmniGenMultiModalProcessor
    return diffusers.OmniGenPipeline(
        transformer=parts.stirred(
            diffusers.OmniGenTransformer2DModel(
                hidden_size=16,
                num_attention_heads=2,
                num_key_value_heads=2,
                intermediate_size=16,
                num_layers=1,
                vocab_size=vocabulary_size(),
                pad_token_id=0,
                time_step_dim=16,
                rope_scaling={"long_factor": [1.0] * 4, "short_factor": [1.0] * 4},
            )
        ),
        scheduler=parts.flow(invert_sigmas=True, num_train_timesteps=1),
        vae=parts.tiny_autoencoder(),
        tokenizer=parts.tokenizer(512),
    )
