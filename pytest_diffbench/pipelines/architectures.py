"""The minis' architectures: every component is the libraries' own class, only small. Weights come from elsewhere.

Images are drawn with one autoencoder by all models, as Lumina does with FLUX's. Wan's videos have another.
"""

from __future__ import annotations

import dataclasses
import inspect
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pytest_diffbench.pipelines.tokenizers import BOS, EOS, PAD, SPECIAL_TOKENS, build_tokenizer, vocabulary_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CLIP_TOKENS = 77
WAN_WORDS = ("moving", "up", "down", "video")
"""Frequent in prompts of videos."""

_T5_TOKENS = 512
_GEMMA_TOKENS = 512

_PAD_ID, _EOS_ID, _BOS_ID = (SPECIAL_TOKENS.index(token) for token in (PAD, EOS, BOS))


@dataclasses.dataclass(frozen=True, slots=True)
class Sizes:
    """How large the components are.

    Attributes:
        latent_channels: of the autoencoder; latents are cut into patches of 2x2.
        vae_channels: of its four levels, so that a latent pixel stands for 8x8 pixels, as in both models.
        lumina_width: features of a token in Lumina's denoiser.
        lumina_layers: its joint layers; there is one more to refine the text and one to refine the noise.
        lumina_heads: of its attention.
        lumina_kv_heads: heads that share keys and values.
        lumina_ffn_multiplier: of the width of its feed-forward layers, which is four times that of a token.
        flux_heads: of FLUX's attention; a head is as wide as Lumina's.
        flux_layers: its layers with two streams.
        flux_single_layers: its layers with one stream.
        rope_axes: rotary features of a head for sequence, row and column; they add up to the width of a head.
        text_width: features of a token in the text encoders.
        text_heads: of their attention.
        video_latent_channels: of the autoencoder of videos.
        video_vae_width: channels of its first level.
        video_vae_levels: how many times as many each level has; a latent pixel is for 16x16 pixels of four frames.
        wan_heads: of the attention of Wan's denoiser.
        wan_head_width: features of a head; a third of them each for the frame, the row and the column.
        wan_layers: of Wan's denoiser.
    """

    latent_channels: int
    vae_channels: tuple[int, int, int, int]
    lumina_width: int
    lumina_layers: int
    lumina_heads: int
    lumina_kv_heads: int
    lumina_ffn_multiplier: float
    flux_heads: int
    flux_layers: int
    flux_single_layers: int
    rope_axes: tuple[int, int, int]
    text_width: int
    text_heads: int
    video_latent_channels: int
    video_vae_width: int
    video_vae_levels: tuple[int, int, int]
    wan_heads: int
    wan_head_width: int
    wan_layers: int


MINI = Sizes(
    latent_channels=8,
    vae_channels=(16, 32, 64, 64),
    lumina_width=160,
    lumina_layers=6,
    lumina_heads=5,
    lumina_kv_heads=5,
    lumina_ffn_multiplier=0.5,
    flux_heads=4,
    flux_layers=2,
    flux_single_layers=4,
    rope_axes=(8, 12, 12),
    text_width=96,
    text_heads=4,
    video_latent_channels=16,
    video_vae_width=24,
    video_vae_levels=(1, 2, 2),
    wan_heads=4,
    wan_head_width=24,
    wan_layers=4,
)
"""Of the trained minis: what could be trained in an hour on a processor, and fits into a small package."""


# import_module, since neither library's classes are typed: what it returns is Any, and is checked as such
def vae(sizes: Sizes) -> Any:
    """Build the autoencoder. Its latents are scaled and shifted as both models' are."""
    levels = len(sizes.vae_channels)
    return import_module("diffusers").AutoencoderKL(
        block_out_channels=sizes.vae_channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=sizes.latent_channels,
        sample_size=128,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
        force_upcast=True,
    )


def gemma2(sizes: Sizes) -> Any:
    """Build Lumina's text encoder; the pipeline reads the state before the last layer."""
    transformers = import_module("transformers")
    return transformers.Gemma2Model(
        transformers.Gemma2Config(
            vocab_size=vocabulary_size(),
            hidden_size=sizes.text_width,
            intermediate_size=2 * sizes.text_width,
            num_hidden_layers=2,
            num_attention_heads=sizes.text_heads,
            num_key_value_heads=sizes.text_heads // 2,
            head_dim=sizes.text_width // sizes.text_heads,
            query_pre_attn_scalar=sizes.text_width // sizes.text_heads,
            max_position_embeddings=_GEMMA_TOKENS,
            pad_token_id=_PAD_ID,
            bos_token_id=_BOS_ID,
            eos_token_id=_EOS_ID,
        )
    )


