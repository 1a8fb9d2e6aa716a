"""What is kept of an image where a whole one is too much."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_diffbench.outputs.excerpts import MOST_PX, decoded, excerpts


@pytest.mark.parametrize("shape", [(MOST_PX, 5, 3), (7, MOST_PX), (4, 4, 4), (4, 4, 1)])
def test_a_small_image_is_kept_unchanged(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    (kept,) = decoded(excerpts([image]))
    assert np.array_equal(kept, image[:, :, 0] if shape[2:] == (1,) else image)


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"),
    [(300, 200, slice(86, 214), slice(36, 164)), (60, 256, slice(0, 60), slice(64, 192))],
    ids=["both sides", "one side"],
)
def test_of_a_large_image_the_means_and_the_middle_are_kept(
    height: int, width: int, rows: slice, columns: slice
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    small, middle = decoded(excerpts([image]))
    assert np.array_equal(middle, image[rows, columns])
    factor = -(-max(height, width) // MOST_PX)
    assert small.shape == (-(-height // factor), -(-width // factor), 3)
    corner = image[:factor, :factor].mean(axis=(0, 1))
    assert np.abs(small[0, 0] - corner).max() <= 0.5
