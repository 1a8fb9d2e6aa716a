"""Pipelines of the zoo that make videos with a UNet."""

from __future__ import annotations

from typing import Any

import zoo_parts as parts
import zoo_unets as unets
from zoo_entry import derived
from zoo_parts import WIDTH


def animatediff(kind: str = "AnimateDiffPipeline", **further: Any) -> Any:
    """Stable Diffusion with a motion module in each block."""
    import diffusers

    def motion(_: Any) -> Any:
        return parts.stirred(
            diffusers.MotionAdapter(
                block_out_channels=(8, 16),
                motion_layers_per_block=1,
                motion_norm_num_groups=2,
                motion_num_attention_heads=2,
                use_motion_mid_block=False,
                conv_in_channels=9 if kind == "PIAPipeline" else None,
            )
        )

    make = derived(
        kind,
        unets.stable_diffusion_xl if "XL" in kind else unets.stable_diffusion,
        motion_adapter=motion,
        feature_extractor=None,
        image_encoder=None,
        **further,
    )
    return make()


def text_to_video(kind: str = "TextToVideoSDPipeline") -> Any:
    import diffusers

    def unet(_: Any) -> Any:
        return parts.stirred(
            diffusers.UNet3DConditionModel(
                block_out_channels=(8, 16),
                layers_per_block=1,
                sample_size=8,
                down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
                up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
                cross_attention_dim=WIDTH,
                attention_head_dim=4,
                norm_num_groups=2,
            )
        )

    make = derived(kind, unets.stable_diffusion, unet=unet)
    return make()


def stable_video() -> Any:
    """From a picture, with a scale that grows from frame to frame."""
    import diffusers

    return diffusers.StableVideoDiffusionPipeline(
        vae=diffusers.AutoencoderKLTemporalDecoder(
            block_out_channels=(32, 32, 32, 32),
            down_block_types=("DownEncoderBlock2D",) * 4,
            latent_channels=4,
        ),
        image_encoder=parts.clip_vision(224),
        unet=parts.stirred(
            diffusers.UNetSpatioTemporalConditionModel(
                block_out_channels=(32, 64),
                layers_per_block=1,
                sample_size=8,
                down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
                up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
                cross_attention_dim=WIDTH,
                num_attention_heads=(2, 4),
                projection_class_embeddings_input_dim=96,
                addition_time_embed_dim=32,
            )
        ),
        scheduler=diffusers.EulerDiscreteScheduler(
            prediction_type="v_prediction",
            timestep_type="continuous",
            use_karras_sigmas=True,
            sigma_min=0.002,
            sigma_max=700.0,
        ),
        feature_extractor=parts.clip_images(),
    )