def lumina2_transformer(sizes: Sizes) -> Any:
    """Build Lumina's denoiser."""
    return import_module("diffusers").Lumina2Transformer2DModel(
        sample_size=16,
        in_channels=sizes.latent_channels,
        hidden_size=sizes.lumina_width,
        num_layers=sizes.lumina_layers,
        num_refiner_layers=1,
        num_attention_heads=sizes.lumina_heads,
        num_kv_heads=sizes.lumina_kv_heads,
        multiple_of=32,
        ffn_dim_multiplier=sizes.lumina_ffn_multiplier,
        axes_dim_rope=sizes.rope_axes,
        axes_lens=(_GEMMA_TOKENS + 8, 256, 256),
        cap_feat_dim=sizes.text_width,
    )


def lumina2_pipeline(*, transformer: Any, vae: Any, text_encoder: Any) -> Any:
    """Put a `Lumina2Pipeline` together, with the scheduler's published settings."""
    return import_module("diffusers").Lumina2Pipeline(
        transformer=transformer,
        scheduler=_scheduler(shift=6.0),
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=gemma2_tokenizer(),
    )


def gemma2_tokenizer() -> Any:
    """Build Lumina's tokenizer."""
    return build_tokenizer(_GEMMA_TOKENS, add_bos=True, add_eos=False)


def clip(sizes: Sizes) -> Any:
    """Build FLUX's first text encoder, of which the state at the end of the text is read."""
    transformers = import_module("transformers")
    return transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=vocabulary_size(),
            hidden_size=sizes.text_width,
            intermediate_size=2 * sizes.text_width,
            num_hidden_layers=2,
            num_attention_heads=sizes.text_heads,
            max_position_embeddings=CLIP_TOKENS,
            projection_dim=sizes.text_width,
            pad_token_id=_PAD_ID,
            bos_token_id=_BOS_ID,
            eos_token_id=_EOS_ID,
        )
    )


def t5(sizes: Sizes) -> Any:
    """Build FLUX's second text encoder, of which every token's state is read."""
    return _t5_encoder("T5", sizes, vocabulary_size())


def umt5(sizes: Sizes) -> Any:
    """Build Wan's text encoder, of which every token's state is read. Unlike T5 each layer has a position bias."""
    return _t5_encoder("UMT5", sizes, vocabulary_size(WAN_WORDS))


def _t5_encoder(family: str, sizes: Sizes, vocabulary: int) -> Any:
    transformers = import_module("transformers")
    config = getattr(transformers, f"{family}Config")(
        vocab_size=vocabulary,
        d_model=sizes.text_width,
        d_kv=sizes.text_width // sizes.text_heads,
        d_ff=2 * sizes.text_width,
        num_layers=2,
        num_heads=sizes.text_heads,
        feed_forward_proj="gated-gelu",
        pad_token_id=_PAD_ID,
        eos_token_id=_EOS_ID,
        decoder_start_token_id=_PAD_ID,
    )
    return getattr(transformers, f"{family}EncoderModel")(config)


def flux_transformer(sizes: Sizes) -> Any:
    """Build FLUX's denoiser, which is told the guidance scale."""
    return import_module("diffusers").FluxTransformer2DModel(
        in_channels=4 * sizes.latent_channels,
        num_layers=sizes.flux_layers,
        num_single_layers=sizes.flux_single_layers,
        attention_head_dim=sum(sizes.rope_axes),
        num_attention_heads=sizes.flux_heads,
        joint_attention_dim=sizes.text_width,
        pooled_projection_dim=sizes.text_width,
        guidance_embeds=True,
        axes_dims_rope=sizes.rope_axes,
    )


def flux_pipeline(*, transformer: Any, vae: Any, text_encoder: Any, text_encoder_2: Any) -> Any:
    """Put a `FluxPipeline` together, with the scheduler's published settings."""
    return import_module("diffusers").FluxPipeline(
        transformer=transformer,
        scheduler=_scheduler(shift=3.0, use_dynamic_shifting=True),
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=clip_tokenizer(),
        text_encoder_2=text_encoder_2,
        tokenizer_2=t5_tokenizer(),
    )


