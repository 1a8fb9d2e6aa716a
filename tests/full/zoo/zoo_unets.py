"""Pipelines of the zoo that denoise with a UNet, in one stage or in several."""

from __future__ import annotations

from typing import Any

import torch
import zoo_parts as parts
from zoo_parts import WIDTH

from pytest_diffbench.pipelines.tokenizers import vocabulary_size

_UNSAFE: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def _stable_diffusion_parts(**unet: Any) -> dict[str, Any]:
    return {
        "vae": parts.tiny_autoencoder(),
        "text_encoder": parts.tiny_clip(projected=False),
        "tokenizer": parts.clip_tokenizer(),
        "unet": parts.unet(**unet),
    }


def stable_diffusion(kind: str = "StableDiffusionPipeline", **arguments: Any) -> Any:
    import diffusers

    scheduler = diffusers.DDIMScheduler(steps_offset=1, clip_sample=False)
    return getattr(diffusers, kind)(**_stable_diffusion_parts(), scheduler=scheduler, **_UNSAFE, **arguments)


def stable_diffusion_pag() -> Any:
    return stable_diffusion("StableDiffusionPAGPipeline", pag_applied_layers="mid")


def latent_consistency() -> Any:
    import diffusers

    return diffusers.LatentConsistencyModelPipeline(
        **_stable_diffusion_parts(time_cond_proj_dim=8), scheduler=diffusers.LCMScheduler(), **_UNSAFE
    )


def stable_diffusion_xl() -> Any:
    import diffusers

    components = _stable_diffusion_parts(
        cross_attention_dim=2 * WIDTH,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + WIDTH,
    )
    return diffusers.StableDiffusionXLPipeline(
        **components,
        text_encoder_2=parts.tiny_clip(projected=True),
        tokenizer_2=components["tokenizer"],
        scheduler=diffusers.EulerDiscreteScheduler(),
        add_watermarker=False,
    )


def kolors() -> Any:
    import diffusers

    # its own module, since the package hides it where sentencepiece isn't installed
    from diffusers.pipelines.kolors.pipeline_kolors import KolorsPipeline
    from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig, ChatGLMModel

    class Tokenizer:
        """Tells positions too, as ChatGLM's own does, which needs a file that can't be written out."""

        def __call__(self, texts: list[str], **arguments: Any) -> Any:
            encoded = parts.tokenizer(256)(texts, **arguments)
            encoded["position_ids"] = torch.arange(encoded["input_ids"].shape[1]).expand_as(encoded["input_ids"])
            return encoded

    glm = ChatGLMConfig(
        num_layers=2,
        padded_vocab_size=vocabulary_size(),
        hidden_size=WIDTH,
        ffn_hidden_size=WIDTH,
        kv_channels=8,
        num_attention_heads=4,
        multi_query_attention=True,
        multi_query_group_num=2,
        add_qkv_bias=True,
        original_rope=True,
    )
    kind: Any = KolorsPipeline
    return kind(
        vae=parts.tiny_autoencoder(),
        text_encoder=parts.stirred(ChatGLMModel(glm)),
        tokenizer=Tokenizer(),
        unet=parts.unet(
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + WIDTH,
            encoder_hid_dim=WIDTH,
            encoder_hid_dim_type="text_proj",
        ),
        scheduler=diffusers.EulerDiscreteScheduler(),
        force_zeros_for_empty_prompt=False,
    )


def deepfloyd() -> Any:
    import diffusers

    return diffusers.IFPipeline(
        tokenizer=parts.tokenizer(),
        text_encoder=parts.t5(),
        unet=parts.unet(
            sample_size=32,
            in_channels=3,
            out_channels=6,
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            addition_embed_type="text",
            addition_embed_type_num_heads=2,
            encoder_hid_dim=WIDTH,
            encoder_hid_dim_type="text_proj",
            cross_attention_norm="group_norm",
            resnet_time_scale_shift="scale_shift",
            act_fn="gelu",
        ),
        scheduler=diffusers.DDPMScheduler(variance_type="learned_range", thresholding=True),
        watermarker=None,
        **_UNSAFE,
    )


def latent_diffusion() -> Any:
    import diffusers
    from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertConfig, LDMBertModel

    bert = LDMBertConfig(
        vocab_size=vocabulary_size(),
        max_position_embeddings=77,
        encoder_layers=1,
        encoder_ffn_dim=WIDTH,
        encoder_attention_heads=2,
        head_dim=8,
        d_model=WIDTH,
        pad_token_id=0,
    )
    return diffusers.LDMTextToImagePipeline(
        vqvae=parts.tiny_autoencoder(),
        bert=LDMBertModel(bert),
        tokenizer=parts.tokenizer(),
        unet=parts.unet(),
        scheduler=diffusers.DDIMScheduler(clip_sample=False),
    )


