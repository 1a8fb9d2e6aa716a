"""What the minis are taught: which pictures have captions, and how strong a distilled guidance may be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from minis import data, pictures, train_flow


def test_bare_pictures_get_no_or_other_words_and_the_rest_get_the_shown_facts() -> None:
    rng = np.random.default_rng(1)
    scenes = [pictures.scene(rng, objects=1) for _ in range(400)]
    bare = np.arange(400) % 2 == 0
    texts = data.texts(data.pictures_of("flat"), scenes, bare, np.ones(400), rng)
    assert [text.negative for text in texts] == bare.tolist()
    assert all(any(shape in text.words for shape in pictures.SHAPES) for text in texts[1::2])
    assert not any(shape in text.words for text in texts[::2] for shape in pictures.SHAPES)
    assert 0.75 < sum(not text.words for text in texts[::2]) / 200 < 0.91


@pytest.mark.parametrize(("sigma", "least", "most"), [(0.5, 0, 0), (0.87, 0, 0), (0.95, 30, 130)])
def test_captions_are_wrong_only_where_a_picture_is_nearly_all_noise(sigma: float, least: int, most: int) -> None:
    rng = np.random.default_rng(4)
    scenes = [pictures.scene(rng, objects=1) for _ in range(400)]
    texts = data.texts(data.pictures_of("flat"), scenes, np.zeros(400, dtype=bool), np.full(400, sigma), rng)
    captioned = zip(texts, (scene.objects[0] for scene in scenes), strict=True)
    wrong = sum(f"{drawn_object.colour} {drawn_object.shape}" not in text.words for text, drawn_object in captioned)
    assert least <= wrong <= most


def test_a_guided_picture_is_held_to_the_spread_of_the_unguided_picture() -> None:
    noisy, conditional, unconditional = torch.randn(3, 4, 8, 6, 6, generator=torch.Generator().manual_seed(1))
    guided = unconditional + 5 * (conditional - unconditional)
    held = train_flow.held_back(guided, conditional, noisy, torch.ones(4))
    spreads = (noisy - held).std(dim=(1, 2, 3))
    assert spreads == pytest.approx((noisy - conditional).std(dim=(1, 2, 3)))
    assert (spreads < (noisy - guided).std(dim=(1, 2, 3)) / 2).all()


@pytest.mark.parametrize("sigma", [0.0, 0.5, 1.0])
def test_guidance_with_no_strengthening_effect_is_left_alone(sigma: float) -> None:
    noisy, conditional = torch.randn(2, 4, 8, 6, 6, generator=torch.Generator().manual_seed(2))
    level = torch.full((4,), sigma)
    paler = conditional + 0.5 * (noisy - level[:, None, None, None] * conditional)
    assert torch.equal(train_flow.held_back(conditional, conditional, noisy, level), conditional)
    assert torch.equal(train_flow.held_back(paler, conditional, noisy, level), paler)


def test_without_noise_guidance_stays_finite() -> None:
    noisy, conditional, guided = torch.randn(3, 4, 8, 6, 6, generator=torch.Generator().manual_seed(3))
    held = train_flow.held_back(guided, conditional, noisy, torch.zeros(4))
    assert torch.equal(held, guided)
