"""Pipelines of the zoo that denoise with a transformer, and read the prompt with a Gemma."""

from __future__ import annotations

from typing import Any

import zoo_parts as parts
from zoo_parts import WIDTH


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
        scheduler=parts.flow(),
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
        scheduler=parts.flow(),
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
    return _sana("SanaPipeline", parts.flow())


def sana_sprint() -> Any:
    import diffusers

    return _sana(
        "SanaSprintPipeline", diffusers.SCMScheduler(), guidance_embeds=True, qk_norm="rms_norm_across_heads"
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

    pipeline: Any = diffusers.PRXPipeline(
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
        scheduler=parts.flow(),
        text_encoder=T5GemmaEncoder(shape),
        tokenizer=parts.tokenizer(256),
        vae=parts.tiny_autoencoder(),
    )
    pipeline.text_preprocessor = Preprocessor()
    return pipeline


def prx_pixel() -> Any:
    """PRX without an autoencoder."""
    import diffusers

    base = prx()
    config = {name: value for name, value in base.transformer.config.items() if not name.startswith("_")}
    parts.do_without_ftfy(diffusers.PRXPixelPipeline)
    return diffusers.PRXPixelPipeline(
        transformer=parts.stirred(type(base.transformer)(**config | {"in_channels": 3})),
        scheduler=base.scheduler,
        text_encoder=base.text_encoder,
        tokenizer=base.tokenizer,
    )
