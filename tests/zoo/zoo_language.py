"""Pipelines of the zoo that denoise with a transformer, and read the prompt with a language model."""

from __future__ import annotations

from typing import Any

import zoo_parts as parts
from zoo_parts import WIDTH

_PACKED: dict[str, Any] = {
    "in_channels": 16,
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
}
"""A transformer of FLUX's family over latents in patches of 2 x 2."""


def _flow(**arguments: Any) -> Any:
    import diffusers

    return diffusers.FlowMatchEulerDiscreteScheduler(**arguments)


def lumina() -> Any:
    import diffusers

    return diffusers.LuminaPipeline(
        transformer=parts.stirred(
            diffusers.LuminaNextDiT2DModel(
                sample_size=8,
                hidden_size=24,
                num_layers=1,
                num_attention_heads=3,
                num_kv_heads=1,
                multiple_of=8,
                cross_attention_dim=WIDTH,
            )
        ),
        scheduler=_flow(),
        vae=parts.tiny_autoencoder(),
        text_encoder=parts.gemma(1),
        tokenizer=parts.tokenizer(256, add_bos=True, add_eos=False),
    )


def lumina_2() -> Any:
    import diffusers

    return diffusers.Lumina2Pipeline(
        transformer=parts.stirred(
            diffusers.Lumina2Transformer2DModel(
                sample_size=8,
                in_channels=4,
                hidden_size=24,
                num_layers=1,
                num_refiner_layers=1,
                num_attention_heads=2,
                num_kv_heads=1,
                multiple_of=2,
                axes_dim_rope=(4, 4, 4),
                axes_lens=(300, 64, 64),
                cap_feat_dim=WIDTH,
            )
        ),
        scheduler=_flow(),
        vae=parts.tiny_autoencoder(),
        text_encoder=parts.gemma(2),
        tokenizer=parts.tokenizer(256, add_bos=True, add_eos=False),
    )


def _sana(kind: str, scheduler: Any, **arguments: Any) -> Any:
    import diffusers

    return getattr(diffusers, kind)(
        tokenizer=parts.tokenizer(300, add_bos=True, add_eos=False),
        text_encoder=parts.gemma(2),
        vae=parts.deep_autoencoder(),
        transformer=diffusers.SanaTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=4,
            num_layers=1,
            num_cross_attention_heads=2,
            cross_attention_head_dim=4,
            cross_attention_dim=8,
            caption_channels=WIDTH,
            sample_size=32,
            **arguments,
        ),
        scheduler=scheduler,
    )


def sana() -> Any:
    return _sana("SanaPipeline", _flow())


def sana_sprint() -> Any:
    import diffusers

    return _sana(
        "SanaSprintPipeline", diffusers.SCMScheduler(), guidance_embeds=True, qk_norm="rms_norm_across_heads"
    )


def qwen_image() -> Any:
    import diffusers

    return diffusers.QwenImagePipeline(
        transformer=diffusers.QwenImageTransformer2DModel(
            in_channels=16,
            out_channels=4,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(4, 6, 6),
        ),
        scheduler=_flow(),
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
        scheduler=_flow(shift=3.0),
        vae=parts.tiny_autoencoder(),
        text_encoder=parts.decoder_only("Qwen3"),
        tokenizer=parts.tokenizer(256, add_bos=True, add_eos=False),
    )


class ChatOnly:
    """A processor of which a pipeline asks but what it makes of a chat.

    Contents come as lists of parts, which a tokenizer's template doesn't read.
    """

    def __init__(self) -> None:
        self._tokenizer = parts.tokenizer(1024, add_eos=False)

    def __call__(self, text: Any, **arguments: Any) -> Any:
        return self._tokenizer(text, **arguments)

    def apply_chat_template(self, chats: list[Any], *, tokenize: bool = True, **arguments: Any) -> Any:
        several = isinstance(chats[0], list)
        texts = [self._read(chat) for chat in (chats if several else [chats])]
        if not tokenize:
            return texts if several else texts[0]
        kept = ("padding", "truncation", "max_length", "return_tensors")
        return self._tokenizer(texts, **{name: arguments[name] for name in kept if name in arguments})

    def _read(self, chat: list[Any]) -> str:
        contents = [message["content"] for message in chat]
        return "".join(one if isinstance(one, str) else "".join(part["text"] for part in one) for one in contents)


def _flux_2_transformer(**arguments: Any) -> Any:
    import diffusers

    return diffusers.Flux2Transformer2DModel(
        **_PACKED,
        joint_attention_dim=3 * WIDTH,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        **arguments,
    )


def flux_2() -> Any:
    import diffusers
    import transformers

    from pytest_diffbench.pipelines.tokenizers import vocabulary_size

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
        scheduler=_flow(),
        vae=parts.flux2_autoencoder(),
        text_encoder=transformers.Mistral3ForConditionalGeneration(config),
        tokenizer=ChatOnly(),
        transformer=_flux_2_transformer(),
    )


