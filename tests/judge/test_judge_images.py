"""The metrics of images against closed forms, an independent slow implementation, and their properties."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import judge_factories as make
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_diffbench.outputs.image_metrics import luma, ssim_map, worst_tile
from pytest_diffbench.outputs.metrics import distance
from pytest_diffbench.outputs.pixels import psnr_db

if TYPE_CHECKING:
    from numpy.typing import NDArray

sizes_px = st.tuples(st.integers(1, 24), st.integers(1, 24))
seeds = st.integers(0, 2**16)


def random_image(seed: int, height_px: int, width_px: int, channels: int | None = 3) -> NDArray[np.uint8]:
    shape = (height_px, width_px) if channels is None else (height_px, width_px, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def slow_ssim(a: NDArray[np.float64], b: NDArray[np.float64], side: int) -> float:
    """Mean SSIM by the definition: one window at a time, moments by two passes."""
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for top in range(a.shape[0] - side + 1):
        for left in range(a.shape[1] - side + 1):
            x = a[top : top + side, left : left + side].ravel().tolist()
            y = b[top : top + side, left : left + side].ravel().tolist()
            mx, my, count = math.fsum(x) / len(x), math.fsum(y) / len(y), max(len(x) - 1, 1)
            vx = math.fsum((value - mx) ** 2 for value in x) / count
            vy = math.fsum((value - my) ** 2 for value in y) / count
            cov = math.fsum((p - mx) * (q - my) for p, q in zip(x, y, strict=True)) / count
            values.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2)))
    return math.fsum(values) / len(values)


@given(seeds, st.integers(7, 20), st.integers(7, 20), st.floats(0, 60))
def test_ssim_equals_the_definition(seed: int, height_px: int, width_px: int, deviation: float) -> None:
    a = random_image(seed, height_px, width_px)
    b = make.noisy(a, deviation, seed)
    expected = slow_ssim(luma(a), luma(b), 7)
    assert distance(a, b)["ssim"].value == pytest.approx(expected, abs=1e-9)


def test_ssim_of_several_strips_equals_the_definition() -> None:
    a = random_image(3, 150, 9, None)
    b = make.noisy(a, 30)
    expected = slow_ssim(luma(a), luma(b), 7)
    assert distance(a, b)["ssim"].value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("size_px", "side"), [((1, 1), 1), ((2, 9), 1), ((3, 5), 3), ((6, 6), 5), ((7, 7), 7)])
def test_ssim_of_small_images_takes_the_largest_odd_window(size_px: tuple[int, int], side: int) -> None:
    a, b = random_image(0, *size_px), random_image(1, *size_px)
    expected = slow_ssim(luma(a), luma(b), side)
    assert distance(a, b)["ssim"].value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("a", "b"), [(10, 20), (0, 255), (200, 200)])
def test_flat_images_have_closed_forms(a: int, b: int) -> None:
    first, second = np.full((16, 16, 3), a, np.uint8), np.full((16, 16, 3), b, np.uint8)
    measured = distance(first, second)
    c1 = 6.5025
    assert measured["ssim"].value == pytest.approx((2 * a * b + c1) / (a * a + b * b + c1), abs=1e-9)
    assert measured["colour_levels"].value == abs(a - b)
    expected = math.inf if a == b else 20 * math.log10(255 / abs(a - b))
    assert measured["psnr_db"].value == pytest.approx(expected)


def test_a_black_image_isnt_near_because_uint8_wrapped_around() -> None:
    white, black = np.full((8, 8, 3), 255, np.uint8), np.zeros((8, 8, 3), np.uint8)
    assert psnr_db(white, black) == psnr_db(black, white) == 0.0


def test_psnr_of_a_single_changed_value() -> None:
    a = np.zeros((10, 10), np.uint8)
    b = a.copy()
    b[3, 4] = 255
    assert psnr_db(a, b) == pytest.approx(10 * math.log10(100))


@given(seeds, sizes_px, st.sampled_from([None, 1, 3, 4]))
def test_an_image_is_equal_to_itself(seed: int, size_px: tuple[int, int], channels: int | None) -> None:
    a = random_image(seed, *size_px, channels)
    measured = distance(a, a.copy())
    assert measured["psnr_db"].value == math.inf
    assert measured["colour_levels"].value == 0
    assert measured["ssim"].value == pytest.approx(1, abs=1e-12)
    assert measured["tile_ssim"].value == pytest.approx(1, abs=1e-12)


@given(seeds, seeds, sizes_px, st.sampled_from([None, 1, 3, 4]))
def test_the_distance_is_symmetric(first_seed: int, two: int, size_px: tuple[int, int], channels: int | None) -> None:
    a, b = random_image(first_seed, *size_px, channels), random_image(two, *size_px, channels)
    there, back = distance(a, b), distance(b, a)
    assert there["psnr_db"].value == back["psnr_db"].value
    assert there["colour_levels"].value == back["colour_levels"].value
    assert there["ssim"].value == pytest.approx(back["ssim"].value, abs=1e-12)
    assert there["tile_ssim"].value == pytest.approx(back["tile_ssim"].value, abs=1e-12)
    assert there["tile_ssim"].value <= there["ssim"].value + 1e-12


@given(seeds)
def test_more_noise_is_further_away(seed: int) -> None:
    image = make.picture()
    distances = [distance(image, make.noisy(image, deviation, seed)) for deviation in (1, 3, 9, 27)]
    for nearer, further in itertools.pairwise(distances):
        assert nearer["psnr_db"].value > further["psnr_db"].value
        assert nearer["ssim"].value > further["ssim"].value
        assert nearer["tile_ssim"].value > further["tile_ssim"].value


def test_a_lost_patch_shows_in_the_worst_tile_with_a_place() -> None:
    image = make.picture(size_px=512)
    broken = image.copy()
    broken[192:256, 320:384] = 0
    measured = distance(image, broken)
    tile = measured["tile_ssim"].tile
    assert tile is not None
    assert measured["ssim"].value > 0.97, "which is why the mean alone doesn't do"
    assert measured["tile_ssim"].value < 0.1
    assert (tile.left_px, tile.top_px, tile.width_px, tile.height_px) == (320, 192, 64, 64)


def test_a_colour_cast_shows_in_the_mean_colour() -> None:
    image = np.minimum(make.picture(), 240)
    cast = image + np.array([8, 0, 0], np.uint8)
    measured = distance(image, cast)
    assert measured["ssim"].value > 0.95
    assert measured["colour_levels"].value == pytest.approx(8)


@given(seeds, sizes_px, st.integers(1, 9))
def test_tiles_cover_every_window_once(seed: int, size_px: tuple[int, int], tile_px: int) -> None:
    height_px, width_px = size_px
    similarity = ssim_map(*(luma(random_image(seed + n, height_px, width_px)) for n in range(2)))
    ssim, tile = worst_tile(similarity, height_px, width_px, tile_px)
    margins = [(whole - part) // 2 for whole, part in zip(size_px, similarity.shape, strict=True)]
    means: dict[tuple[int, int], list[float]] = {}
    for (row, column), value in np.ndenumerate(similarity):
        place = ((row + margins[0]) // tile_px * tile_px, (column + margins[1]) // tile_px * tile_px)
        means.setdefault(place, []).append(float(value))
    assert ssim == pytest.approx(min(math.fsum(values) / len(values) for values in means.values()), abs=1e-9)
    assert tile.left_px + tile.width_px <= width_px
    assert tile.top_px + tile.height_px <= height_px


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.zeros((8, 8, 3)), np.zeros((8, 8, 3))),
        (np.zeros((8, 8, 2), np.uint8), np.zeros((8, 8, 2), np.uint8)),
        (np.zeros((8, 8), np.uint8), np.zeros((8, 9), np.uint8)),
        (np.zeros((0, 8), np.uint8), np.zeros((0, 8), np.uint8)),
    ],
)
def test_what_isnt_an_image_is_refused(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="image"):
        distance(a, b)
