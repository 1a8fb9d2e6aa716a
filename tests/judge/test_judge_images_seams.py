"""Seams: lines along which a difference jumps, their place and period, and what is no seam."""

from __future__ import annotations

import itertools
import statistics
from typing import TYPE_CHECKING

import image_damages as damage
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from pytest_diffbench.judge import Limits
from pytest_diffbench.outputs.image_seams import find_seam

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LEAST_LEVELS = Limits().tiers("seam_levels").machine


def brighter_rows(image: NDArray[np.uint8], rows: Sequence[int], levels: float = 6) -> NDArray[np.uint8]:
    damaged = image.astype(np.float64)
    damaged[list(rows)] += levels
    return np.clip(np.rint(damaged), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", damage.PICTURES)
@pytest.mark.parametrize("row", [1, 2, 40, 64, 125])
@pytest.mark.parametrize("levels", [6, -6])
def test_a_line_is_located_in_either_direction(kind: str, row: int, levels: int) -> None:
    image = np.clip(damage.PICTURES[kind](128, 0), 6, 249)
    damaged = brighter_rows(image, [row], levels)
    seam = find_seam(image, damaged)
    assert seam.levels > LEAST_LEVELS
    # a line has two sides, and on texture either may stand out more
    assert (seam.orientation, seam.period_px) == ("horizontal", None)
    assert seam.position_px in (row, row + 1)
    turned = find_seam(image.swapaxes(0, 1), damaged.swapaxes(0, 1))
    assert (turned.levels, turned.orientation, turned.position_px) == (seam.levels, "vertical", seam.position_px)


@given(st.integers(3, 124), st.booleans())
def test_a_step_is_detected_between_the_tiles(place: int, across: bool) -> None:
    # plain, since an edge of the picture itself hides a step that lies on it
    image = np.full((128, 128, 3), 120, np.uint8)
    damaged = image.copy()
    (damaged[:, place:] if across else damaged[place:])[...] += np.uint8(6)
    seam = find_seam(image, damaged)
    assert seam.levels == pytest.approx(6)
    assert (seam.orientation, seam.position_px) == ("vertical" if across else "horizontal", place)


@pytest.mark.parametrize(
    ("rows", "period_px"),
    [
        ([32, 64, 96], 32),
        ([20, 52, 84, 116], 32),
        ([16, 48, 64, 112], 16),
        ([60, 120], 60),
        ([60, 90], None),
        ([20, 50, 64, 110], None),
        ([16, 20, 64, 116], None),
        ([64], None),
    ],
)
def test_lines_on_a_grid_have_a_period(rows: list[int], period_px: int | None) -> None:
    image = np.full((128, 128, 3), 100, np.uint8)
    assert find_seam(image, brighter_rows(image, rows)).period_px == period_px


@pytest.mark.parametrize("kind", damage.PICTURES)
@pytest.mark.parametrize("size_px", damage.SIZES_PX)
@pytest.mark.parametrize("change", [damage.seam_lines, damage.seam_steps])
def test_seams_between_tiles_are_detected_on_every_picture(kind: str, size_px: int, change: damage.Change) -> None:
    image = damage.PICTURES[kind](size_px, 0)
    seam = find_seam(image, change(image))
    tile_px = size_px // 4
    assert LEAST_LEVELS < seam.levels < 7
    assert seam.position_px % tile_px in (0, 1)
    if (kind, size_px) == ("photograph", 128):
        # parts of 8 px average too little of its texture to show every line
        assert seam.period_px in (tile_px, None)
    else:
        assert seam.period_px == tile_px


@pytest.mark.parametrize("kind", damage.PICTURES)
@pytest.mark.parametrize("name", ["rounding", "truncation", "faint noise", "red +8", "gain 0.92", "black patch"])
def test_noise_tone_and_objects_are_no_seams(kind: str, name: str) -> None:
    image = damage.PICTURES[kind](128, 0)
    assert find_seam(image, (damage.BENIGN | damage.DAMAGES)[name](image)).levels < 0.5


def test_a_moved_or_blurred_edge_of_both_pictures_is_no_seam() -> None:
    image = np.full((128, 128, 3), 60, np.uint8)
    image[50:] = 180
    moved = np.roll(image, 1, axis=0)
    moved[0] = 60
    blurred = np.rint(ndimage.gaussian_filter1d(image.astype(float), 1, axis=0)).astype(np.uint8)
    for other in (moved, blurred):
        assert np.abs(image.astype(int) - other).max() > 30
        assert find_seam(image, other).levels <= 1


def test_a_line_over_less_than_half_of_the_picture_is_an_object() -> None:
    image = damage.drawing(128, 0)
    damaged = image.copy()
    damaged[60, :56] ^= np.uint8(64)
    assert find_seam(image, damaged).levels == 0


@given(st.integers(0, 2**16), st.sampled_from([None, 1, 3, 4]), st.floats(0, 20))
def test_the_result_equals_the_definition_line_by_line(seed: int, channels: int | None, levels: float) -> None:
    rng = np.random.default_rng(seed)
    shape = (32, 24) if channels is None else (32, 24, channels)
    a = rng.integers(0, 256, shape, dtype=np.uint8)
    b = brighter_rows(damage.noise(3, seed)(a), [9, 21], levels)
    rows = slow_jumps(a, b)
    columns = slow_jumps(a.swapaxes(0, 1), b.swapaxes(0, 1))
    seam = find_seam(a, b)
    assert seam.levels == pytest.approx(max(*rows, *columns), abs=1e-9)
    if seam.levels > 1e-9:
        lines = rows if seam.orientation == "horizontal" else columns
        assert lines[seam.position_px - 1] == pytest.approx(seam.levels, abs=1e-9)


def slow_jumps(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> list[float]:
    """Jumps before each line but the first, from the definition in `find_seam`."""
    first, second = (image.reshape(image.shape[0], image.shape[1], -1).astype(float).tolist() for image in (a, b))
    parts = len(first[0]) // 8

    def jumps(image: list[list[list[float]]]) -> list[float]:
        raw = []
        for above, below in itertools.pairwise(image):
            by_channel = []
            for channel in range(len(above[0])):
                steps = [
                    statistics.fmean(below[x][channel] - above[x][channel] for x in range(8 * part, 8 * part + 8))
                    for part in range(parts)
                ]
                by_channel.append(statistics.median(map(abs, steps)))
            raw.append(max(by_channel))
        mirrored = {line: raw[line] for line in range(len(raw))}
        mirrored |= {-line: raw[line] for line in range(1, 9)}
        mirrored |= {len(raw) - 1 + line: raw[len(raw) - 1 - line] for line in range(1, 9)}
        return [
            max(raw[line] - statistics.median(mirrored[line + off] for off in range(-8, 9) if abs(off) > 1), 0)
            for line in range(len(raw))
        ]

    of_gap = jumps(
        [
            [[x - y for x, y in zip(*pixels, strict=True)] for pixels in zip(*lines, strict=True)]
            for lines in zip(first, second, strict=True)
        ]
    )
    own = [jumps(image) for image in (first, second)]
    last = len(of_gap) - 1
    near = [
        [abs(line + off) if line + off <= last else 2 * last - line - off for off in range(-2, 3)]
        for line in range(last + 1)
    ]
    return [
        max(of_gap[line] - 2 * min(max(line_jumps[n] for n in near[line]) for line_jumps in own), 0)
        for line in range(last + 1)
    ]


@given(st.integers(0, 2**16))
def test_a_higher_step_is_a_stronger_seam(seed: int) -> None:
    image = np.clip(damage.drawing(128, seed), 0, 215)
    planted = (0, 1, 3, 6, 12, 40)
    levels_by_step = [find_seam(image, brighter_rows(image, [64], levels)).levels for levels in planted]
    assert levels_by_step == sorted(levels_by_step)
    # an edge of the picture itself near the line hides some of it, and none adds to it
    assert all(levels <= most + 1e-9 for levels, most in zip(levels_by_step, planted, strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_a_high_step_is_detected_where_no_edge_hides_the_step(seed: int) -> None:
    image = np.clip(damage.drawing(128, seed), 0, 215)
    assert find_seam(image, brighter_rows(image, [64], 0)).levels < 1
    assert find_seam(image, brighter_rows(image, [64], 40)).levels > 10


def test_a_seam_along_an_edge_of_the_picture_is_hidden() -> None:
    image = np.full((128, 128, 3), 60, np.uint8)
    image[64:] = 180
    assert find_seam(image, brighter_rows(image, [64])).levels == 0
    assert find_seam(image, brighter_rows(image, [70])).levels == pytest.approx(6)
