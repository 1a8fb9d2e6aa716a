"""Pipelines of the zoo that make videos."""

from __future__ import annotations

from typing import Any

import torch
import zoo_parts as parts
import zoo_wan as wan
from zoo_parts import WIDTH


def ltx(kind: str = "LTXPipeline") -> Any:
    import diffusers

    return getattr(diffusers, kind)(
        transformer=parts.stirred(
            diffusers.LTXVideoTransformer3DModel(
                in_channels=8,
                out_channels=8,
                num_attention_heads=4,
                attention_head_dim=8,
                cross_attention_dim=32,
                num_layers=1,
                caption_channels=WIDTH,
            )
        ),
        vae=ltx_autoencoder(),
        scheduler=parts.flow(),
        text_encoder=parts.t5(),
        tokenizer=parts.tokenizer(128),
    )


def ltx_autoencoder() -> Any:
    """Eight times fewer frames, 32 times smaller sides with its patches."""
    import diffusers

    return diffusers.AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        patch_size=1,
        encoder_causal=True,
        decoder_causal=False,
    )


def ltx_upsampler() -> Any:
    import diffusers
    from diffusers.pipelines.ltx.modeling_latent_upsampler import LTXLatentUpsamplerModel

    upsampler: Any = LTXLatentUpsamplerModel(
        in_channels=8, mid_channels=32, num_blocks_per_stage=1, dims=3, spatial_upsample=True, temporal_upsample=False
    )
    return diffusers.LTXLatentUpsamplePipeline(vae=ltx_autoencoder(), latent_upsampler=upsampler)


def latents(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7))


def hunyuan(kind: str = "HunyuanVideoPipeline", **transformer: Any) -> Any:
    import diffusers

    return getattr(diffusers, kind)(
        transformer=parts.stirred(
            diffusers.HunyuanVideoTransformer3DModel(
                **{
                    "in_channels": 4,
                    "out_channels": 4,
                    "num_attention_heads": 2,
                    "attention_head_dim": 10,
                    "num_layers": 1,
                    "num_single_layers": 1,
                    "num_refiner_layers": 1,
                    "patch_size": 1,
                    "text_embed_dim": WIDTH,
                    "pooled_projection_dim": WIDTH,
                    "rope_axes_dim": (2, 4, 4),
                }
                | transformer
            )
        ),
        vae=diffusers.AutoencoderKLHunyuanVideo(
            latent_channels=4,
            down_block_types=("HunyuanVideoDownBlock3D",) * 4,
            up_block_types=("HunyuanVideoUpBlock3D",) * 4,
            block_out_channels=(8, 8, 8, 8),
            layers_per_block=1,
            norm_num_groups=4,
            mid_block_add_attention=False,
        ),
        scheduler=parts.flow(shift=7.0),
        text_encoder=parts.decoder_only("Llama"),
        tokenizer=parts.tokenizer(512, add_bos=True, add_eos=False),
        text_encoder_2=parts.tiny_clip(projected=False),
        tokenizer_2=parts.clip_tokenizer(),
    )


def cogvideo(kind: str = "CogVideoXPipeline", channels: int = 4) -> Any:
    import diffusers

    return getattr(diffusers, kind)(
        tokenizer=parts.tokenizer(226),
        text_encoder=parts.t5(),
        vae=diffusers.AutoencoderKLCogVideoX(
            down_block_types=("CogVideoXDownBlock3D",) * 4,
            up_block_types=("CogVideoXUpBlock3D",) * 4,
            block_out_channels=(8, 8, 8, 8),
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
            temporal_compression_ratio=4,
        ),
        transformer=parts.stirred(
            diffusers.CogVideoXTransformer3DModel(
                num_attention_heads=4,
                attention_head_dim=16,
                in_channels=channels,
                out_channels=4,
                time_embed_dim=2,
                text_embed_dim=WIDTH,
                num_layers=1,
                sample_width=8,
                sample_height=8,
                sample_frames=9,
                max_text_seq_length=16,
                use_rotary_positional_embeddings=True,
            )
        ),
        scheduler=diffusers.CogVideoXDDIMScheduler(),
    )


