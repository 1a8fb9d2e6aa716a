"""Pipelines of the zoo of HunyuanVideo's further versions: 1.5, and FramePack."""

from __future__ import annotations

from typing import Any

import zoo_parts as parts
import zoo_video as video
from zoo_parts import WIDTH


def hunyuan_15(kind: str = "HunyuanVideo15Pipeline", **further: Any) -> Any:
    """A pipeline of HunyuanVideo 1.5's parts, whose scale is a guider's.

    Args:
        kind: name of its class.
        further: components beside them.
    """
    import diffusers

    target: Any = getattr(diffusers, kind)
    pipeline = target(
        text_encoder=parts.qwen25_vl(hidden_layers=4).model.language_model,
        tokenizer=parts.tokenizer(1000, add_eos=False),
        transformer=parts.stirred(
            diffusers.HunyuanVideo15Transformer3DModel(
                in_channels=9,
                out_channels=4,
                num_attention_heads=2,
                attention_head_dim=8,
                num_layers=1,
                num_refiner_layers=1,
                text_embed_dim=WIDTH,
                text_embed_2_dim=WIDTH,
                image_embed_dim=WIDTH,
                rope_axes_dim=(2, 2, 4),
                target_size=16,
            )
        ),
        vae=diffusers.AutoencoderKLHunyuanVideo15(
            latent_channels=4,
            block_out_channels=(32, 32, 32, 32),
            layers_per_block=1,
            spatial_compression_ratio=8,
        ),
        scheduler=parts.flow(shift=7.0),
        text_encoder_2=parts.t5(),
        tokenizer_2=parts.tokenizer(256),
        guider=diffusers.ClassifierFreeGuidance(guidance_scale=4.0),
        **further,
    )
    pipeline.system_message = ""  # its own, and where the prompt begins behind it, are those of a real tokenizer
    pipeline.prompt_template_encode_start_idx = 0
    pipeline.vision_num_semantic_tokens = 4
    return pipeline


def framepack() -> Any:
    """HunyuanVideo frame by frame, with what went before packed."""
    import diffusers

    transformer = parts.stirred(
        diffusers.HunyuanVideoFramepackTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=10,
            num_layers=1,
            num_single_layers=1,
            num_refiner_layers=1,
            text_embed_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            rope_axes_dim=(2, 4, 4),
            has_image_proj=True,
            image_proj_dim=WIDTH,
            has_clean_x_embedder=True,
        )
    )
    further = {"image_encoder": parts.siglip(), "feature_extractor": parts.siglip_images()}
    return diffusers.HunyuanVideoFramepackPipeline(
        **video.hunyuan().components | {"transformer": transformer} | further
    )
