"""Percentiles, reduced colours and perceptual hash against slow implementations; properties of all metrics; traps."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import image_damages as damage
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import fft, ndimage

from pytest_diffbench.judge import Limits
from pytest_diffbench.judge.output.tolerance import checks, tolerance
from pytest_diffbench.outputs import image_metrics
from pytest_diffbench.outputs.image_metrics import ssim_map
from pytest_diffbench.outputs.image_seams import find_seam
from pytest_diffbench.outputs.metrics import Measurement, distance
from pytest_diffbench.outputs.pixels import psnr_db
from pytest_diffbench.records import RerunNoise

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    ImageDistance = dict[str, Measurement]

seeds = st.integers(0, 2**16)
sizes_px = st.tuples(st.integers(1, 40), st.integers(1, 40))
channels = st.sampled_from([None, 1, 3, 4])


def random_image(seed: int, size_px: tuple[int, int], channels: int | None = 3) -> NDArray[np.uint8]:
    shape = size_px if channels is None else (*size_px, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def worst_excess(measured: ImageDistance) -> float:
    same = RerunNoise(rounds=2, identical=True)
    return max(check.excess for check in checks([measured], tolerance("machine", same, same, Limits())))


def slow_gaps(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> list[int]:
    return [abs(int(x) - int(y)) for x, y in zip(a.ravel(), b.ravel(), strict=True)]


def slow_percentile(gaps: list[int], exceeding: int) -> int:
    return sorted(gaps)[len(gaps) - 1 - exceeding]


def slow_means(values: NDArray[np.float64], rows: int, columns: int) -> NDArray[np.float64]:
    """Cell by cell, each pixel in the cell whose first row is the last one not below it."""
    means = np.zeros((rows, columns))
    height, width = values.shape
    for row, column in itertools.product(range(rows), range(columns)):
        inside = values[
            row * height // rows : (row + 1) * height // rows,
            column * width // columns : (column + 1) * width // columns,
        ]
        means[row, column] = math.fsum(inside.ravel().tolist()) / inside.size
    return means


@given(seeds, sizes_px, channels, st.floats(0, 90))
def test_the_percentile_is_a_value_of_the_sorted_differences(
    seed: int, size_px: tuple[int, int], channels: int | None, deviation: float
) -> None:
    a = random_image(seed, size_px, channels)
    b = damage.noise(deviation, seed)(a)
    gaps = slow_gaps(a, b)
    assert image_metrics.p999_levels(a, b) == slow_percentile(gaps, len(gaps) // 1000)


@given(seeds, st.tuples(st.integers(9, 48), st.integers(9, 48)), st.integers(5, 24))
def test_the_worst_tile_has_the_largest_percentile(seed: int, size_px: tuple[int, int], tile_px: int) -> None:
    a = random_image(seed, size_px)
    b = damage.noise(20, seed)(a)
    levels, tile = image_metrics.worst_tile_p99(a, b, tile_px)

    def of_tile(top: int, left: int, bottom: int, right: int) -> int:
        gaps = slow_gaps(a[top:bottom, left:right], b[top:bottom, left:right])
        return slow_percentile(gaps, len(gaps) // 100)

    rows, columns = (math.ceil(length / tile_px) for length in size_px)
    pairs = zip(size_px, (rows, columns), strict=True)
    edges = [[cell * size // count for cell in range(count + 1)] for size, count in pairs]
    tiles = [
        of_tile(top, left, bottom, right)
        for (top, bottom), (left, right) in itertools.product(*(itertools.pairwise(edges_px) for edges_px in edges))
    ]
    assert levels == max(tiles)
    place = (tile.top_px, tile.left_px, tile.top_px + tile.height_px, tile.left_px + tile.width_px)
    assert of_tile(*place) == levels
    assert tile.width_px <= tile_px
    assert tile.height_px <= tile_px


@given(seeds, st.tuples(st.integers(1, 150), st.integers(1, 150)))
def test_colour_is_the_rms_of_cell_means_of_the_worst_channel(seed: int, size_px: tuple[int, int]) -> None:
    a, b = random_image(seed, size_px), random_image(seed + 1, size_px)
    rows, columns = (max(min(64, size // 2), 1) for size in size_px)
    rms = [
        math.sqrt(np.square(slow_means(a[:, :, c].astype(float) - b[:, :, c].astype(float), rows, columns)).mean())
        for c in range(3)
    ]
    assert image_metrics.colour_levels(a, b) == pytest.approx(max(rms))


def test_colours_moved_within_the_picture_are_noticed_though_the_mean_stays() -> None:
    image = np.full((128, 128, 3), 100, np.uint8)
    image[:, :64] = 120
    mirrored = image[:, ::-1].copy()
    assert image.mean() == mirrored.mean()
    assert image_metrics.colour_levels(image, mirrored) == pytest.approx(20)


def hash_bits(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return image_metrics.hash_margins(image_metrics.luma(image)) > 0


def hash_distance_bits(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    return image_metrics.hash_distance_bits(image_metrics.luma(a), image_metrics.luma(b))


@given(seeds, st.tuples(st.integers(9, 80), st.integers(9, 80)))
def test_the_hash_matches_scipys_cosine_transform(seed: int, size_px: tuple[int, int]) -> None:
    image = random_image(seed, size_px)
    brightness = image @ np.array([0.299, 0.587, 0.114])
    small = slow_means(brightness, min(32, size_px[0]), min(32, size_px[1]))
    low = fft.dctn(small, type=2)[1:9, 1:9]
    bits = (low > np.median(low)).ravel()
    assert hash_bits(image).ravel().tolist() == bits.tolist()


@given(seeds, seeds, sizes_px, channels)
def test_the_distance_of_hashes_counts_no_equal_bit(
    first_seed: int, two: int, size_px: tuple[int, int], channels: int | None
) -> None:
    a, b = random_image(first_seed, size_px, channels), random_image(two, size_px, channels)
    assert 0 <= hash_distance_bits(a, b) <= np.count_nonzero(hash_bits(a) != hash_bits(b)) <= 64


def test_frequencies_of_zero_but_for_rounding_dont_count() -> None:
    flat = np.full((128, 128, 3), 128, np.uint8)
    noisy = [damage.noise(1, seed)(flat) for seed in (1, 2)]
    assert np.count_nonzero(hash_bits(noisy[0]) != hash_bits(noisy[1])) > 10
    assert hash_distance_bits(*noisy) == 0


def test_a_different_composition_has_a_different_hash_and_a_different_tone_hasnt() -> None:
    image = damage.photograph(128)
    assert hash_distance_bits(image, damage.gain(image)) == 0
    for other in (damage.photograph(128, 1), np.ascontiguousarray(image[:, ::-1])):
        assert hash_distance_bits(image, other) > Limits().tiers("hash_bits").drift


@given(seeds, st.tuples(st.integers(7, 40), st.integers(7, 40)), st.floats(0, 60))
def test_ssim_equals_ssim_from_scipys_filters(seed: int, size_px: tuple[int, int], deviation: float) -> None:
    first = random_image(seed, size_px, None)
    second = damage.noise(deviation, seed)(first)
    a, b = first.astype(np.float64), second.astype(np.float64)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(ndimage.uniform_filter(values, 7)[3 : size_px[0] - 3, 3 : size_px[1] - 3])

    bessel = 49 / 48
    variance_a, variance_b = (bessel * (mean(x * x) - mean(x) ** 2) for x in (a, b))
    covariance = bessel * (mean(a * b) - mean(a) * mean(b))
    c1, c2 = 2.55**2, 7.65**2
    similarity = (2 * mean(a) * mean(b) + c1) * (2 * covariance + c2)
    similarity /= (mean(a) ** 2 + mean(b) ** 2 + c1) * (variance_a + variance_b + c2)
    np.testing.assert_allclose(ssim_map(a, b), similarity, atol=1e-9)


@pytest.mark.parametrize("kind", damage.PICTURES)
def test_ssim_and_psnr_equal_scikit_images(kind: str) -> None:
    oracle = pytest.importorskip("skimage.metrics")
    image = damage.PICTURES[kind](128, 0)
    for change in damage.DAMAGES.values():
        damaged = change(image)
        measured = distance(image, damaged)
        lumas = [image_metrics.luma(picture) for picture in (image, damaged)]
        assert measured["ssim"].value == pytest.approx(oracle.structural_similarity(*lumas, data_range=255), abs=1e-6)
        assert measured["psnr_db"].value == pytest.approx(
            oracle.peak_signal_noise_ratio(image, damaged, data_range=255)
        )


@given(seeds, sizes_px, channels)
def test_every_metric_of_equal_images_has_the_best_value(
    seed: int, size_px: tuple[int, int], channels: int | None
) -> None:
    image = random_image(seed, size_px, channels)
    measured = distance(image, image.copy())
    assert measured["psnr_db"].value == math.inf
    assert (measured["p999_levels"].value, measured["tile_p99_levels"].value, measured["colour_levels"].value) == (
        0,
        0,
        0,
    )
    assert (measured["seam_levels"].value, measured["hash_bits"].value) == (0, 0)
    assert [measured["ssim"].value, measured["tile_ssim"].value] == pytest.approx([1, 1], abs=1e-12)
    assert worst_excess(measured) == pytest.approx(0, abs=1e-9)


def numbers(measured: ImageDistance) -> list[float]:
    """All figures of a vector, places left out."""
    return [measurement.value for measurement in measured.values()]


@given(seeds, seeds, sizes_px, channels)
def test_every_metric_is_symmetric(first_seed: int, two: int, size_px: tuple[int, int], channels: int | None) -> None:
    a, b = random_image(first_seed, size_px, channels), random_image(two, size_px, channels)
    assert numbers(distance(a, b)) == pytest.approx(numbers(distance(b, a)), abs=1e-9)


def falls_and_rises(distances: list[ImageDistance]) -> None:
    """More damage is never better: similarities fall, differences rise, and so does what the gate judges by."""
    for less, more in itertools.pairwise(distances):
        assert more["psnr_db"].value <= less["psnr_db"].value
        assert more["ssim"].value <= less["ssim"].value + 1e-9
        assert more["tile_ssim"].value <= less["tile_ssim"].value + 1e-9
        assert more["p999_levels"].value >= less["p999_levels"].value
        assert more["tile_p99_levels"].value >= less["tile_p99_levels"].value
        assert more["colour_levels"].value >= less["colour_levels"].value
        assert worst_excess(more) >= worst_excess(less)


@pytest.mark.parametrize("kind", [pytest.param("photograph", marks=pytest.mark.full), "drawing"])
@given(seed=seeds)
def test_more_of_a_damage_is_never_better(kind: str, seed: int) -> None:
    image = np.clip(damage.PICTURES[kind](128, seed), 1, 215)
    families: list[tuple[Callable[[int], damage.Change], tuple[int, ...]]] = [
        (lambda deviation: damage.noise(deviation, seed), (0, 1, 3, 9, 27)),
        (damage.patch, (0, 1, 5, 15, 40)),
        (damage.cast, (0, 1, 2, 8, 40)),
    ]
    for family, amounts in families:
        falls_and_rises([distance(image, family(amount)(image)) for amount in amounts])


def test_nothing_wraps_around_in_uint8() -> None:
    white, black = np.full((64, 64, 3), 255, np.uint8), np.zeros((64, 64, 3), np.uint8)
    for a, b in ((white, black), (black, white)):
        measured = distance(a, b)
        names = ("psnr_db", "p999_levels", "tile_p99_levels", "colour_levels")
        assert [measured[name].value for name in names] == [0, 255, 255, 255]


def test_twice_the_brightness_is_far_away_though_the_cosine_distance_is_nothing() -> None:
    image = damage.photograph(128) // 2
    twice = image * np.uint8(2)
    a, b = image.ravel().astype(float), twice.ravel().astype(float)
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) == pytest.approx(1)
    assert worst_excess(distance(image, twice)) > 10


@pytest.mark.parametrize(
    "metric",
    [
        image_metrics.p999_levels,
        image_metrics.worst_tile_p99,
        image_metrics.colour_levels,
        find_seam,
        distance,
        psnr_db,
    ],
)
@pytest.mark.parametrize(
    "values", [np.full((8, 8, 3), np.nan), np.full((8, 8, 3), 0.5), np.zeros((8, 8, 3), np.int16)]
)
def test_no_metric_takes_a_different_range_or_nan(metric: Callable[..., Any], values: NDArray[Any]) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    for pair in ((values, values), (image, values), (values, image)):
        with pytest.raises(ValueError, match="uint8"):
            metric(*pair)
    with pytest.raises(ValueError, match="shape"):
        metric(image, np.zeros((8, 9, 3), np.uint8))