def _prior_parts() -> dict[str, Any]:
    """What turns a prompt into the embedding of a picture, in both Kandinskys and in unCLIP."""
    import diffusers

    return {
        "prior": parts.stirred(
            diffusers.PriorTransformer(num_attention_heads=2, attention_head_dim=8, embedding_dim=WIDTH, num_layers=1)
        ),
        "text_encoder": parts.tiny_clip(projected=True),
        "tokenizer": parts.clip_tokenizer(),
        "scheduler": diffusers.UnCLIPScheduler(
            variance_type="fixed_small_log", prediction_type="sample", num_train_timesteps=1000, clip_sample=True
        ),
    }


def kandinsky_prior() -> Any:
    import diffusers

    return diffusers.KandinskyV22PriorPipeline(
        **_prior_parts(), image_encoder=parts.clip_vision(), image_processor=parts.clip_images()
    )


def _kandinsky_unet(**arguments: Any) -> Any:
    return parts.unet(
        out_channels=8,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        resnet_time_scale_shift="scale_shift",
        encoder_hid_dim=WIDTH,
        **arguments,
    )


def _prefixed(components: dict[str, Any]) -> dict[str, Any]:
    return {f"prior_{name}": part for name, part in components.items()}


def kandinsky() -> Any:
    import diffusers
    from diffusers.pipelines.kandinsky.text_encoder import MCLIPConfig, MultilingualCLIP

    reads = MCLIPConfig(
        vocab_size=vocabulary_size(),
        hidden_size=WIDTH,
        transformerDimensions=WIDTH,
        numDims=WIDTH,
        intermediate_size=WIDTH,
        num_attention_heads=2,
        num_hidden_layers=1,
        max_position_embeddings=100,
    )
    return diffusers.KandinskyCombinedPipeline(
        text_encoder=MultilingualCLIP(reads),
        tokenizer=parts.tokenizer(),
        unet=_kandinsky_unet(addition_embed_type="text_image", encoder_hid_dim_type="text_image_proj"),
        scheduler=diffusers.DDIMScheduler(clip_sample=False),
        movq=parts.vq_autoencoder(norm_type="spatial", block_out_channels=(32, 32)),
        **_prefixed(_prior_parts() | {"image_encoder": parts.clip_vision(), "image_processor": parts.clip_images()}),
    )


def kandinsky_22() -> Any:
    import diffusers

    return diffusers.KandinskyV22CombinedPipeline(
        unet=_kandinsky_unet(addition_embed_type="image", encoder_hid_dim_type="image_proj"),
        scheduler=diffusers.DDPMScheduler(clip_sample=False),
        movq=parts.vq_autoencoder(norm_type="spatial", block_out_channels=(32, 32)),
        **_prefixed(_prior_parts() | {"image_encoder": parts.clip_vision(), "image_processor": parts.clip_images()}),
    )


def kandinsky_3() -> Any:
    import diffusers

    return diffusers.Kandinsky3Pipeline(
        tokenizer=parts.tokenizer(128),
        text_encoder=parts.t5(),
        unet=diffusers.Kandinsky3UNet(
            time_embedding_dim=16,
            groups=2,
            attention_head_dim=4,
            layers_per_block=2,
            block_out_channels=(8, 16),
            cross_attention_dim=8,
            encoder_hid_dim=WIDTH,
        ),
        scheduler=diffusers.DDPMScheduler(clip_sample=False),
        movq=parts.vq_autoencoder(norm_type="spatial", block_out_channels=(32, 32)),
    )


def unclip() -> Any:
    import diffusers
    from diffusers.pipelines.deprecated.unclip.text_proj import UnCLIPTextProjModel

    components = _prior_parts()

    def super_resolution() -> Any:
        return diffusers.UNet2DModel(
            sample_size=32,
            layers_per_block=1,
            down_block_types=("ResnetDownsampleBlock2D", "ResnetDownsampleBlock2D"),
            up_block_types=("ResnetUpsampleBlock2D", "ResnetUpsampleBlock2D"),
            block_out_channels=(8, 16),
            norm_num_groups=4,
            attention_head_dim=4,
            in_channels=6,
            out_channels=3,
        )

    return diffusers.UnCLIPPipeline(
        prior=components["prior"],
        decoder=parts.unet(
            sample_size=16,
            in_channels=3,
            out_channels=6,
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            resnet_time_scale_shift="scale_shift",
            class_embed_type="identity",
        ),
        text_encoder=components["text_encoder"],
        tokenizer=components["tokenizer"],
        text_proj=UnCLIPTextProjModel(
            clip_extra_context_tokens=4, clip_embeddings_dim=WIDTH, time_embed_dim=32, cross_attention_dim=WIDTH
        ),
        super_res_first=super_resolution(),
        super_res_last=super_resolution(),
        prior_scheduler=components["scheduler"],
        decoder_scheduler=diffusers.UnCLIPScheduler(
            variance_type="learned_range", prediction_type="epsilon", num_train_timesteps=1000
        ),
        super_res_scheduler=diffusers.UnCLIPScheduler(
            variance_type="fixed_small_log", prediction_type="epsilon", num_train_timesteps=1000
        ),
    )


