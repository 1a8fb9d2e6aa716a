"""Real diffusers pipelines, built in code with seeded weights, and a measurement of one call of them."""

from __future__ import annotations

import functools
import gc
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import torch
from tiny_parts import quiet, tiny_autoencoder, tiny_clip
from tiny_pipelines import build_tiny

from pytest_diffbench.measure import definition
from pytest_diffbench.measure.argument_values import describe
from pytest_diffbench.measure.rounds import drive_plainly
from pytest_diffbench.measure.runner import Measurement, Plan
from pytest_diffbench.pipelines.tokenizers import build_tokenizer
from pytest_diffbench.records import Definition, Observation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_diffbench.measure.pace import Pace

PROMPT = "a red circle"
SMALL: dict[str, Any] = {"num_inference_steps": 2, "height": 64, "width": 64}
_WIDTH = 32


@pytest.fixture(scope="module", autouse=True)
def frozen_heap(real_libraries: None) -> None:
    """Keep what exists out of collections: each measurement begins with one, over all that the session imported."""
    observe(mini("lumina2"), PROMPT, **SMALL)
    mini("flux")  # libraries are imported as they are needed
    stable_diffusion()
    gc.collect()
    gc.freeze()


def prepared(
    target: Callable[..., Any],
    *args: Any,
    rounds: int = 1,
    device: str = "cpu",
    pace: Pace | None = None,
    plain_call: bool = False,
    enough: Callable[[Sequence[float]], bool] | None = None,
    output_only: bool = False,
    **kwargs: Any,
) -> Measurement:
    """A measurement of `target(*args, **kwargs)` that has yet to be taken."""
    arguments = describe(definition.bind(target, args, kwargs))
    plan = Plan(
        case_id="a case",
        device=device,
        definition=Definition(
            pipeline=definition.name_of(target), weights="own", dtype="float32", seed=0, arguments=arguments
        ),
        rounds=rounds,
        warmup_rounds=0,
        plain_call=plain_call,
        enough=enough,
        output_only=output_only,
    )
    return Measurement(plan, target, args, kwargs, pace)


def take(measurement: Measurement) -> Observation:
    """Take a measurement, and see that its record survives being written and read."""
    measurement.take(drive_plainly, lambda *_: None)
    return read_back(measurement, complete=True)


def read_back(measurement: Measurement, *, complete: bool) -> Observation:
    """The observation after a round trip through JSON, to which it must be equal."""
    observation = measurement.observation(complete=complete)
    # NaN and infinity are written as null, which no field of numbers takes back.
    read = msgspec.json.decode(msgspec.json.encode(observation), type=Observation)
    assert msgspec.structs.replace(read, run=observation.run) == observation
    assert read.run.rounds == observation.run.rounds
    return read


def observe(target: Callable[..., Any], *args: Any, **kwargs: Any) -> Observation:
    """Measure one call."""
    return take(prepared(target, *args, **kwargs))


new_mini = build_tiny
"""Builds a pipeline of a test's own, smaller than the minis: what it paints doesn't matter here."""

mini = functools.cache(new_mini)
"""One that tests share; none may change it."""


@functools.cache
def stable_diffusion(kind: str = "") -> Any:
    """A tiny pipeline with a UNet.

    Args:
        kind: `XL` for its successor, `Img2Img` for the one that begins with an image, `Heun` for a scheduler that
            takes two steps where others take one.
    """
    import diffusers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        xl = kind == "XL"
        scheduler = diffusers.HeunDiscreteScheduler() if kind == "Heun" else None
        unet = diffusers.UNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            block_out_channels=(16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=2 * _WIDTH if xl else _WIDTH,
            attention_head_dim=4,
            **(
                {
                    "addition_embed_type": "text_time",
                    "addition_time_embed_dim": 8,
                    "projection_class_embeddings_input_dim": 6 * 8 + _WIDTH,
                }
                if xl
                else {}
            ),
        )
        parts: dict[str, Any] = {
            "unet": unet,
            "vae": tiny_autoencoder(),
            "text_encoder": tiny_clip(projected=False),
            "tokenizer": build_tokenizer(77, add_bos=True, add_eos=True),
            "scheduler": scheduler or diffusers.DDIMScheduler(steps_offset=1, clip_sample=False),
        }
        if xl:
            parts |= {"text_encoder_2": tiny_clip(projected=True), "tokenizer_2": parts["tokenizer"]}
            pipeline = diffusers.StableDiffusionXLPipeline(**parts, add_watermarker=False)
        else:
            parts |= {"safety_checker": None, "feature_extractor": None}
            name = "StableDiffusionImg2ImgPipeline" if kind == "Img2Img" else "StableDiffusionPipeline"
            pipeline = getattr(diffusers, name)(**parts, requires_safety_checker=False)
    return quiet(pipeline)


@functools.cache
def stable_diffusion_3() -> Any:
    """A tiny pipeline with a transformer that predicts both branches at once."""
    import diffusers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformer = diffusers.SD3Transformer2DModel(
            sample_size=16,
            patch_size=2,
            in_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=2 * _WIDTH,
            caption_projection_dim=_WIDTH,
            pooled_projection_dim=2 * _WIDTH,
            out_channels=4,
        )
        tokenizer = build_tokenizer(77, add_bos=True, add_eos=True)
        pipeline = diffusers.StableDiffusion3Pipeline(
            transformer=transformer,
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
