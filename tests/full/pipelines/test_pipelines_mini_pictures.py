"""The minis' pictures show what the prompt says. `benchmarks/mini_agreement.py` measures how often.

Those of videos: `tests/pipelines/test_pipelines_mini_video.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from minis import pictures
from minis.classifier import classify

from pytest_diffbench.pipelines.mini import build_mini
from pytest_diffbench.pipelines.registry import MODELS

pytestmark = pytest.mark.pipeline

COLOURS = list(pictures.COLOURS)
WANTED = [
    (colour, pictures.SHAPES[number % len(pictures.SHAPES)], COLOURS[number - 3])
    for number, colour in enumerate(COLOURS[:6])
]
"""Colour and shape of the object, and colour of the ground: six of all, chosen by their order alone."""


@pytest.mark.parametrize("name", [name for name in MODELS if name != "wan"])
def test_object_and_ground_have_the_colours_of_the_prompt(name: str) -> None:
    pipeline: Any = build_mini(MODELS[name])
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline(
        [f"a large {colour} {shape} on a {ground} background" for colour, shape, ground in WANTED],
        generator=[torch.Generator().manual_seed(seed) for seed in range(len(WANTED))],
        **MODELS[name].mini_recommended,
    ).images
    classified = [classify(np.asarray(image)) for image in images]
    wrong = [
        (wanted, shown)
        for wanted, shown in zip(WANTED, classified, strict=True)
        if (shown.ground, *(classified_object.colour for classified_object in shown.objects[:1]))
        != (wanted[2], wanted[0])
    ]
    assert len(wrong) <= 1, wrong
