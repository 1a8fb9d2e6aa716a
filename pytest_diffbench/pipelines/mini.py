"""Tiny but real pipelines, built in code: every component is the library's own class, with seeded weights.

They stand in for the full-size models where there is no GPU, no hub and no licence. Their pictures show nothing, but
prompt, seed, guidance, truncation and renorm all change them, and rounding doesn't: see `weights`.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import PipelineError
from pytest_diffbench.pipelines.tokenizers import BOS, EOS, PAD, SPECIAL_TOKENS, build_tokenizer, vocabulary_size
from pytest_diffbench.pipelines.weights import fill, oppose_input

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from diffusers import DiffusionPipeline

    from pytest_diffbench.pipelines.registry import Model

_LATENT_CHANNELS = 4
_PATCH_CHANNELS = 4 * _LATENT_CHANNELS
"""Latents are cut into patches of 2x2."""

_WIDTH = 64
_TEXT_WIDTH = 32
_HEADS = 4
_ROPE_AXES = (4, 6, 6)
"""Rotary dimensions for sequence, row and column; they add up to the width of a head."""

_CLIP_TOKENS = 77

_DENOISER_GAINS = MappingProxyType({"norm_q": 1.2, "norm_k": 1.2, "norm1.linear": 2.0})
"""Attention that tells words apart, and blocks that are felt. Chosen by measuring, with `_DENOISING`: prompts,
guidance and renorm leave less than 26 dB between two pictures, and a rounding error grows less than fivefold."""

_FLUX_GAINS = MappingProxyType({**_DENOISER_GAINS, "text_embedder": 1.5})
_CLIP_GAINS = MappingProxyType({"out_proj": 3.0})
"""FLUX is told of CLIP's last token alone: this is what makes it speak for the words before it."""

_DENOISING = 1.2
"""Share of its input that a denoiser removes in one unit of time."""

_PAD_ID, _EOS_ID, _BOS_ID = (SPECIAL_TOKENS.index(token) for token in (PAD, EOS, BOS))


def build_mini(model: Model, dtype: torch.dtype | None = None) -> DiffusionPipeline:
    """Build the mini of a registered model, on the CPU, in evaluation mode.

    The weights depend on `model.mini_seed` alone. torch's global random state is left as it was.

    Args:
        model: a registered model.
        dtype: of the parameters, rounded from float32; None for float32. Buffers keep their own, as they do when a
            pipeline is loaded.

    Raises:
        PipelineError: there is no mini for the model's class of pipeline.
    """
    import torch

    try:
        build = _BUILDERS[model.pipeline_class]
    except KeyError:
        raise PipelineError(
            f"model={model.name!r}: there is no mini of {model.pipeline_class}, only of {', '.join(_BUILDERS)}. "
            "Load it with --diffbench-weights=pretrained."
        ) from None
    # the constructors draw initial weights from the global generator, and obey a default device and dtype
    default = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]), torch.device("cpu"), torch.no_grad():
        torch.set_default_dtype(torch.float32)
        try:
            pipeline = build(model.mini_seed)
        finally:
            torch.set_default_dtype(default)
    for component in pipeline.components.values():
        if isinstance(component, torch.nn.Module):
            component.eval().requires_grad_(False)
            for parameter in component.parameters():
                parameter.data = parameter.data.to(dtype or torch.float32)
    built: DiffusionPipeline = pipeline
    return built


