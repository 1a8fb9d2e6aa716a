"""Pipelines of the zoo that denoise with a transformer, and read the prompt with CLIP, T5 or BERT."""

from __future__ import annotations

from typing import Any

import zoo_parts as parts
from zoo_parts import WIDTH

from pytest_diffbench.pipelines.tokenizers import vocabulary_size


def _flow() -> Any:
    import diffusers

    return diffusers.FlowMatchEulerDiscreteScheduler()


def stable_diffusion_3() -> Any:
    import diffusers

    return diffusers.StableDiffusion3Pipeline(
        transformer=diffusers.SD3Transformer2DModel(
            sample_size=16,
            patch_size=2,
            in_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=2 * WIDTH,
            caption_projection_dim=WIDTH,
            pooled_projection_dim=2 * WIDTH,
            out_channels=4,
        ),
        scheduler=_flow(),
        vae=parts.tiny_autoencoder(),
        text_encoder=parts.tiny_clip(projected=True),
        tokenizer=parts.clip_tokenizer(),
        text_encoder_2=parts.tiny_clip(projected=True),
        tokenizer_2=parts.clip_tokenizer(),
        text_encoder_3=_wide_t5(),
        tokenizer_3=parts.tokenizer(),
    )


def _wide_t5() -> Any:
    import transformers

    config: Any = transformers.T5Config(
        vocab_size=vocabulary_size(), d_model=2 * WIDTH, d_kv=8, d_ff=WIDTH, num_layers=1, num_heads=4
    )
    return transformers.T5EncoderModel(config)


def flux() -> Any:
    import diffusers

    return diffusers.FluxPipeline(
        transformer=diffusers.FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            guidance_embeds=True,
            axes_dims_rope=(4, 4, 8),
        ),
        scheduler=_flow(),
        vae=parts.tiny_autoencoder(),
        text_encoder=parts.tiny_clip(projected=False),
        tokenizer=parts.clip_tokenizer(),
        text_encoder_2=parts.t5(),
        tokenizer_2=parts.tokenizer(),
    )


def _pixart(kind: str, **arguments: Any) -> Any:
    import diffusers

    return getattr(diffusers, kind)(
        tokenizer=parts.tokenizer(),
        text_encoder=parts.t5(),
        vae=parts.tiny_autoencoder(),
        transformer=diffusers.PixArtTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=1,
            cross_attention_dim=16,
            sample_size=8,
            caption_channels=WIDTH,
            **arguments,
        ),
        scheduler=diffusers.DPMSolverMultistepScheduler(),
    )


def pixart_alpha() -> Any:
    return _pixart("PixArtAlphaPipeline")


def pixart_sigma() -> Any:
    return _pixart("PixArtSigmaPipeline")


def aura_flow() -> Any:
    import diffusers

    return diffusers.AuraFlowPipeline(
        tokenizer=parts.tokenizer(),
        text_encoder=parts.umt5(),
        vae=parts.tiny_autoencoder(),
        transformer=diffusers.AuraFlowTransformer2DModel(
            sample_size=8,
            num_mmdit_layers=1,
            num_single_dit_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            caption_projection_dim=16,
            pos_embed_max_size=64,
        ),
        scheduler=_flow(),
    )


def chroma() -> Any:
    import diffusers

    return diffusers.ChromaPipeline(
        scheduler=_flow(),
        vae=parts.tiny_autoencoder(),
        text_encoder=parts.t5(),
        tokenizer=parts.tokenizer(),
        transformer=diffusers.ChromaTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(4, 4, 8),
            approximator_num_channels=8,
            approximator_hidden_dim=16,
            approximator_layers=1,
        ),
    )


def bria() -> Any:
    import diffusers

    return diffusers.BriaPipeline(
        transformer=diffusers.BriaTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            axes_dims_rope=[4, 4, 8],
        ),
        scheduler=_flow(),
        vae=parts.tiny_autoencoder(),
        text_encoder=parts.t5(),
        tokenizer=parts.tokenizer(),
    )


def hunyuan_dit() -> Any:
    import diffusers
    import transformers

    bert: Any = transformers.BertConfig(
        vocab_size=vocabulary_size(),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    return diffusers.HunyuanDiTPipeline(
        vae=parts.tiny_autoencoder(),
        text_encoder=transformers.BertModel(bert),
        tokenizer=parts.tokenizer(add_bos=True),
        transformer=diffusers.HunyuanDiT2DModel(
            sample_size=8,
            num_layers=2,
            patch_size=2,
            attention_head_dim=16,
            num_attention_heads=2,
            in_channels=4,
            hidden_size=32,
            cross_attention_dim=WIDTH,
            cross_attention_dim_t5=WIDTH,
            pooled_projection_dim=16,
        ),
        scheduler=diffusers.DDPMScheduler(clip_sample=False),
        text_encoder_2=parts.t5(),
        tokenizer_2=parts.tokenizer(256),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def cogview_3() -> Any:
    import diffusers

    return diffusers.CogView3PlusPipeline(
        tokenizer=parts.tokenizer(),
        text_encoder=parts.t5(),
        vae=parts.tiny_autoencoder(),
        transformer=diffusers.CogView3PlusTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            text_embed_dim=WIDTH,
            time_embed_dim=8,
            condition_dim=2,
            pos_embed_max_size=16,
            sample_size=8,
        ),
        scheduler=diffusers.CogVideoXDDIMScheduler(),
    )


def hidream() -> Any:
    import diffusers

    pipeline: Any = diffusers.HiDreamImagePipeline(
        scheduler=_flow(),
        vae=parts.tiny_autoencoder(),
        text_encoder=parts.long_clip(),
        tokenizer=parts.clip_tokenizer(),
        text_encoder_2=parts.long_clip(),
        tokenizer_2=parts.clip_tokenizer(),
        text_encoder_3=parts.t5(),
        tokenizer_3=parts.tokenizer(),
        text_encoder_4=parts.decoder_only("Llama", model="ForCausalLM"),
        tokenizer_4=parts.tokenizer(add_bos=True, add_eos=False),
        transformer=diffusers.HiDreamImageTransformer2DModel(
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            caption_channels=[WIDTH, WIDTH],
            text_emb_dim=2 * WIDTH,
            num_routed_experts=2,
            num_activated_experts=1,
            axes_dims_rope=(4, 2, 2),
            max_resolution=(32, 32),
            llama_layers=(0, 1),
            force_inference_output=True,
        ),
    )
    pipeline.default_sample_size = 8  # it scales what is asked for to the area of its default
    return pipeline