def mochi() -> Any:
    import diffusers

    return diffusers.MochiPipeline(
        transformer=parts.stirred(
            diffusers.MochiTransformer3DModel(
                patch_size=2,
                num_attention_heads=2,
                attention_head_dim=8,
                num_layers=2,
                pooled_projection_dim=16,
                in_channels=12,
                text_embed_dim=WIDTH,
                time_embed_dim=4,
                max_sequence_length=16,
            )
        ),
        vae=diffusers.AutoencoderKLMochi(
            latent_channels=12,
            out_channels=3,
            encoder_block_out_channels=(32, 32, 32, 32),
            decoder_block_out_channels=(32, 32, 32, 32),
            layers_per_block=(1, 1, 1, 1, 1),
        ),
        scheduler=parts.flow(),
        text_encoder=parts.t5(),
        tokenizer=parts.tokenizer(256),
    )


def allegro() -> Any:
    import diffusers

    pipeline: Any = diffusers.AllegroPipeline(
        tokenizer=parts.tokenizer(512),
        text_encoder=parts.t5(),
        vae=diffusers.AutoencoderKLAllegro(
            down_block_types=("AllegroDownBlock3D",) * 4,
            up_block_types=("AllegroUpBlock3D",) * 4,
            block_out_channels=(8, 8, 8, 8),
            layers_per_block=1,
            norm_num_groups=2,
            sample_size=64,
        ),
        transformer=parts.stirred(
            diffusers.AllegroTransformer3DModel(
                num_attention_heads=2,
                attention_head_dim=12,
                num_layers=1,
                cross_attention_dim=24,
                sample_height=8,
                sample_width=8,
                sample_frames=8,
                caption_channels=WIDTH,
            )
        ),
        scheduler=diffusers.DDIMScheduler(clip_sample=False),
    )
    pipeline.vae.enable_tiling()  # it decodes in no other way
    parts.stirred(pipeline.vae.decoder)  # as it comes, it makes a grey film
    return pipeline


def latte() -> Any:
    import diffusers

    return diffusers.LattePipeline(
        tokenizer=parts.tokenizer(120),
        text_encoder=parts.t5(),
        vae=parts.tiny_autoencoder(),
        transformer=parts.stirred(
            diffusers.LatteTransformer3DModel(
                sample_size=8,
                num_layers=1,
                patch_size=2,
                attention_head_dim=8,
                num_attention_heads=3,
                caption_channels=WIDTH,
                in_channels=4,
                cross_attention_dim=24,
                out_channels=8,
                attention_bias=True,
                activation_fn="gelu-approximate",
                num_embeds_ada_norm=1000,
                video_length=2,
                norm_type="ada_norm_single",
                norm_elementwise_affine=False,
            )
        ),
        scheduler=diffusers.DDIMScheduler(clip_sample=False),
    )


def easyanimate() -> Any:
    import diffusers

    return diffusers.EasyAnimatePipeline(
        vae=diffusers.AutoencoderKLMagvit(
            latent_channels=4,
            block_out_channels=(8, 8, 8, 8),
            down_block_types=(
                "SpatialDownBlock3D",
                "SpatialTemporalDownBlock3D",
                "SpatialTemporalDownBlock3D",
                "SpatialTemporalDownBlock3D",
            ),
            up_block_types=(
                "SpatialUpBlock3D",
                "SpatialTemporalUpBlock3D",
                "SpatialTemporalUpBlock3D",
                "SpatialTemporalUpBlock3D",
            ),
            layers_per_block=1,
            norm_num_groups=2,
            spatial_group_norm=False,
        ),
        text_encoder=parts.qwen2_vl(),
        tokenizer=parts.tokenizer(256),
        transformer=parts.stirred(
            diffusers.EasyAnimateTransformer3DModel(
                num_attention_heads=2,
                attention_head_dim=16,
                in_channels=4,
                out_channels=4,
                patch_size=2,
                sample_width=8,
                sample_height=8,
                num_layers=1,
                mmdit_layers=1,
                time_embed_dim=2,
                text_embed_dim=WIDTH,
            )
        ),
        scheduler=parts.flow(),
    )


