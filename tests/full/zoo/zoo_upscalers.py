"""Pipelines of the zoo with a UNet that begin with a picture, with embeddings, or with nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import zoo_parts as parts
import zoo_unets as unets
from zoo_entry import derived
from zoo_parts import WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable

UNSAFE: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
IMAGE_READER: dict[str, Any] = {
    "image_encoder": lambda _: parts.clip_vision(),
    "feature_extractor": lambda _: parts.clip_images(),
}


def _drawn(*shape: int, seed: int = 5) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


EMBEDDED: dict[str, Any] = {
    "image_embeds": lambda: _drawn(1, WIDTH),
    "negative_image_embeds": lambda: _drawn(1, WIDTH, seed=6),
}
"""Arguments of decoders, which are handed what a prior made of the prompt."""


def depth_map() -> torch.Tensor:
    return _drawn(1, 64, 64).abs()


def hint() -> torch.Tensor:
    """A picture of 64 px that a decoder with a control net is handed."""
    return torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(5))


def latents() -> torch.Tensor:
    """Inverted latents, as DiffEdit is handed them: (1, steps, 4, 8, 8)."""
    return _drawn(1, 2, 4, 8, 8)


def binary_mask() -> torch.Tensor:
    return (_drawn(1, 8, 8) > 0).float()


def depth_estimator() -> Any:
    """Isn't asked where the call is handed a depth map."""
    import transformers

    config: Any = transformers.DPTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, image_size=32,
        backbone_out_indices=[0, 1, 1, 1], neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8,
    )  # fmt: skip
    return transformers.DPTForDepthEstimation(config)


def inverse(base: Any) -> Any:
    import diffusers

    return diffusers.DDIMInverseScheduler.from_config(base.scheduler.config)


def invertible(_: Any) -> Any:
    import diffusers

    return diffusers.DDIMScheduler(clip_sample=False, steps_offset=1, set_alpha_to_one=False)


def example_encoder() -> Any:
    """Reads the example of Paint by Example."""
    import transformers
    from diffusers.pipelines.deprecated.paint_by_example.image_encoder import PaintByExampleImageEncoder

    config: Any = transformers.CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        projection_dim=WIDTH,
        image_size=32,
        patch_size=16,
    )
    return PaintByExampleImageEncoder(config, proj_size=WIDTH)


def upscaler() -> Any:
    """Four times the sides; the picture goes beside the latents, and its noise level in as a class."""
    import diffusers

    make = derived(
        "StableDiffusionUpscalePipeline",
        unets.stable_diffusion,
        unet=lambda _: parts.unet(in_channels=7, num_class_embeds=1000),
        vae=lambda _: two_level_autoencoder(),
        low_res_scheduler=lambda _: diffusers.DDPMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        watermarker=None,
    )
    return make()


def two_level_autoencoder() -> Any:
    import diffusers

    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
    )


def latent_upscaler() -> Any:
    """Twice the sides, by a UNet that sees the latents twice and predicts a clean picture scaled by sigma."""
    import diffusers

    unet: Any = diffusers.UNet2DConditionModel(
        sample_size=16,
        in_channels=8,
        out_channels=5,
        block_out_channels=(32, 32, 64, 64),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
        down_block_types=("KDownBlock2D", *("KCrossAttnDownBlock2D",) * 3),
        up_block_types=(*("KCrossAttnUpBlock2D",) * 3, "KUpBlock2D"),
        mid_block_type=None,
        cross_attention_dim=WIDTH,
        time_embedding_type="fourier",
        time_cond_proj_dim=WIDTH + 128,
        timestep_post_act="gelu",
        conv_in_kernel=1,
        conv_out_kernel=1,
        resnet_time_scale_shift="scale_shift",
        act_fn="gelu",
        dual_cross_attention=False,
        only_cross_attention=False,
    )
    make = derived(
        "StableDiffusionLatentUpscalePipeline",
        unets.stable_diffusion,
        unet=lambda _: unet,
        scheduler=lambda _: diffusers.EulerDiscreteScheduler(prediction_type="sample"),
    )
    return make()


def deepfloyd_upscaler() -> Any:
    """The second stage of DeepFloyd IF: a picture of a quarter of the side goes beside the noise."""
    import diffusers

    base = unets.deepfloyd()
    config = dict(base.unet.config) | {"in_channels": 6, "class_embed_type": "timestep"}
    return diffusers.IFSuperResolutionPipeline(
        tokenizer=base.tokenizer,
        text_encoder=base.text_encoder,
        unet=diffusers.UNet2DConditionModel.from_config(config),
        scheduler=base.scheduler,
        image_noising_scheduler=diffusers.DDPMScheduler(),
        watermarker=None,
        **UNSAFE,
    )


def kandinsky_22_decoder(channels: int = 4) -> Any:
    import diffusers

    base = unets.kandinsky_22()
    unet = diffusers.UNet2DConditionModel.from_config(dict(base.unet.config) | {"in_channels": channels})
    return diffusers.KandinskyV22Pipeline(unet=unet, scheduler=base.scheduler, movq=base.movq)


def _without_prefix(kind: str, combined: Any) -> Any:
    import diffusers

    taken = {
        name.removeprefix("prior_"): part for name, part in combined.components.items() if name.startswith("prior_")
    }
    return getattr(diffusers, kind)(**taken)


