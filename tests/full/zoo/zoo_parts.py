"""Parts of the zoo's pipelines: text encoders, tokenizers and autoencoders, a few thousand parameters each."""

from __future__ import annotations

import sys
import types
from typing import Any

import torch
from tiny_parts import tiny_autoencoder, tiny_clip

from pytest_diffbench.pipelines.tokenizers import build_tokenizer, vocabulary_size

WIDTH = 32
"""Of every text encoder's states."""

_CHAT = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
_BLOCKS: dict[str, Any] = {"hidden_size": WIDTH, "intermediate_size": WIDTH, "num_hidden_layers": 2}
_HEADS: dict[str, Any] = {"num_attention_heads": 2, "num_key_value_heads": 2}

__all__ = ["tiny_autoencoder", "tiny_clip"]


def stirred(model: Any) -> Any:
    """A model whose parameters are all drawn: many begin with zeros, with which no prompt makes a difference."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model


def tokenizer(length: int = 77, *, add_bos: bool = False, add_eos: bool = True) -> Any:
    """A tokenizer that cuts off after `length` tokens and knows how to write a chat."""
    tokenizer: Any = build_tokenizer(length, add_bos=add_bos, add_eos=add_eos)
    tokenizer.chat_template = _CHAT
    return tokenizer


def clip_tokenizer() -> Any:
    return tokenizer(add_bos=True)


def long_clip() -> Any:
    """A CLIP text encoder that reads 128 tokens, as HiDream asks of it."""
    import transformers

    config: Any = transformers.CLIPTextConfig(
        vocab_size=vocabulary_size(),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=4,
        projection_dim=WIDTH,
        max_position_embeddings=128,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    return transformers.CLIPTextModelWithProjection(config)


def t5() -> Any:
    import transformers

    config: Any = transformers.T5Config(
        vocab_size=vocabulary_size(), d_model=WIDTH, d_kv=8, d_ff=WIDTH, num_layers=1, num_heads=4
    )
    return transformers.T5EncoderModel(config)


def umt5() -> Any:
    import transformers

    config: Any = transformers.UMT5Config(
        vocab_size=vocabulary_size(), d_model=WIDTH, d_kv=8, d_ff=WIDTH, num_layers=1, num_heads=4
    )
    return transformers.UMT5EncoderModel(config)


def gemma(version: int) -> Any:
    """A Gemma of the first or second version."""
    import transformers

    second = version == 2
    kind: Any = transformers.Gemma2Config if second else transformers.GemmaConfig
    config = kind(vocab_size=vocabulary_size(), **_BLOCKS, **_HEADS, head_dim=16)
    return (transformers.Gemma2Model if second else transformers.GemmaModel)(config)


def decoder_only(name: str, **arguments: Any) -> Any:
    """A language model of transformers whose configuration has the usual names.

    Args:
        name: of the model class without its ending, such as `Qwen3`.
        arguments: `model` is the class's ending, the rest goes into the configuration.
    """
    import transformers

    ending = arguments.pop("model", "Model")
    kind: Any = getattr(transformers, f"{name}Config")
    config = kind(vocab_size=vocabulary_size(), **(_BLOCKS | _HEADS | {"head_dim": 16} | arguments))
    config.pad_token_id, config.eos_token_id, config.bos_token_id = 0, 1, 2
    return getattr(transformers, f"{name}{ending}")(config)


def qwen25_vl(hidden_layers: int = 2) -> Any:
    """Qwen2.5-VL, which several pipelines read their prompts with."""
    import transformers

    config: Any = transformers.Qwen2_5_VLConfig(
        text_config=_BLOCKS
        | _HEADS
        | {
            "vocab_size": vocabulary_size(),
            "num_hidden_layers": hidden_layers,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": WIDTH,
        },
    )
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


def clip_vision(side_px: int = 32) -> Any:
    """An image encoder, which two-stage pipelines ask what an empty picture is."""
    import transformers

    config: Any = transformers.CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        projection_dim=WIDTH,
        image_size=side_px,
        patch_size=side_px // 2,
    )
    return transformers.CLIPVisionModelWithProjection(config)


def do_without_ftfy(pipeline: type) -> None:
    """Let a class take prompts as they are where ftfy, which mends damaged text, isn't installed."""
    module = sys.modules[pipeline.__module__]
    if not hasattr(module, "ftfy"):
        module.ftfy = types.SimpleNamespace(fix_text=lambda text: text)  # type: ignore[attr-defined]  # added here


