"""Pipelines of the zoo that consist of the parts of Wan."""

from __future__ import annotations

from typing import Any

import zoo_parts as parts
from zoo_entry import derived
from zoo_parts import WIDTH


def autoencoder() -> Any:
    """Four times fewer frames, eight times smaller sides."""
    import diffusers

    return diffusers.AutoencoderKLWan(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )


_WAN: dict[str, Any] = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": WIDTH,
    "freq_dim": 32,
    "ffn_dim": 32,
    "num_layers": 2,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "rope_max_seq_len": 32,
}


def _wan_transformer(kind: str = "WanTransformer3DModel", **arguments: Any) -> Any:
    import diffusers

    return parts.stirred(getattr(diffusers, kind)(**_WAN | arguments))


def wan(
    kind: str = "WanPipeline",
    *,
    denoiser: str = "WanTransformer3DModel",
    options: dict[str, Any] | None = None,
    **transformer: Any,
) -> Any:
    """A pipeline of Wan's parts.

    Args:
        kind: name of its class.
        denoiser: name of its transformer's class.
        options: of the pipeline.
        transformer: arguments of the transformer.
    """
    import diffusers

    unipc = diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    target = getattr(diffusers, kind)
    parts.do_without_ftfy(target)
    return target(
        **{
            "tokenizer": parts.tokenizer(512),
            "text_encoder": parts.t5(),
            "transformer": _wan_transformer(denoiser, **transformer),
            "vae": autoencoder(),
            "scheduler": unipc,
        }
        | (options or {}),
    )


def wan_22() -> Any:
    """Two transformers: one for the noisy steps, the other for the rest."""
    return wan(options={"transformer_2": _wan_transformer(), "boundary_ratio": 0.875})


def wan_image() -> Any:
    return wan(
        "WanImageToVideoPipeline",
        options={"image_encoder": _vision(), "image_processor": parts.clip_images()},
        in_channels=4 + 4 + 4,
        image_dim=WIDTH,
        added_kv_proj_dim=24,
    )


def wan_22_image() -> Any:
    options = {
        "transformer_2": _wan_transformer(in_channels=12),
        "boundary_ratio": 0.875,
        "image_encoder": None,
        "image_processor": None,
    }
    return wan("WanImageToVideoPipeline", options=options, in_channels=12)


def wan_vace() -> Any:
    return wan(
        "WanVACEPipeline", denoiser="WanVACETransformer3DModel", vace_layers=[0, 1], vace_in_channels=4 * 2 + 64
    )


def _vision() -> Any:
    import transformers

    config: Any = transformers.CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=WIDTH,
        image_size=32,
        patch_size=16,
    )
    return transformers.CLIPVisionModel(config)


def skyreels(kind: str) -> Any:
    import diffusers

    image = kind == "SkyReelsV2ImageToVideoPipeline"
    options: dict[str, Any] = {
        "scheduler": diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=8.0
        )
    }
    config: dict[str, Any] = {}
    if image:
        options |= {"image_encoder": _vision_projected(), "image_processor": parts.clip_images()}
        config = {"in_channels": 12, "image_dim": WIDTH, "added_kv_proj_dim": 24}
    return wan(kind, denoiser="SkyReelsV2Transformer3DModel", options=options, **config)


def _vision_projected() -> Any:
    return parts.clip_vision()


def wan_animate() -> Any:
    """Moves a picture as one film does, with the face of another."""
    return wan(
        "WanAnimatePipeline",
        denoiser="WanAnimateTransformer3DModel",
        options={"image_encoder": _vision(), "image_processor": parts.clip_images()},
        in_channels=12,
        latent_channels=4,
        image_dim=WIDTH,
        added_kv_proj_dim=24,
        motion_encoder_channel_sizes={"4": 16, "8": 16, "16": 16},
        motion_encoder_size=16,
        motion_style_dim=8,
        motion_dim=4,
        motion_encoder_dim=16,
        face_encoder_hidden_dim=16,
        face_encoder_num_heads=2,
        inject_face_latents_blocks=2,
    )


def chrono_edit() -> Any:
    options = {"image_encoder": _vision(), "image_processor": parts.clip_images(), "scheduler": parts.flow()}
    return wan(
        "ChronoEditPipeline",
        denoiser="ChronoEditTransformer3DModel",
        options=options,
        in_channels=12,
        image_dim=WIDTH,
        added_kv_proj_dim=24,
    )


def _with_own_transformer(kind: str, transformer: Any, scheduler: Any) -> Any:
    import diffusers

    parts.do_without_ftfy(getattr(diffusers, kind))
    return derived(kind, wan, transformer=transformer, scheduler=scheduler)()


def any_flow() -> Any:
    import diffusers

    config = {name: value for name, value in _WAN.items() if name != "qk_norm"}
    transformer = parts.stirred(diffusers.AnyFlowTransformer3DModel(**config))
    return _with_own_transformer("AnyFlowPipeline", transformer, diffusers.FlowMapEulerDiscreteScheduler())


def helios() -> Any:
    import diffusers

    config = {name: value for name, value in _WAN.items() if name != "rope_max_seq_len"}
    transformer = parts.stirred(diffusers.HeliosTransformer3DModel(**config, rope_dim=(4, 4, 4)))
    scheduler = diffusers.HeliosScheduler(stages=1, stage_range=[0, 1])
    return _with_own_transformer("HeliosPipeline", transformer, scheduler)
