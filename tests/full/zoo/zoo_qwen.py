"""Pipelines of the zoo that denoise with a transformer, and read the prompt with a Qwen."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import zoo_parts as parts
from zoo_entry import derived
from zoo_parts import WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable


def qwen_image() -> Any:
    import diffusers

    return diffusers.QwenImagePipeline(
        transformer=parts.stirred(
            diffusers.QwenImageTransformer2DModel(
                in_channels=16,
                out_channels=4,
                num_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=WIDTH,
                axes_dims_rope=(4, 6, 6),
            )
        ),
        scheduler=parts.flow(),
        vae=parts.qwen_autoencoder(),
        text_encoder=parts.qwen25_vl(),
        tokenizer=parts.tokenizer(256, add_eos=False),
    )


def z_image() -> Any:
    import diffusers

    return diffusers.ZImagePipeline(
        transformer=parts.stirred(
            diffusers.ZImageTransformer2DModel(
                in_channels=4,
                dim=32,
                n_layers=1,
                n_refiner_layers=1,
                n_heads=2,
                n_kv_heads=2,
                cap_feat_dim=WIDTH,
                axes_dims=[4, 6, 6],
                axes_lens=[512, 64, 64],
            )
        ),
        scheduler=parts.flow(shift=3.0),
        vae=parts.tiny_autoencoder(),
        text_encoder=parts.decoder_only("Qwen3"),
        tokenizer=parts.tokenizer(256, add_bos=True, add_eos=False),
    )


def hunyuan_image() -> Any:
    import diffusers
    from diffusers.guiders.adaptive_projected_guidance_mix import AdaptiveProjectedMixGuidance

    return diffusers.HunyuanImagePipeline(
        scheduler=parts.flow(shift=7.0),
        vae=diffusers.AutoencoderKLHunyuanImage(
            in_channels=3,
            out_channels=3,
            latent_channels=4,
            block_out_channels=(32, 32, 32, 32),
            layers_per_block=1,
            spatial_compression_ratio=8,
            sample_size=64,
            scaling_factor=0.7,
        ),
        text_encoder=parts.qwen25_vl(hidden_layers=3),
        tokenizer=parts.tokenizer(1034, add_eos=False),
        text_encoder_2=parts.t5(),
        tokenizer_2=parts.tokenizer(128),
        transformer=diffusers.HunyuanImageTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=1,
            num_single_layers=1,
            num_refiner_layers=1,
            patch_size=(1, 1),
            text_embed_dim=WIDTH,
            text_embed_2_dim=WIDTH,
            rope_axes_dim=(4, 4),
        ),
        guider=AdaptiveProjectedMixGuidance(adaptive_projected_guidance_start_step=1),
    )


def kandinsky_5() -> Any:
    import diffusers

    pipeline: Any = diffusers.Kandinsky5T2IPipeline(
        transformer=parts.stirred(
            diffusers.Kandinsky5Transformer3DModel(
                in_text_dim=WIDTH,
                in_text_dim2=WIDTH,
                time_dim=16,
                model_dim=32,
                ff_dim=32,
                num_text_blocks=1,
                num_visual_blocks=1,
                axes_dims=(4, 6, 6),
                visual_cond=False,
            )
        ),
        vae=parts.tiny_autoencoder(),
        text_encoder=parts.qwen25_vl(),
        tokenizer=parts.TextOnly(),
        text_encoder_2=parts.tiny_clip(projected=False),
        tokenizer_2=parts.clip_tokenizer(),
        scheduler=parts.flow(),
    )
    pipeline.resolutions = [(64, 64)]  # its own begin at half a million pixels
    return pipeline


def ovis_image() -> Any:
    import diffusers

    return diffusers.OvisImagePipeline(
        scheduler=parts.flow(),
        vae=parts.tiny_autoencoder(),
        text_encoder=parts.decoder_only("Qwen3"),
        tokenizer=parts.tokenizer(512, add_eos=False),
        transformer=diffusers.OvisImageTransformer2DModel(
            **parts.PACKED, out_channels=16, joint_attention_dim=WIDTH, axes_dims_rope=(4, 4, 8)
        ),
    )


def longcat_image() -> Any:
    import diffusers

    return diffusers.LongCatImagePipeline(
        scheduler=parts.flow(),
        vae=parts.wide_autoencoder(),
        text_encoder=parts.qwen25_vl(),
        tokenizer=parts.tokenizer(512, add_eos=False),
        text_processor=None,
        transformer=diffusers.LongCatImageTransformer2DModel(
            **parts.PACKED | {"in_channels": 64},
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            axes_dims_rope=[4, 4, 8],
        ),
    )


def _qwen3_vl(model: str, layers: int = 2) -> Any:
    import transformers

    from pytest_diffbench.pipelines.tokenizers import vocabulary_size

    config: Any = transformers.Qwen3VLConfig(
        text_config={
            "vocab_size": vocabulary_size(),
            "hidden_size": WIDTH,
            "intermediate_size": WIDTH,
            "num_hidden_layers": layers,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": WIDTH,
            "deepstack_visual_indexes": [0],
        },
    )
    return getattr(transformers, model)(config)


def krea_2() -> Any:
    import diffusers

    return diffusers.Krea2Pipeline(
        scheduler=parts.flow(use_dynamic_shifting=True),
        vae=parts.qwen_autoencoder(),
        text_encoder=_qwen3_vl("Qwen3VLModel"),
        tokenizer=parts.tokenizer(600, add_eos=False),
        transformer=parts.stirred(
            diffusers.Krea2Transformer2DModel(
                in_channels=16,
                num_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                num_key_value_heads=1,
                intermediate_size=16,
                timestep_embed_dim=16,
                text_hidden_dim=WIDTH,
                num_text_layers=2,
                text_num_attention_heads=2,
                text_num_key_value_heads=1,
                text_intermediate_size=16,
                num_layerwise_text_blocks=1,
                num_refiner_text_blocks=1,
                axes_dims_rope=(4, 6, 6),
            )
        ),
        text_encoder_select_layers=(1, 2),
    )


def nucleus_image() -> Any:
    import diffusers

    return diffusers.NucleusMoEImagePipeline(
        transformer=parts.stirred(
            diffusers.NucleusMoEImageTransformer2DModel(
                in_channels=16,
                out_channels=4,
                num_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=WIDTH,
                axes_dims_rope=(4, 6, 6),
                moe_enabled=False,
            )
        ),
        scheduler=parts.flow(),
        vae=parts.qwen_autoencoder(),
        text_encoder=_qwen3_vl("Qwen3VLForConditionalGeneration", layers=8),
        processor=parts.ChatOnly(),
    )


def ideogram() -> Any:
    import diffusers

    def transformer() -> Any:
        return parts.stirred(
            diffusers.Ideogram4Transformer2DModel(
                in_channels=16,
                num_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                intermediate_size=32,
                adaln_dim=8,
                llm_features_dim=13 * WIDTH,
                mrope_section=(4, 2, 2),
            )
        )

    return diffusers.Ideogram4Pipeline(
        scheduler=parts.flow(),
        vae=parts.flux2_autoencoder(),
        text_encoder=_qwen3_vl("Qwen3VLModel", layers=36),
        tokenizer=parts.ChatOnly(),
        transformer=transformer(),
        unconditional_transformer=transformer(),
    )


def kandinsky_5_further(kind: str, *, picture: bool, autoencoder: Any = None) -> Any:
    """A pipeline of Kandinsky 5's parts.

    Args:
        kind: name of its class.
        picture: it begins with one.
        autoencoder: in place of that of pictures.
    """
    import diffusers

    base = kandinsky_5()
    transformer: Any = base.transformer
    if picture:
        config = {name: value for name, value in transformer.config.items() if not name.startswith("_")}
        transformer = parts.stirred(type(transformer)(**config | {"visual_cond": True}))
    given = {"transformer": transformer} | ({"vae": autoencoder} if autoencoder is not None else {})
    pipeline: Any = getattr(diffusers, kind)(**base.components | given)
    pipeline.resolutions = base.resolutions
    pipeline.prompt_template_encode_start_idx = 0  # where the prompt begins behind a template, for a real tokenizer
    return pipeline


def qwen_edit(kind: str) -> Callable[[], Any]:
    """A builder of a class that edits a picture; the language model isn't shown it."""

    def make() -> Any:
        pipeline = derived(kind, qwen_image, processor=lambda _: parts.TextOnly(2000))()
        pipeline.prompt_template_encode_start_idx = 0
        sides = (64, 64) if "Plus" in kind else (64, 64, None)
        # their own are of a million pixels, whatever is asked for
        sys.modules[type(pipeline).__module__].calculate_dimensions = lambda *_: sides  # type: ignore[attr-defined]
        return pipeline

    return make


def z_image_control(kind: str, channels: int) -> Callable[[], Any]:
    """A builder of Z-Image with a control net that reads so many channels."""

    def control_net(_: Any) -> Any:
        import diffusers

        return parts.stirred(
            diffusers.ZImageControlNetModel(
                control_layers_places=[0],
                control_refiner_layers_places=[0],
                control_in_dim=channels,
                dim=32,
                n_refiner_layers=1,
                n_heads=2,
                n_kv_heads=2,
            )
        )

    return derived(kind, z_image, controlnet=control_net)
