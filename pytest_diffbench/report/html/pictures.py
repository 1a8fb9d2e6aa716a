"""Pictures and recordings of a page: differences, heat maps, worst tiles, spectrograms and waves, and their bytes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import math
import wave
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


TILE_PX = 64
"""Side of a worst tile where the verdict names none."""

_EXACT_VALUES = 256 * 256 * 3
"""Up to so many values a picture on a single page is stored without loss: a PNG of them is at most 200 kB."""

_MOST_SIDE_PX = 1600
_MOST_HEAT_PX = 512
_QUALITY = 88

# Colours of a heat map from no difference to the largest: dark, violet, red, orange, yellow, so that brightness alone
# tells the order too. Level 0 is set apart from level 1.
_HEAT = ((22, 22, 34), (62, 22, 102), (126, 30, 120), (190, 48, 92), (236, 92, 48), (250, 160, 40), (255, 240, 150))


@dataclasses.dataclass(frozen=True, slots=True)
class Encoded:
    """A picture's file.

    Attributes:
        data: its bytes.
        kind: `png` or `jpeg`.
        width_px: of the picture that it was made of, as is `height_px`.
        exact: pixel for pixel what was returned.
    """

    data: bytes
    kind: str
    width_px: int
    height_px: int
    exact: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Area:
    """A part of a picture, in pixels from its top left corner."""

    left_px: int
    top_px: int
    width_px: int
    height_px: int


def encoded(
    picture: NDArray[np.uint8], *, whole: bool = False, side_px: int = _MOST_SIDE_PX, file: Path | None = None
) -> Encoded:
    """Encode a picture, unless a file of it is there.

    Args:
        picture: uint8 of shape (height, width) or (height, width, channels) with 1, 3 or 4 channels.
        whole: without loss, whatever its size; else a large one becomes a JPEG.
        side_px: longest side of one that isn't whole.
        file: a PNG of the very picture, taken where it is to be whole.
    """
    from PIL import Image

    height, width = picture.shape[:2]
    if whole and file is not None:
        with contextlib.suppress(OSError):
            return Encoded(file.read_bytes(), "png", width, height, True)
    flat = picture[:, :, 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture
    image = Image.fromarray(flat)
    if not whole and max(height, width) > side_px:
        image.thumbnail((side_px, side_px), reducing_gap=2.0)
    exact = whole or (image.size == (width, height) and picture.size <= _EXACT_VALUES)
    buffer = io.BytesIO()
    if exact:
        # Runs alone: of photographs in half the time and no larger, of drawings hardly larger.
        image.save(buffer, format="PNG", compress_type=zlib.Z_RLE)
        return Encoded(buffer.getvalue(), "png", width, height, True)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    image.save(buffer, format="JPEG", quality=_QUALITY, subsampling=0)
    return Encoded(buffer.getvalue(), "jpeg", width, height, False)


def levels_between(now: NDArray[np.uint8], base: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Of each pixel the largest difference of a channel, uint8 of shape (height, width); None for other shapes."""
    if now.shape != base.shape:
        return None
    gaps = np.maximum(now, base) - np.minimum(now, base)
    if gaps.ndim == 2:
        return gaps
    # Plane by plane, which takes a twentieth of the time of a maximum along so short an axis.
    return functools.reduce(np.maximum, (gaps[..., channel] for channel in range(gaps.shape[2])))


def heat_map(levels: NDArray[np.uint8], *, whole: bool = False) -> Encoded:
    """Differences in colours on a logarithmic scale from 1 to 255, as a PNG with a palette.

    Args:
        levels: as `levels_between` gives them.
        whole: a pixel for each; else a large one is reduced, each pixel to the largest difference that it stands for.
    """
    from PIL import Image

    height, width = levels.shape
    times = 1 if whole else math.ceil(max(height, width) / _MOST_HEAT_PX)
    reduced = _largest(levels, times) if times > 1 else levels
    image = Image.fromarray(reduced, mode="P")
    image.putpalette(_palette())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=4)
    return Encoded(buffer.getvalue(), "png", width, height, times == 1)


