"""Audio to look at and to listen to: spectrograms on one scale, and WAV files."""

from __future__ import annotations

import io
import wave
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

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
