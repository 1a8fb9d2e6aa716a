"""What the minis paint: healthy pictures, which follow their prompts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from minis.classifier import classify
from test_pipelines_mini import (
    NAMES,
    PROMPT,
    minis,  # noqa: F401 - a fixture
    paint,
    painted,  # noqa: F401 - a fixture
    psnr_db,
)

from pytest_diffbench.pipelines.mini import build_mini
from pytest_diffbench.pipelines.registry import MODELS

pytestmark = pytest.mark.pipeline


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [1, 50])
def test_pictures_are_healthy(minis: dict[str, Any], name: str, steps: int) -> None:
    images = paint(minis[name], name, num_inference_steps=steps)
    assert images.shape == (1, 128, 128, 3)
    assert np.isfinite(images).all()
    assert images.std() > 0.05
    assert np.mean((images <= 0) | (images >= 1)) < 0.25


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("old", "new"), [("red", "yellow"), ("circle", "square"), ("blue", "green"), ("large", "small")]
)
def test_every_word_of_the_prompt_changes_the_picture(
    minis: dict[str, Any], painted: dict[str, Any], name: str, old: str, new: str
) -> None:
    assert psnr_db(painted[name], paint(minis[name], name, PROMPT.replace(old, new))) < 30


@pytest.mark.parametrize("name", NAMES)
def test_unknown_words_seed_and_guidance_change_the_picture(
    minis: dict[str, Any], painted: dict[str, Any], name: str
) -> None:
    base, pipeline = painted[name], minis[name]
    assert psnr_db(base, paint(pipeline, name)) > 200
    assert psnr_db(base, paint(pipeline, name, "an old tree near a house at night")) < 25
    assert psnr_db(base, paint(pipeline, name, seed=1)) < 35
    assert psnr_db(base, paint(pipeline, name, guidance_scale=1.0)) < 35


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_paints_what_the_prompt_says(name: str) -> None:
    pipeline: Any = build_mini(MODELS[name], torch.bfloat16)
    pipeline.set_progress_bar_config(disable=True)
    modules = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    assert {parameter.dtype for module in modules for parameter in module.parameters()} == {torch.bfloat16}
    (image,) = paint(pipeline, name, output_type="pil")
    classified = classify(np.asarray(image))
    assert (classified.ground, [classified_object.colour for classified_object in classified.objects]) == (
        "blue",
        ["red"],
    )