@functools.cache
def _palette() -> bytes:
    colours: list[int] = []
    for level in range(256):
        place = math.log1p(level) / math.log(256) * (len(_HEAT) - 1)
        lower = min(int(place), len(_HEAT) - 2)
        share = place - lower
        colours += [
            round(low + share * (high - low)) for low, high in zip(_HEAT[lower], _HEAT[lower + 1], strict=True)
        ]
    return bytes(colours)


def _largest(levels: NDArray[np.uint8], times: int) -> NDArray[np.uint8]:
    height, width = levels.shape
    padded = np.pad(levels, ((0, -height % times), (0, -width % times)))
    return functools.reduce(
        np.maximum, (padded[row::times, column::times] for row, column in np.ndindex(times, times))
    )


def worst_area(levels: NDArray[np.uint8]) -> Area:
    """The tile with the largest mean difference, on a grid of `TILE_PX`."""
    height, width = levels.shape
    padded = np.pad(levels, ((0, -height % TILE_PX), (0, -width % TILE_PX)))
    rows, columns = padded.shape[0] // TILE_PX, padded.shape[1] // TILE_PX
    means = padded.reshape(rows, TILE_PX, columns, TILE_PX).mean(axis=(1, 3))
    row, column = divmod(int(means.argmax()), columns)
    top, left = row * TILE_PX, column * TILE_PX
    return Area(left, top, min(TILE_PX, width - left), min(TILE_PX, height - top))


def crop(picture: NDArray[np.uint8], area: Area) -> NDArray[np.uint8]:
    """A part of a picture."""
    return np.ascontiguousarray(
        picture[area.top_px : area.top_px + area.height_px, area.left_px : area.left_px + area.width_px]
    )


_WINDOW = 512
_MOST_COLUMNS = 800
_ROWS = 128
_DEPTH_DB = 80.0
"""From the loudest moment down to what counts as silence."""

MOST_CLIP_BYTES = 2 << 20
"""Of a recording on a single page: about twenty seconds of stereo at 24 kHz."""


def spectrograms(recordings: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.uint8], ...]:
    """Spectrograms of recordings on one scale: high notes on top, channels under each other, loud is bright.

    Args:
        recordings: float32 of shape (channels, samples), values within -1 to 1.

    Returns:
        uint8 of shape (height, width); 255 for the loudest moment of all, 0 for 80 dB below it.
    """
    powers = [np.concatenate([_power(channel) for channel in recording]) for recording in recordings]
    top_db = max(float(power.max()) for power in powers)
    scale = 255 / _DEPTH_DB
    return tuple(((power - top_db + _DEPTH_DB).clip(0) * scale).round().astype(np.uint8) for power in powers)


def _power(channel: NDArray[np.float32]) -> NDArray[np.float64]:
    """Decibels of bands over time, the highest band first."""
    padded = np.pad(channel, (0, max(0, _WINDOW - len(channel))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)
    hop = max(_WINDOW // 4, -(-len(windows) // _MOST_COLUMNS))
    spectrum = np.abs(np.fft.rfft(windows[::hop] * np.hanning(_WINDOW), axis=1)[:, : 2 * _ROWS]) ** 2
    bands = spectrum.reshape(len(spectrum), _ROWS, 2).max(axis=2)
    power: NDArray[np.float64] = 10 * np.log10(bands.T[::-1] + 1e-12)
    return power


def wav(recording: NDArray[np.float32], rate_hz: float, most_bytes: int | None = None) -> bytes:
    """A recording as a WAV file with 16 bits, cut where it would be larger than allowed.

    Args:
        recording: float32 of shape (channels, samples), values within -1 to 1.
        rate_hz: samples per second.
        most_bytes: of the file.
    """
    channels = len(recording)
    if most_bytes is not None:
        recording = recording[:, : most_bytes // (2 * channels)]
    samples = (recording.clip(-1, 1) * np.iinfo(np.int16).max).round().astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(round(rate_hz))
        file.writeframes(samples.T.tobytes())
    return buffer.getvalue()