# import_module, since neither library's classes are typed: what it returns is Any, and is checked as such
def _lumina2(seed: int) -> Any:
    diffusers, transformers = import_module("diffusers"), import_module("transformers")
    text_encoder = transformers.Gemma2Model(
        transformers.Gemma2Config(
            vocab_size=vocabulary_size(),
            hidden_size=_TEXT_WIDTH,
            intermediate_size=2 * _TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=_HEADS,
            num_key_value_heads=_HEADS // 2,
            head_dim=_TEXT_WIDTH // _HEADS,
            query_pre_attn_scalar=_TEXT_WIDTH // _HEADS,
            max_position_embeddings=512,
            pad_token_id=_PAD_ID,
            bos_token_id=_BOS_ID,
            eos_token_id=_EOS_ID,
        )
    )
    transformer = diffusers.Lumina2Transformer2DModel(
        sample_size=16,
        in_channels=_LATENT_CHANNELS,
        hidden_size=_WIDTH,
        num_layers=2,
        num_refiner_layers=1,
        num_attention_heads=_HEADS,
        num_kv_heads=_HEADS // 2,
        multiple_of=32,
        axes_dim_rope=_ROPE_AXES,
        axes_lens=(520, 256, 256),
        cap_feat_dim=_TEXT_WIDTH,
    )
    fill(text_encoder, f"{seed}/text_encoder", zero_centred_norms=True)
    fill(transformer, f"{seed}/transformer", gains=_DENOISER_GAINS)
    oppose_input(transformer.norm_out.linear_2, transformer.x_embedder, sign=-1, strength=_DENOISING)
    return diffusers.Lumina2Pipeline(
        transformer=transformer,
        scheduler=_scheduler(shift=6.0),
        vae=_vae(seed),
        text_encoder=text_encoder,
        tokenizer=build_tokenizer(512, add_bos=True, add_eos=False),
    )


def _flux(seed: int) -> Any:
    diffusers, transformers = import_module("diffusers"), import_module("transformers")
    text_encoder = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=vocabulary_size(),
            hidden_size=_TEXT_WIDTH,
            intermediate_size=2 * _TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=_HEADS,
            max_position_embeddings=_CLIP_TOKENS,
            projection_dim=_TEXT_WIDTH,
            pad_token_id=_PAD_ID,
            bos_token_id=_BOS_ID,
            eos_token_id=_EOS_ID,
        )
    )
    text_encoder_2 = transformers.T5EncoderModel(
        transformers.T5Config(
            vocab_size=vocabulary_size(),
            d_model=_TEXT_WIDTH,
            d_kv=_TEXT_WIDTH // _HEADS,
            d_ff=2 * _TEXT_WIDTH,
            num_layers=2,
            num_heads=_HEADS,
            feed_forward_proj="gated-gelu",
            pad_token_id=_PAD_ID,
            eos_token_id=_EOS_ID,
            decoder_start_token_id=_PAD_ID,
        )
    )
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=_PATCH_CHANNELS,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=_WIDTH // _HEADS,
        num_attention_heads=_HEADS,
        joint_attention_dim=_TEXT_WIDTH,
        pooled_projection_dim=_TEXT_WIDTH,
        guidance_embeds=True,
        axes_dims_rope=_ROPE_AXES,
    )
    fill(text_encoder, f"{seed}/text_encoder", gains=_CLIP_GAINS)
    fill(text_encoder_2, f"{seed}/text_encoder_2")
    fill(transformer, f"{seed}/transformer", gains=_FLUX_GAINS)
    oppose_input(transformer.proj_out, transformer.x_embedder, sign=1, strength=_DENOISING)
    return diffusers.FluxPipeline(
        transformer=transformer,
        scheduler=_scheduler(shift=3.0, use_dynamic_shifting=True),
        vae=_vae(seed),
        text_encoder=text_encoder,
        tokenizer=build_tokenizer(_CLIP_TOKENS, add_bos=True, add_eos=True),
        text_encoder_2=text_encoder_2,
        tokenizer_2=build_tokenizer(512, add_bos=False, add_eos=True),
    )


def _vae(seed: int) -> Any:
    """An autoencoder of four levels, so that a latent pixel stands for 8x8 pixels, as in both models."""
    vae = import_module("diffusers").AutoencoderKL(
        block_out_channels=(16, 16, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=_LATENT_CHANNELS,
        sample_size=128,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
        force_upcast=True,
    )
    fill(vae, f"{seed}/vae")
    return vae


def _scheduler(**settings: Any) -> Any:
    """The models' own scheduler, with the settings that they are published with."""
    return import_module("diffusers").FlowMatchEulerDiscreteScheduler(
        num_train_timesteps=1000,
        base_shift=0.5,
        max_shift=1.15,
        base_image_seq_len=256,
        max_image_seq_len=4096,
        **settings,
    )


_BUILDERS: dict[str, Callable[[int], Any]] = {"Lumina2Pipeline": _lumina2, "FluxPipeline": _flux}