def clip_images() -> Any:
    import transformers

    return transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})


def wide_autoencoder() -> Any:
    """An autoencoder of sixteen latent channels, a number that some pipelines take for granted."""
    import diffusers

    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=16,
        shift_factor=0.1,
    )


def vq_autoencoder(**arguments: Any) -> Any:
    """An autoencoder with a codebook, of two levels."""
    import diffusers

    return diffusers.VQModel(
        **(
            {
                "block_out_channels": (8, 8),
                "down_block_types": ("DownEncoderBlock2D",) * 2,
                "up_block_types": ("UpDecoderBlock2D",) * 2,
                "norm_num_groups": 4,
                "latent_channels": 4,
                "num_vq_embeddings": 12,
                "vq_embed_dim": 4,
            }
            | arguments
        )
    )


def flux2_autoencoder() -> Any:
    """FLUX.2's autoencoder, whose latents are packed and normalised by its own statistics."""
    import diffusers

    return diffusers.AutoencoderKLFlux2(
        block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4, latent_channels=4
    )


def wan_autoencoder() -> Any:
    import diffusers

    return diffusers.AutoencoderKLWan(
        base_dim=8, z_dim=4, num_res_blocks=1, latents_mean=[0.0] * 4, latents_std=[1.0] * 4
    )


def qwen_autoencoder() -> Any:
    import diffusers

    return diffusers.AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, num_res_blocks=1, latents_mean=[0.0] * 4, latents_std=[1.0] * 4
    )


def deep_autoencoder() -> Any:
    """A deep-compression autoencoder, in which nothing is drawn at random."""
    import diffusers

    return diffusers.AutoencoderDC(
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        upsample_block_type="interpolate",
        downsample_block_type="stride_conv",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
    )


def unet(**arguments: Any) -> Any:
    """A conditional UNet of two levels."""
    import diffusers

    return diffusers.UNet2DConditionModel(
        **(
            {
                "sample_size": 8,
                "in_channels": 4,
                "out_channels": 4,
                "block_out_channels": (8, 16),
                "layers_per_block": 1,
                "norm_num_groups": 4,
                "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
                "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
                "attention_head_dim": 4,
                "cross_attention_dim": WIDTH,
            }
            | arguments
        )
    )


PACKED: dict[str, Any] = {
    "in_channels": 16,
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
}
"""A transformer of FLUX's family over latents in patches of 2 x 2."""


def flow(**arguments: Any) -> Any:
    import diffusers

    return diffusers.FlowMatchEulerDiscreteScheduler(**arguments)


class ChatOnly:
    """A processor of which a pipeline asks but what it makes of a chat.

    Contents come as lists of parts, which a tokenizer's template doesn't read.
    """

    def __init__(self) -> None:
        self._tokenizer = tokenizer(1024, add_eos=False)

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
        return "".join(
            content if isinstance(content, str) else "".join(part["text"] for part in content) for content in contents
        )


def qwen2_vl() -> Any:
    """Qwen2-VL, of which only texts are asked."""
    import transformers

    config: Any = transformers.Qwen2VLConfig(
        text_config=_BLOCKS
        | _HEADS
        | {
            "vocab_size": vocabulary_size(),
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
        },
        vision_config={"depth": 1, "embed_dim": 16, "hidden_size": WIDTH, "num_heads": 2, "mlp_ratio": 1},
    )
    return transformers.Qwen2VLForConditionalGeneration(config)


class TextOnly:
    """A processor of texts and pictures that leaves the pictures out."""

    def __init__(self, length: int = 600) -> None:
        self._tokenizer = tokenizer(length, add_eos=False)

    def __call__(self, text: Any, images: Any = None, videos: Any = None, **arguments: Any) -> Any:
        return self._tokenizer(text, **arguments)

    def decode(self, *arguments: Any, **options: Any) -> str:
        return str(self._tokenizer.decode(*arguments, **options))


def siglip() -> Any:
    """An image encoder that several pipelines for videos read the first frame with."""
    import transformers

    config: Any = transformers.SiglipVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    return transformers.SiglipVisionModel(config)


def siglip_images() -> Any:
    import transformers

    return transformers.SiglipImageProcessor(size={"height": 32, "width": 32})