def flux_2_klein() -> Any:
    import diffusers

    return diffusers.Flux2KleinPipeline(
        scheduler=_flow(),
        vae=parts.flux2_autoencoder(),
        text_encoder=parts.decoder_only("Qwen3", model="ForCausalLM", num_hidden_layers=3),
        tokenizer=parts.tokenizer(512, add_eos=False),
        transformer=_flux_2_transformer(guidance_embeds=False),
    )


def hunyuan_image() -> Any:
    import diffusers
    from diffusers.guiders.adaptive_projected_guidance_mix import AdaptiveProjectedMixGuidance

    return diffusers.HunyuanImagePipeline(
        scheduler=_flow(shift=7.0),
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
        scheduler=_flow(),
    )


def kandinsky_5() -> Any:
    import diffusers

    class Processor:
        """A processor that is handed texts and no pictures."""

        def __call__(self, text: list[str], images: Any = None, videos: Any = None, **arguments: Any) -> Any:
            return parts.tokenizer(600)(text, **arguments)

    made: Any = diffusers.Kandinsky5T2IPipeline(
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
        tokenizer=Processor(),
        text_encoder_2=parts.tiny_clip(projected=False),
        tokenizer_2=parts.clip_tokenizer(),
        scheduler=_flow(),
    )
    made.resolutions = [(64, 64)]  # its own begin at half a million pixels
    return made


def bria_fibo() -> Any:
    import diffusers

    return diffusers.BriaFiboPipeline(
        transformer=diffusers.BriaFiboTransformer2DModel(
            **_PACKED | {"in_channels": 4},
            joint_attention_dim=2 * WIDTH,
            axes_dims_rope=[4, 4, 8],
            text_encoder_dim=WIDTH,
        ),
        scheduler=_flow(),
        vae=parts.wan_autoencoder(),
        text_encoder=parts.decoder_only("SmolLM3", model="ForCausalLM"),
        tokenizer=parts.tokenizer(256),
    )


def ovis_image() -> Any:
    import diffusers

    return diffusers.OvisImagePipeline(
        scheduler=_flow(),
        vae=parts.tiny_autoencoder(),
        text_encoder=parts.decoder_only("Qwen3"),
        tokenizer=parts.tokenizer(512, add_eos=False),
        transformer=diffusers.OvisImageTransformer2DModel(
            **_PACKED, out_channels=16, joint_attention_dim=WIDTH, axes_dims_rope=(4, 4, 8)
        ),
    )


def longcat_image() -> Any:
    import diffusers

    return diffusers.LongCatImagePipeline(
        scheduler=_flow(),
        vae=parts.wide_autoencoder(),
        text_encoder=parts.qwen25_vl(),
        tokenizer=parts.tokenizer(512, add_eos=False),
        text_processor=None,
        transformer=diffusers.LongCatImageTransformer2DModel(
            **_PACKED | {"in_channels": 64},
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            axes_dims_rope=[4, 4, 8],
        ),
    )


def prx() -> Any:
    import diffusers
    import transformers
    from transformers.models.t5gemma.modeling_t5gemma import T5GemmaEncoder

    from pytest_diffbench.pipelines.tokenizers import vocabulary_size

    kind: Any = transformers.T5GemmaModuleConfig
    shape = kind(
        vocab_size=vocabulary_size(),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        dropout_rate=0.0,
    )

    class Preprocessor:
        """Leaves a prompt as it is; the real one needs ftfy."""

        def clean_text(self, text: str) -> str:
            return text

    made: Any = diffusers.PRXPipeline(
        transformer=parts.stirred(
            diffusers.PRXTransformer2DModel(
                in_channels=4,
                context_in_dim=WIDTH,
                hidden_size=16,
                num_heads=2,
                depth=1,
                axes_dim=[4, 4],
            )
        ),
        scheduler=_flow(),
        text_encoder=T5GemmaEncoder(shape),
        tokenizer=parts.tokenizer(256),
        vae=parts.tiny_autoencoder(),
    )
    made.text_preprocessor = Preprocessor()
    return made


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
        scheduler=_flow(use_dynamic_shifting=True),
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
        scheduler=_flow(),
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
        scheduler=_flow(),
        vae=parts.qwen_autoencoder(),
        text_encoder=_qwen3_vl("Qwen3VLForConditionalGeneration", layers=8),
        processor=ChatOnly(),
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
        scheduler=_flow(),
        vae=parts.flux2_autoencoder(),
        text_encoder=_qwen3_vl("Qwen3VLModel", layers=36),
        tokenizer=ChatOnly(),
        transformer=transformer(),
        unconditional_transformer=transformer(),
    )