def wuerstchen_prior() -> Any:
    return _without_prefix("WuerstchenPriorPipeline", unets.wuerstchen())


def cascade_prior() -> Any:
    return _without_prefix("StableCascadePriorPipeline", unets.stable_cascade())


def unclip_variation() -> Any:
    make = derived("UnCLIPImageVariationPipeline", unets.unclip, **IMAGE_READER)
    return make()


def class_to_image() -> Any:
    import diffusers

    return diffusers.DiTPipeline(
        transformer=parts.stirred(
            diffusers.DiTTransformer2DModel(
                sample_size=8,
                num_layers=1,
                patch_size=2,
                attention_head_dim=8,
                num_attention_heads=2,
                in_channels=4,
                out_channels=8,
                num_embeds_ada_norm=1000,
                norm_elementwise_affine=False,
            )
        ),
        vae=parts.tiny_autoencoder(),
        scheduler=diffusers.DDIMScheduler(),
    )


def _without_text(**arguments: Any) -> Any:
    """A UNet that reads no prompt."""
    import diffusers

    return diffusers.UNet2DModel(
        **{
            "sample_size": 16,
            "block_out_channels": (8, 16),
            "norm_num_groups": 4,
            "layers_per_block": 1,
            "attention_head_dim": 4,
            "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
            "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        }
        | arguments
    )


def unconditional(kind: str) -> Any:
    """A class that is handed nothing, or a picture to be completed."""
    import diffusers

    name = "CMStochasticIterative" if kind == "ConsistencyModelPipeline" else kind.removesuffix("Pipeline")
    side_px = 32 if kind == "RePaintPipeline" else 16
    scheduler = getattr(diffusers, f"{name}Scheduler")()
    return getattr(diffusers, kind)(unet=_without_text(sample_size=side_px), scheduler=scheduler)


def latent_unconditional() -> Any:
    import diffusers

    return diffusers.LDMPipeline(
        vqvae=parts.vq_autoencoder(),
        unet=_without_text(sample_size=8, in_channels=4, out_channels=4),
        scheduler=diffusers.DDIMScheduler(clip_sample=False),
    )


def latent_super_resolution() -> Any:
    import diffusers

    return diffusers.LDMSuperResolutionPipeline(
        vqvae=parts.vq_autoencoder(latent_channels=3, vq_embed_dim=3),
        unet=_without_text(sample_size=32, in_channels=6, out_channels=3),
        scheduler=diffusers.DDIMScheduler(clip_sample=False),
    )


def sound() -> Any:
    """Makes 512 samples of sound of nothing."""
    import diffusers

    unet: Any = diffusers.UNet1DModel(
        block_out_channels=(32, 32, 64),
        extra_in_channels=64,
        sample_size=512,
        sample_rate=16000,
        use_timestep_embedding=False,
        down_block_types=("DownBlock1DNoSkip", "DownBlock1D", "AttnDownBlock1D"),
        up_block_types=("AttnUpBlock1D", "UpBlock1D", "UpBlock1DNoSkip"),
    )
    return diffusers.DanceDiffusionPipeline(unet=unet, scheduler=diffusers.IPNDMScheduler())


def decoder(kind: str, combined: Callable[[], Any]) -> Callable[[], Any]:
    """A builder of the second of two stages."""

    def make() -> Any:
        import diffusers

        components = combined().components.items()
        return getattr(diffusers, kind)(**{name: part for name, part in components if not name.startswith("prior_")})

    return make


def from_prior(side: int) -> Callable[[], torch.Tensor]:
    """What a prior hands such a stage."""
    return lambda: _drawn(1, 4, side, side)


def stable_unclip(kind: str) -> Any:
    """Stable Diffusion of an embedding, which a prior makes of the prompt, or an image encoder of a picture."""
    import diffusers
    from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer

    prior = unets.kandinsky_prior()
    make = derived(
        kind,
        unets.stable_diffusion,
        unet=parts.unet(class_embed_type="projection", projection_class_embeddings_input_dim=2 * WIDTH),
        image_normalizer=StableUnCLIPImageNormalizer(embedding_dim=WIDTH),
        image_noising_scheduler=diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        prior=prior.prior,
        prior_text_encoder=prior.text_encoder,
        prior_tokenizer=lambda _: prior.tokenizer,
        prior_scheduler=prior.scheduler,
        **IMAGE_READER,
    )
    return make()


def marigold(kind: str) -> Any:
    import diffusers

    several = kind == "Intrinsics"
    options: dict[str, Any] = {"prediction_type": {"Depth": "depth", "Normals": "normals"}.get(kind, "intrinsics")}
    if several:
        options["target_properties"] = {
            "target_names": ["albedo", "roughness"],
            "albedo": {"prediction_space": "srgb"},
            "roughness": {"prediction_space": "linear"},
        }
    return getattr(diffusers, f"Marigold{kind}Pipeline")(
        unet=parts.unet(in_channels=12 if several else 8, out_channels=8 if several else 4),
        vae=parts.tiny_autoencoder(),
        scheduler=diffusers.DDIMScheduler(prediction_type="v_prediction", clip_sample=False),
        text_encoder=parts.tiny_clip(projected=False),
        tokenizer=parts.clip_tokenizer(),
        default_denoising_steps=2,
        default_processing_resolution=64,
        **options,
    )
