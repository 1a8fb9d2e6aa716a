"""Pictures like photographs and like drawings, and what may happen to them: benign noise, and damage."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from minis import pictures
from PIL import Image
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Change = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]

SIZES_PX = (128, 512, 1024)

_PATCH_PX = {128: 10, 512: 32, 1024: 64}
_SEAM_LEVELS = 6


def photograph(size_px: int, seed: int = 0) -> NDArray[np.uint8]:
    """Coloured 1/f noise, a horizon, and three shapes with texture of their own; uint8 RGB."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size_px, 0:size_px] / size_px
    # most of a photograph's contrast is brightness, shared by its channels
    shared = _pink_noise(rng, size_px)
    image = np.stack([0.8 * shared + 0.4 * _pink_noise(rng, size_px) for _ in range(3)], axis=-1)
    image = rng.uniform(90, 150, 3) + 32 * image
    image[y > rng.uniform(0.5, 0.8)] += rng.uniform(-35, 35, 3)
    for _ in range(3):
        left, top, radius = *rng.uniform(0.2, 0.8, 2), rng.uniform(0.08, 0.2)
        inside = pictures.signed_distance_px(str(rng.choice(pictures.SHAPES)), x - left, y - top, radius) < 0
        image[inside] += rng.uniform(-60, 60, 3)
    return _rounded(image)


def drawing(size_px: int, seed: int = 0) -> NDArray[np.uint8]:
    """One or two flat shapes on a plain ground, as the miniature pipelines learn them, at any size; uint8 RGB."""
    scene = _scene(np.random.default_rng(seed))
    scale = size_px / pictures.SIDE_PX
    y, x = np.mgrid[0:size_px, 0:size_px] + 0.5
    image = np.broadcast_to(np.array(pictures.COLOURS[scene.ground], np.float64), (size_px, size_px, 3)).copy()
    for drawn_object in scene.objects:
        away_px = pictures.signed_distance_px(
            drawn_object.shape,
            x - scale * drawn_object.x_px,
            y - scale * drawn_object.y_px,
            scale * drawn_object.radius_px,
        )
        image += np.clip(0.5 - away_px, 0, 1)[..., None] * (np.array(pictures.COLOURS[drawn_object.colour]) - image)
    return _rounded(image)


def _scene(rng: np.random.Generator) -> pictures.Scene:
    """Any size anywhere, whatever the minis are taught: these pictures mustn't change with them."""
    count = 2 if rng.random() < 0.15 else 1
    ground, *colours = rng.permutation(list(pictures.COLOURS))[: count + 1]
    middle = pictures.SIDE_PX / 2
    if count == 1:
        radius, offset = {"small": (19.0, 32.0), "medium": (30.0, 24.0), "large": (42.0, 16.0)}[
            rng.choice(["small", "medium", "large"])
        ]
        x, y = (middle + offset * rng.integers(-1, 2) for _ in range(2))
        return pictures.Scene((pictures._drawn_object(rng, colours[0], x, y, radius),), str(ground))
    centres = [(middle - 32.0, middle), (middle + 32.0, middle)]
    if rng.random() < 0.5:
        centres = [(y, x) for x, y in centres]
    objects = (
        pictures._drawn_object(rng, colour, x, y, 22.0) for colour, (x, y) in zip(colours, centres, strict=True)
    )
    return pictures.Scene(tuple(objects), str(ground))


PICTURES: dict[str, Callable[[int, int], NDArray[np.uint8]]] = {"photograph": photograph, "drawing": drawing}


def _pink_noise(rng: np.random.Generator, size_px: int) -> NDArray[np.float64]:
    """Noise whose amplitude falls with frequency, of mean 0 and deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(size_px)[:, None], np.fft.rfftfreq(size_px)[None])
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(size_px, size_px))) / frequency, s=(size_px, size_px))
    return np.asarray(noise / noise.std())


def _rounded(values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


def _added(image: NDArray[np.uint8], levels: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.uint8]:
    return _rounded(image.astype(np.float64) + levels)


def rounding(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """-1, 0 or +1 on each value by chance: 49.9 dB."""
    return _added(image, np.random.default_rng(5).integers(-1, 2, image.shape))


def truncation(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Half of the values one level lower, as when they are cut off and not rounded: 51.1 dB."""
    return _added(image, -np.random.default_rng(5).integers(0, 2, image.shape))


def faint_noise(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Normal noise of 1.35 levels, which rounding makes 45.3 dB."""
    return noise(1.35)(image)


BENIGN: dict[str, Change] = {"rounding": rounding, "truncation": truncation, "faint noise": faint_noise}


def noise(deviation: float, seed: int = 1) -> Change:
    """Normal noise, a draw for each value."""
    return lambda image: _added(image, np.random.default_rng(seed).normal(0, deviation, image.shape))


def cast(levels: float) -> Change:
    """More red."""
    return lambda image: _added(image, np.array([levels, 0.0, 0.0]))


def patch(side_px: int | None = None) -> Change:
    """A black square off the centre; by default 10 px of 128, 32 of 512, 64 of 1024."""

    def patched(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        side = _PATCH_PX[image.shape[0]] if side_px is None else side_px
        top, left = image.shape[0] * 5 // 16, image.shape[1] * 9 // 16
        damaged = image.copy()
        damaged[top : top + side, left : left + side] = 0
        return damaged

    return patched


def gamma(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each value to the power of 1.03: at most 2.8 levels darker."""
    return _rounded(255 * (image / 255) ** 1.03)


def gain(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Darker by 8 %."""
    return _rounded(image * 0.92)


def shifted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Moved down by one row; the first row stays."""
    return np.concatenate([image[:1], image[:-1]])


def jpeg(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Through JPEG at quality 75, with Pillow's subsampling of colour."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=75)
    return np.array(Image.open(stream))


def seam_lines(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lines of one pixel between tiles of a quarter of the side, 6 levels brighter."""
    damaged = image.astype(np.float64)
    tile_px = image.shape[0] // 4
    damaged[tile_px::tile_px] += _SEAM_LEVELS
    damaged[:, tile_px::tile_px] += _SEAM_LEVELS
    return _rounded(damaged)


def seam_steps(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every other tile of a quarter of the side 6 levels brighter, as the black squares of a chessboard."""
    tile_px = image.shape[0] // 4
    y, x = np.mgrid[0 : image.shape[0], 0 : image.shape[1]] // tile_px
    return _added(image, _SEAM_LEVELS * ((y + x) % 2)[..., None])


def swapped(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Red for blue."""
    return np.ascontiguousarray(image[:, :, ::-1])


def halved(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Content of half the size, enlarged again."""
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize((width // 2, height // 2), Image.Resampling.BOX)
    return np.array(small.resize((width, height), Image.Resampling.BICUBIC))


def blurred(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A Gaussian of one pixel's deviation."""
    return _rounded(ndimage.gaussian_filter(image.astype(np.float64), (1, 1, 0)))


DAMAGES: dict[str, Change] = {
    "gamma 1.03": gamma,
    "red +8": cast(8),
    "gain 0.92": gain,
    "black patch": patch(),
    "shifted by a row": shifted,
    "JPEG 75": jpeg,
    "seam lines +6": seam_lines,
    "seam steps +6": seam_steps,
    "red for blue": swapped,
    "half size": halved,
    "blur 1 px": blurred,
    "noise 6": noise(6),
}