def clip_tokenizer() -> Any:
    """Build FLUX's first tokenizer."""
    return build_tokenizer(CLIP_TOKENS, add_bos=True, add_eos=True)


def t5_tokenizer() -> Any:
    """Build FLUX's second tokenizer."""
    return build_tokenizer(_T5_TOKENS, add_bos=False, add_eos=True)


def wan_transformer(sizes: Sizes) -> Any:
    """Build Wan's denoiser."""
    width = sizes.wan_heads * sizes.wan_head_width
    return import_module("diffusers").WanTransformer3DModel(
        num_attention_heads=sizes.wan_heads,
        attention_head_dim=sizes.wan_head_width,
        in_channels=sizes.video_latent_channels,
        out_channels=sizes.video_latent_channels,
        patch_size=(1, 1, 1),
        text_dim=sizes.text_width,
        freq_dim=64,
        ffn_dim=2 * width,
        num_layers=sizes.wan_layers,
        rope_max_seq_len=64,
    )


def wan_vae(sizes: Sizes) -> Any:
    """Build the autoencoder of videos.

    It cuts frames into patches of 4x4 pixels first, which saves most of the work, and halves the rest twice, much as
    Wan 2.2's does. Means and deviations of its latents are those of the published model's first channels.
    """
    target = import_module("diffusers").AutoencoderKLWan
    defaults = inspect.signature(target.__init__).parameters
    channels = sizes.video_latent_channels
    return target(
        base_dim=sizes.video_vae_width,
        z_dim=channels,
        dim_mult=list(sizes.video_vae_levels),
        num_res_blocks=1,
        temperal_downsample=[True, True],
        in_channels=48,
        out_channels=48,
        patch_size=4,
        scale_factor_spatial=16,
        latents_mean=list(defaults["latents_mean"].default[:channels]),
        latents_std=list(defaults["latents_std"].default[:channels]),
    )


def wan_pipeline(*, transformer: Any, vae: Any, text_encoder: Any) -> Any:
    """Put a `WanPipeline` together, with the scheduler's published settings for 480p."""
    diffusers = import_module("diffusers")
    return diffusers.WanPipeline(
        transformer=transformer,
        scheduler=diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=3.0
        ),
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=umt5_tokenizer(),
    )


def umt5_tokenizer() -> Any:
    """Build Wan's tokenizer."""
    return build_tokenizer(_T5_TOKENS, add_bos=False, add_eos=True, more_words=WAN_WORDS)


LUMINA2_PARTS: Mapping[str, Callable[[Sizes], Any]] = MappingProxyType(
    {"text_encoder": gemma2, "transformer": lumina2_transformer, "vae": vae}
)
FLUX_PARTS: Mapping[str, Callable[[Sizes], Any]] = MappingProxyType(
    {"text_encoder": clip, "text_encoder_2": t5, "transformer": flux_transformer, "vae": vae}
)
WAN_PARTS: Mapping[str, Callable[[Sizes], Any]] = MappingProxyType(
    {"text_encoder": umt5, "transformer": wan_transformer, "vae": wan_vae}
)
"""Which function builds which component that has weights."""


@dataclasses.dataclass(frozen=True, slots=True)
class Assembly:
    """How a pipeline is put together.

    Attributes:
        pipeline: takes the components by name.
        parts: builds each component that has weights.
    """

    pipeline: Callable[..., Any]
    parts: Mapping[str, Callable[[Sizes], Any]]


ASSEMBLIES: Mapping[str, Assembly] = MappingProxyType(
    {
        "Lumina2Pipeline": Assembly(lumina2_pipeline, LUMINA2_PARTS),
        "FluxPipeline": Assembly(flux_pipeline, FLUX_PARTS),
        "WanPipeline": Assembly(wan_pipeline, WAN_PARTS),
    }
)
"""By the name of the pipeline's class."""


def _scheduler(**settings: Any) -> Any:
    return import_module("diffusers").FlowMatchEulerDiscreteScheduler(
        num_train_timesteps=1000,
        base_shift=0.5,
        max_shift=1.15,
        base_image_seq_len=256,
        max_image_seq_len=4096,
        **settings,
    )