def _paella() -> Any:
    from diffusers.pipelines.deprecated.wuerstchen.modeling_paella_vq_model import PaellaVQModel

    return PaellaVQModel(levels=2, bottleneck_blocks=1, num_vq_embeddings=12, embed_dim=8)


def wuerstchen() -> Any:
    import diffusers
    from diffusers.pipelines.deprecated.wuerstchen.modeling_wuerstchen_diffnext import WuerstchenDiffNeXt
    from diffusers.pipelines.deprecated.wuerstchen.modeling_wuerstchen_prior import WuerstchenPrior

    return diffusers.WuerstchenCombinedPipeline(
        tokenizer=parts.clip_tokenizer(),
        text_encoder=parts.tiny_clip(projected=False),
        decoder=parts.stirred(
            WuerstchenDiffNeXt(
                c_cond=WIDTH,
                c_hidden=[16, 16, 16, 16],
                nhead=[-1, 2, 2, 2],
                blocks=[1, 1, 1, 1],
                level_config=["CT", "CTA", "CTA", "CTA"],
                effnet_embd=4,
                clip_embd=WIDTH,
            )
        ),
        scheduler=diffusers.DDPMWuerstchenScheduler(),
        vqgan=_paella(),
        prior_tokenizer=parts.clip_tokenizer(),
        prior_text_encoder=parts.tiny_clip(projected=False),
        prior_prior=WuerstchenPrior(c_in=4, c=16, c_cond=WIDTH, depth=1, nhead=2),
        prior_scheduler=diffusers.DDPMWuerstchenScheduler(),
    )


def stable_cascade() -> Any:
    import diffusers
    from diffusers.models.unets.unet_stable_cascade import StableCascadeUNet

    kind: Any = StableCascadeUNet

    def unet(**arguments: Any) -> Any:
        return kind(
            conditioning_dim=WIDTH,
            block_out_channels=(16, 16),
            num_attention_heads=(2, 2),
            down_num_layers_per_block=(1, 1),
            up_num_layers_per_block=(1, 1),
            clip_text_pooled_in_channels=WIDTH,
            **arguments,
        )

    return diffusers.StableCascadeCombinedPipeline(
        tokenizer=parts.clip_tokenizer(),
        text_encoder=parts.tiny_clip(projected=True),
        decoder=unet(
            in_channels=4,
            out_channels=4,
            patch_size=2,
            effnet_in_channels=4,
            timestep_conditioning_type=("sca",),
        ),
        scheduler=diffusers.DDPMWuerstchenScheduler(),
        vqgan=_paella(),
        prior_prior=unet(
            in_channels=4,
            out_channels=4,
            clip_text_in_channels=WIDTH,
            clip_image_in_channels=WIDTH,
            switch_level=(False,),
        ),
        prior_text_encoder=parts.tiny_clip(projected=True),
        prior_tokenizer=parts.clip_tokenizer(),
        prior_scheduler=diffusers.DDPMWuerstchenScheduler(),
    )


def amused() -> Any:
    import diffusers

    return diffusers.AmusedPipeline(
        vqvae=parts.vq_autoencoder(mid_block_add_attention=False, lookup_from_codebook=True),
        tokenizer=parts.clip_tokenizer(),
        text_encoder=parts.tiny_clip(projected=True),
        transformer=diffusers.UVit2DModel(
            hidden_size=16,
            cond_embed_dim=WIDTH,
            encoder_hidden_size=WIDTH,
            micro_cond_encode_dim=4,
            micro_cond_embed_dim=5 * 4,
            vocab_size=16,
            codebook_size=12,
            in_channels=16,
            block_out_channels=16,
            num_res_blocks=1,
            block_num_heads=1,
            num_hidden_layers=1,
            num_attention_heads=1,
            intermediate_size=16,
            sample_size=8,
        ),
        scheduler=diffusers.AmusedScheduler(mask_token_id=15),
    )
