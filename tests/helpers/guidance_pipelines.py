"""Tiny pipelines of diffusers with seeded random weights, sound or with a line of their `__call__` replaced."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import torch
from tiny_parts import quiet, tiny_autoencoder, tiny_clip

from pytest_diffbench.judge import Limits, judge
from pytest_diffbench.measure import definition
from pytest_diffbench.measure.argument_values import describe
from pytest_diffbench.measure.rounds import drive_plainly
from pytest_diffbench.measure.runner import Measurement, Plan
from pytest_diffbench.pipelines.tokenizers import build_tokenizer, vocabulary_size
from pytest_diffbench.records import Definition
from pytest_diffbench.records.artifacts import Artifacts
from pytest_diffbench.report.sentences import worded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_diffbench.records import Observation

PROMPT = "a red circle"
_WIDTH = 32
_SMALL: dict[str, Any] = {"num_inference_steps": 3, "height": 64, "width": 64, "output_type": "latent"}


def observed(pipeline: Any, **arguments: Any) -> Observation:
    """Measure a call of a few steps whose result stays in latents."""
    asked = {"prompt": PROMPT} | _SMALL | arguments
    plan = Plan(
        case_id="a case",
        device="cpu",
        definition=Definition(
            pipeline=definition.name_of(pipeline),
            weights="own",
            dtype="float32",
            seed=0,
            arguments=describe(definition.bind(pipeline, (), asked)),
        ),
        rounds=1,
        warmup_rounds=0,
    )
    measurement = Measurement(plan, pipeline, (), asked)
    measurement.take(drive_plainly, lambda *_: None)
    return measurement.observation(complete=True)


def judged(pipeline: Any, **arguments: Any) -> Any:
    """Verdict of the guidance gate on a call."""
    observation = observed(pipeline, **arguments)
    (verdict,) = judge(observation, Artifacts(images=(), trace={}), None, Limits(), ["guidance"])
    return worded(verdict)


def broken(build: Callable[[], Any], before: str, after: str) -> Any:
    """A pipeline whose `__call__` has a piece of its source replaced. The piece must stand in it exactly once."""
    pipeline = build()
    sound = type(pipeline)
    function = inspect.unwrap(sound.__call__)
    source = inspect.getsource(function)
    assert source.count(before) == 1, f"{sound.__name__}.__call__ has changed: {before!r}"
    scope = dict(vars(sys.modules[sound.__module__]))
    code = textwrap.dedent(source.replace(before, after))
    exec(compile(code, f"<broken {sound.__name__}>", "exec"), scope)
    kind = type(sound.__name__, (sound,), {"__call__": scope["__call__"], "__module__": sound.__module__})
    other: Any = object.__new__(kind)
    other.__dict__.update(pipeline.__dict__)
    return other


@functools.cache
def stable_diffusion() -> Any:
    """Stable Diffusion 1: a UNet that predicts both branches in one batch."""
    import diffusers

    with _seeded():
        pipeline = diffusers.StableDiffusionPipeline(
            unet=_unet(cross_attention_dim=_WIDTH),
            vae=tiny_autoencoder(),
            text_encoder=tiny_clip(projected=False),
            tokenizer=build_tokenizer(77, add_bos=True, add_eos=True),
            scheduler=diffusers.DDIMScheduler(steps_offset=1, clip_sample=False),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    return quiet(pipeline)


@functools.cache
def stable_diffusion_xl() -> Any:
    """Stable Diffusion XL: the same with two text encoders, and with rescaling of guidance."""
    import diffusers

    with _seeded():
        tokenizer = build_tokenizer(77, add_bos=True, add_eos=True)
        pipeline = diffusers.StableDiffusionXLPipeline(
            unet=_unet(
                cross_attention_dim=2 * _WIDTH,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=6 * 8 + _WIDTH,
            ),
            vae=tiny_autoencoder(),
            text_encoder=tiny_clip(projected=False),
            text_encoder_2=tiny_clip(projected=True),
            tokenizer=tokenizer,
            tokenizer_2=tokenizer,
            scheduler=diffusers.DDIMScheduler(steps_offset=1, clip_sample=False),
            add_watermarker=False,
        )
    return quiet(pipeline)


@functools.cache
def stable_diffusion_3() -> Any:
    """Stable Diffusion 3: a transformer that predicts both branches in one batch, and can skip layers."""
    import diffusers

    with _seeded():
        tokenizer = build_tokenizer(77, add_bos=True, add_eos=True)
        pipeline = diffusers.StableDiffusion3Pipeline(
            transformer=diffusers.SD3Transformer2DModel(
                sample_size=16,
                patch_size=2,
                in_channels=4,
                num_layers=2,
                attention_head_dim=8,
                num_attention_heads=4,
                joint_attention_dim=2 * _WIDTH,
                caption_projection_dim=_WIDTH,
                pooled_projection_dim=2 * _WIDTH,
                out_channels=4,
            ),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
            vae=tiny_autoencoder(),
            text_encoder=tiny_clip(projected=True),
            tokenizer=tokenizer,
            text_encoder_2=tiny_clip(projected=True),
            tokenizer_2=tokenizer,
            text_encoder_3=None,
            tokenizer_3=None,
        )
    return quiet(pipeline)


@functools.cache
def flux(*, guidance_embeds: bool = True) -> Any:
    """FLUX: a distilled scale, and true guidance in a call of its own beside it."""
    import diffusers
    import transformers

    with _seeded():
        t5: Any = transformers.T5Config(
            vocab_size=vocabulary_size(), d_model=_WIDTH, d_kv=8, d_ff=_WIDTH, num_layers=1, num_heads=4
        )
        pipeline = diffusers.FluxPipeline(
            transformer=diffusers.FluxTransformer2DModel(
                patch_size=1,
                in_channels=16,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=_WIDTH,
                pooled_projection_dim=_WIDTH,
                guidance_embeds=guidance_embeds,
                axes_dims_rope=(4, 4, 8),
            ),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
            vae=tiny_autoencoder(),
            text_encoder=tiny_clip(projected=False),
            tokenizer=build_tokenizer(77, add_bos=True, add_eos=True),
            text_encoder_2=transformers.T5EncoderModel(t5),
            tokenizer_2=build_tokenizer(77, add_bos=False, add_eos=True),
        )
    return quiet(pipeline)


@functools.cache
def lumina2() -> Any:
    """Lumina2: a call for each branch, truncation by step, renormalisation of rows."""
    import diffusers
    import transformers

    with _seeded():
        gemma: Any = transformers.Gemma2Config(
            vocab_size=vocabulary_size(),
            hidden_size=_WIDTH,
            intermediate_size=_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
        )
        pipeline = diffusers.Lumina2Pipeline(
            transformer=_stirred(
                diffusers.Lumina2Transformer2DModel(
                    sample_size=8,
                    patch_size=2,
                    in_channels=4,
                    hidden_size=24,
                    num_layers=1,
                    num_refiner_layers=1,
                    num_attention_heads=2,
                    num_kv_heads=1,
                    multiple_of=2,
                    axes_dim_rope=(4, 4, 4),
                    axes_lens=(300, 64, 64),
                    cap_feat_dim=_WIDTH,
                )
            ),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
            vae=tiny_autoencoder(),
            text_encoder=transformers.Gemma2Model(gemma),
            tokenizer=build_tokenizer(256, add_bos=True, add_eos=False),
        )
    return quiet(pipeline)


@functools.cache
def qwen_image() -> Any:
    """Qwen-Image: a call for each branch, each token renormalised."""
    import diffusers
    import transformers

    with _seeded():
        config: Any = transformers.Qwen2_5_VLConfig(
            text_config={
                "vocab_size": vocabulary_size(),
                "hidden_size": _WIDTH,
                "intermediate_size": _WIDTH,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_key_value_heads": 2,
                "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
            },
            vision_config={
                "depth": 1,
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_heads": 2,
                "out_hidden_size": 32,
            },
        )
        pipeline = diffusers.QwenImagePipeline(
            transformer=diffusers.QwenImageTransformer2DModel(
                patch_size=2,
                in_channels=16,
                out_channels=4,
                num_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=_WIDTH,
                axes_dims_rope=(4, 6, 6),
            ),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
            vae=diffusers.AutoencoderKLQwenImage(
                base_dim=8, z_dim=4, num_res_blocks=1, latents_mean=[0.0] * 4, latents_std=[1.0] * 4
            ),
            text_encoder=transformers.Qwen2_5_VLForConditionalGeneration(config),
            tokenizer=build_tokenizer(256, add_bos=True, add_eos=False),
        )
    return quiet(pipeline)


@functools.cache
def z_image() -> Any:
    """Z-Image: both branches in one batch that is a list, truncation by time, a clamp of the norm."""
    import diffusers
    import transformers

    with _seeded():
        qwen: Any = transformers.Qwen3Config(
            vocab_size=vocabulary_size(),
            hidden_size=_WIDTH,
            intermediate_size=_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=16,
        )
        tokenizer = build_tokenizer(256, add_bos=True, add_eos=False)
        tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
        pipeline = diffusers.ZImagePipeline(
            transformer=_stirred(
                diffusers.ZImageTransformer2DModel(
                    in_channels=4,
                    dim=32,
                    n_layers=1,
                    n_refiner_layers=1,
                    n_heads=2,
                    n_kv_heads=2,
                    cap_feat_dim=_WIDTH,
                    axes_dims=[4, 6, 6],
                    axes_lens=[512, 64, 64],
                )
            ),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
            vae=tiny_autoencoder(),
            text_encoder=transformers.Qwen3Model(qwen),
            tokenizer=tokenizer,
        )
    return quiet(pipeline)


@contextlib.contextmanager
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _stirred(model: Any) -> Any:
    """A model whose parameters are all drawn: many begin with zeros, with which no prompt makes a difference."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model


def _unet(**arguments: Any) -> Any:
    import diffusers

    return diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        **arguments,
    )
