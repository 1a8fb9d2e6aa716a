"""The video mini: a real pipeline whose videos answer to all that a benchmark varies, and to nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pytest_diffbench.pipelines.architectures import umt5_tokenizer
from pytest_diffbench.pipelines.mini import build_mini
from pytest_diffbench.pipelines.registry import MODELS

pytestmark = pytest.mark.pipeline

PROMPT = "a red circle moving right on a blue background"
STEPS = 6


@pytest.fixture(scope="module")
def mini() -> Any:
    pipeline: Any = build_mini(MODELS["wan"])
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def base(mini: Any) -> Any:
    return paint(mini)


def paint(pipeline: Any, prompt: str | list[str] = PROMPT, seed: int = 0, **arguments: Any) -> Any:
    """Videos of shape (videos, frames, height, width, 3), float32 in [0, 1]."""
    defaults = {
        **MODELS["wan"].mini_recommended,
        "num_inference_steps": STEPS,
        "generator": torch.Generator().manual_seed(seed),
    }
    return pipeline(prompt, **{**defaults, **arguments}).frames


def rms(frames: Any, other: Any) -> float:
    return float(np.sqrt(np.mean((frames.astype(np.float64) - other) ** 2)))


def test_the_video_mini_consists_of_the_real_classes(mini: Any) -> None:
    names = {name: type(part).__name__ for name, part in mini.components.items() if part is not None}
    assert names == {
        "text_encoder": "UMT5EncoderModel",
        "tokenizer": names["tokenizer"],
        "transformer": "WanTransformer3DModel",
        "vae": "AutoencoderKLWan",
        "scheduler": "UniPCMultistepScheduler",
    }
    assert (mini.vae_scale_factor_spatial, mini.vae_scale_factor_temporal) == (16, 4)
    assert mini.scheduler.config.flow_shift == 3.0


def test_prompt_seed_and_guidance_change_the_video_and_nothing_else_does(mini: Any, base: Any) -> None:
    assert base.shape == (1, 17, 64, 64, 3)
    assert rms(base, paint(mini)) == 0
    changed = {
        "colour": paint(mini, PROMPT.replace("red", "yellow")),
        "direction": paint(mini, PROMPT.replace("right", "left")),
        "guidance": paint(mini, guidance_scale=1.0),
        "seed": paint(mini, seed=1),
    }
    assert {name: rms(base, video) > 0.01 for name, video in changed.items()} == dict.fromkeys(changed, True)


def test_frames_differ_and_are_healthy(base: Any) -> None:
    assert np.isfinite(base).all()
    assert np.abs(np.diff(base[0], axis=0)).mean(axis=(1, 2, 3)).min() > 0
    assert base.std() > 0.05


def test_the_two_branches_differ_at_every_step(mini: Any) -> None:
    predictions: list[torch.Tensor] = []
    handle = mini.transformer.register_forward_hook(lambda *call: predictions.append(call[2][0].flatten()))
    try:
        paint(mini)
    finally:
        handle.remove()
    assert len(predictions) == 2 * STEPS
    apart = [
        float((cond - uncond).norm() / cond.norm())
        for cond, uncond in zip(predictions[::2], predictions[1::2], strict=True)
    ]
    assert min(apart) > 0.01


def test_rounding_is_not_amplified(mini: Any) -> None:
    latents, noise = torch.randn(2, 1, 16, 5, 4, 4, generator=torch.Generator().manual_seed(5))
    base = paint(mini, latents=latents)
    moved = paint(mini, latents=latents * (1 + 1e-6 * noise))
    assert 0 < np.linalg.norm(base - moved) / np.linalg.norm(base - base.mean()) < 2e-5


def test_other_sizes_lengths_and_long_prompts(mini: Any) -> None:
    videos = paint(mini, "red " * 100, width=32, height=96, num_frames=9, num_inference_steps=2)
    assert videos.shape == (1, 9, 96, 32, 3)
    assert np.isfinite(videos).all()


def test_words_of_motion_are_tokens_and_the_other_minis_words_are_unchanged() -> None:
    tokenizer = umt5_tokenizer()
    tokens = tokenizer.tokenize("a video of a red circle moving up")
    assert tokens == ["▁a", "▁video", "▁of", "▁a", "▁red", "▁circle", "▁moving", "▁up"]
    from pytest_diffbench.pipelines.architectures import t5_tokenizer

    plain = t5_tokenizer()
    assert plain("a red circle on the left").input_ids == tokenizer("a red circle on the left").input_ids
    assert len(tokenizer) == len(plain) + 4
