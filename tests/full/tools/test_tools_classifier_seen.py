"""The classifier that judges the minis sees what was drawn."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from minis import pictures
from minis.agreement import Agreement, agreement
from minis.classifier import classify
from scipy import ndimage

if TYPE_CHECKING:
    from minis.pictures import Style
    from numpy.typing import NDArray
from test_tools_classifier import STYLES


def painted(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blur, tint and roughen a drawn picture."""
    soft = ndimage.gaussian_filter(picture.astype(np.float64), (1.5, 1.5, 0.0))
    rough = soft + rng.uniform(-15, 15, size=3) + rng.normal(0, 6, size=soft.shape)
    return np.clip(np.rint(rough), 0, 255).astype(np.uint8)


def right_shares(style: Style, *, objects: int, count: int) -> dict[str, float]:
    """Share of drawn and distorted scenes in which each fact is seen."""
    rng = np.random.default_rng((7, STYLES.index(style), objects))
    agreements = []
    for _ in range(count):
        scene = pictures.scene(rng, objects=objects)
        agreements.append(agreement(scene, classify(painted(pictures.draw(scene, style, rng), rng))))
    return {
        field.name: float(np.mean([getattr(agreement, field.name) for agreement in agreements]))
        for field in dataclasses.fields(Agreement)
        if getattr(agreements[0], field.name) is not None
    }


@pytest.mark.parametrize("style", STYLES)
def test_sees_what_was_drawn_through_blur_tint_and_noise(style: Style) -> None:
    shares = right_shares(style, objects=1, count=300)
    least = {"object_colour": 0.99, "ground": 0.99, "count": 0.99, "shape": 0.98, "size": 0.98, "place": 0.98}
    assert {fact: shares[fact] for fact in least if shares[fact] < least[fact]} == {}


@pytest.mark.parametrize("style", STYLES)
def test_sees_two_objects(style: Style) -> None:
    shares = right_shares(style, objects=2, count=80)
    assert set(shares) == {"ground", "count", "object_colour", "shape", "order"}
    assert {fact: share for fact, share in shares.items() if share < 0.97} == {}