class _Guardrail(torch.nn.Module):
    """Lets everything pass; the real one is a package of its own."""

    device = torch.device("cpu")
    dtype = torch.float32

    def check_text_safety(self, prompt: str) -> bool:
        return True

    def check_video_safety(self, frames: Any) -> Any:
        return frames

    def to(self, *args: Any, **kwargs: Any) -> Any:
        return self


def cosmos(kind: str, *, second: bool = False, channels: int = 4) -> Any:
    """A pipeline of Cosmos' parts, of its second version where that is asked for."""
    import diffusers

    autoencoder: Any = (
        wan.autoencoder()
        if second
        else diffusers.AutoencoderKLCosmos(
            latent_channels=4,
            encoder_block_out_channels=(8, 8, 8, 8),
            decode_block_out_channels=(8, 8, 8, 8),
            attention_resolutions=(8,),
            resolution=64,
            num_layers=1,
            patch_size=2,
            spatial_compression_ratio=4,
            temporal_compression_ratio=4,
        )
    )
    scheduler: Any = (
        parts.flow(use_karras_sigmas=True)
        if second
        else diffusers.EDMEulerScheduler(
            sigma_min=0.002, sigma_max=80, sigma_data=0.5, prediction_type="epsilon", final_sigmas_type="sigma_min"
        )
    )
    return getattr(diffusers, kind)(
        text_encoder=parts.t5(),
        tokenizer=parts.tokenizer(512),
        transformer=parts.stirred(
            diffusers.CosmosTransformer3DModel(
                in_channels=channels,
                out_channels=4,
                num_attention_heads=2,
                attention_head_dim=16,
                num_layers=1,
                mlp_ratio=2,
                text_embed_dim=WIDTH,
                adaln_lora_dim=4,
                max_size=(4, 32, 32),
                patch_size=(1, 2, 2),
                extra_pos_embed_type="learnable" if not second else None,
                concat_padding_mask=False,
            )
        ),
        vae=autoencoder,
        scheduler=scheduler,
        safety_checker=_Guardrail(),
    )


def sana_video() -> Any:
    import diffusers

    return diffusers.SanaVideoPipeline(
        tokenizer=parts.tokenizer(300, add_bos=True, add_eos=False),
        text_encoder=parts.gemma(2),
        vae=wan.autoencoder(),
        transformer=parts.stirred(
            diffusers.SanaVideoTransformer3DModel(
                in_channels=4,
                out_channels=4,
                num_attention_heads=2,
                attention_head_dim=12,
                num_layers=1,
                num_cross_attention_heads=2,
                cross_attention_head_dim=12,
                cross_attention_dim=24,
                caption_channels=WIDTH,
                sample_size=8,
                rope_max_seq_len=32,
            )
        ),
        scheduler=parts.flow(),
    )


def cosmos_2_5() -> Any:
    """Cosmos 2.5, which reads its prompt with Qwen2.5-VL, all layers of it."""
    import diffusers

    class Chat:
        """A tokenizer that writes of a chat what the user says."""

        def apply_chat_template(self, chat: list[Any], **_: Any) -> list[int]:
            text = chat[-1]["content"][0]["text"]
            return list(parts.tokenizer(16)(text, padding="max_length", max_length=16)["input_ids"])

    base = cosmos("Cosmos2VideoToWorldPipeline", second=True, channels=5)
    config = {name: value for name, value in base.transformer.config.items() if not name.startswith("_")}
    return diffusers.Cosmos2_5_PredictBasePipeline(
        text_encoder=parts.qwen25_vl(),
        tokenizer=Chat(),
        transformer=parts.stirred(type(base.transformer)(**config | {"text_embed_dim": 2 * WIDTH})),
        vae=base.vae,
        scheduler=diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True),
        safety_checker=base.safety_checker,
    )
