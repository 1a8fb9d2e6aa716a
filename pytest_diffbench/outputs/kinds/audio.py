"""Audio: samples, loudness, peak, and the spectrum of the worst moment."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_diffbench.outputs.kinds.audio_findings import SILENT, findings
from pytest_diffbench.outputs.kinds.kind import (
    Defect,
    Figure,
    Kept,
    Kind,
    Part,
    PartComparison,
    Place,
    Sketch,
    Unit,
    Value,
    kept_of,
    least_gap,
    names_of,
    projected,
    stored_float32,
)
from pytest_diffbench.outputs.metrics.metric import Metric, signal_to_noise
from pytest_diffbench.outputs.pixels import image_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

MOST_SAMPLES = 1 << 21
"""Samples that are kept, 8 MiB: 23 s of 44.1 kHz in stereo. Of a longer recording blocks are kept, evenly spread."""

BANDS = 16
"""Of whose levels the course is kept where not all samples are, 3 % of what the samples would take."""

BLOCK = 1 << 14
"""Samples of a channel that share a digest: a third of a second."""

WINDOWS = (512, 1024, 2048)
"""Lengths of the transforms whose spectra are compared: short ones for clicks, long ones for tones."""

_FIELDS = ("audios", "audio", "sound", "sounds", "speech", "waveform", "waveforms")
_BATCHES = ("audios", "sounds", "waveforms")
_MOST_CHANNELS = 8
_WINDOW = 4096
_FULL_SCALE = 1.5
"""Floats beyond it are no audio where no name says so."""

_LEVEL_FLOOR = 1e-3
"""Share of the loudest amplitude of a spectrum, or of the whole RMS, under which differences aren't heard."""


def _gap_db(
    name: str, label: str, *, machine: float, drift: float, broken: float | None = None, digits: int
) -> Metric:
    return Metric(
        name=name,
        label=label,
        machine=machine,
        drift=drift,
        broken=broken,
        digits=digits,
        unit=" dB",
        limit_unit=" dB",
    )


# 1 % of the amplitude, as 40 dB of an image.
_SNR = signal_to_noise("audio_snr_db", "SNR", machine=40.0, drift=20.0, broken=6.0)
# Noise that is even leaves quiet moments 10 dB less than the whole; a click or a gap leaves nothing.
_WINDOW_SNR = signal_to_noise("audio_window_snr_db", "SNR of the worst window", machine=26.0, drift=3.0)
# What the ear tells apart is 1 dB.
_LOUDNESS = _gap_db("audio_loudness_db", "loudness difference", machine=0.1, drift=1.0, broken=6.0, digits=2)
# A peak is a single sample, which noise of 40 dB moves by .2 dB.
_PEAK = _gap_db("audio_peak_db", "peak difference", machine=0.25, drift=2.0, digits=2)
# Noise of 40 dB reaches .5 dB in the worst window of a loud recording; a lost band, 10 and more.
_SPECTRUM = _gap_db("audio_spectrum_db", "spectral difference", machine=1.5, drift=6.0, broken=20.0, digits=1)


class Audio(Kind):
    """A recording. The array has shape (channels, samples); integers of 16 bits are scaled to -1 to 1."""

    name: ClassVar[str] = "audio"
    noun: ClassVar[str] = "audio"
    has_picture: ClassVar[bool] = True
    metrics: ClassVar[tuple[Metric, ...]] = (_SNR, _WINDOW_SNR, _LOUDNESS, _PEAK, _SPECTRUM)
    likeness: ClassVar[tuple[str, ...]] = (_SNR.name,)
    unit: ClassVar[Unit | None] = "samples"
    length_axis: ClassVar[int] = 1

    def is_no_image(self, value: Value) -> bool:
        """By the names that diffusers, transformers and others give to it, or by long rows of both signs."""
        return value.field in _FIELDS or (value.array is not None and _looks_like_sound(value.array))

    def read(self, value: Value) -> tuple[Part, ...] | None:
        """By its name, or long rows of floats from -1 to 1 with both signs."""
        array = value.array
        if array is None or value.latents or array.dtype.kind not in "fi" or not array.size or array.ndim > 3:
            return None
        if array.ndim == 0 or not self.is_no_image(value):
            return None
        channels = _channels(array, is_batch=value.field in _BATCHES and not value.in_list)
        names = names_of(value, len(channels))
        return tuple(
            self._part(value, name, samples) for name, samples in zip(names, channels, strict=True) if samples.size
        )

    def _part(self, value: Value, name: str, samples: NDArray[Any]) -> Part:
        import numpy as np

        dtype = str(samples.dtype)
        if samples.dtype.kind == "i":
            samples = samples / float(np.iinfo(samples.dtype).max + 1)
        finite = bool(np.isfinite(samples).all())
        return Part(
            kind=self.name, name=name, array=samples, dtype=dtype, rate_hz=value.rates.audio_hz, finite=finite
        )

    def defects(self, part: Part) -> tuple[Defect, ...]:
        """Silence is what constant pixels are to an image."""
        import numpy as np

        defects: list[Defect] = [] if part.finite else ["not_finite"]
        if float(np.abs(np.nan_to_num(part.array)).max()) < SILENT:
            defects.append("silent")
        return tuple(defects)

    def keep(self, part: Part) -> Kept:
        """All samples, or evenly spread blocks of all channels."""
        channels, length = part.array.shape
        blocks = -(-length // BLOCK)
        digests = tuple(image_digest(part.array[:, i * BLOCK : (i + 1) * BLOCK]) for i in range(blocks))
        most = max(2, MOST_SAMPLES // (BLOCK * channels))
        if blocks <= most:
            return kept_of(part, {"samples": stored_float32(part.array)}, digests, tuple(range(blocks)))
        kept = tuple(sorted({round(i * (blocks - 1) / (most - 1)) for i in range(most)}))
        arrays = {"samples": stored_float32(_blocks(part.array, kept)), "levels": _levels(part.array)}
        return kept_of(part, arrays, digests, kept)

    def compare(self, now: Kept, base: Kept) -> PartComparison:
        """Sample by sample, and by the spectrum of each moment."""
        new, old = (side.arrays["samples"] for side in (now, base))
        snr_db, place = _worst_window(new, old, now)
        spectrum_db, moment = _worst_spectrum(new, old, now)
        if "levels" in now.arrays and "levels" in base.arrays:
            # of what isn't kept, the levels of its bands tell
            reduced_db, reduced_moment = _worst_level(now.arrays["levels"], base.arrays["levels"])
            if reduced_db > spectrum_db:
                spectrum_db, moment = reduced_db, reduced_moment
        figures = (
            Figure(metric=_SNR.name, value=_snr_db(_power(new, old), _power(old))),
            Figure(metric=_WINDOW_SNR.name, value=snr_db, place=place),
            Figure(metric=_LOUDNESS.name, value=abs(_ratio_db(_power(new), _power(old)) / 2)),
            Figure(metric=_PEAK.name, value=abs(_ratio_db(_peak(new), _peak(old)))),
            Figure(metric=_SPECTRUM.name, value=spectrum_db, place=moment),
        )
        return PartComparison(figures=figures, findings=findings(new, old, now, base, BLOCK))

    def sketch(self, kept: Kept) -> Sketch:
        """A projection of the samples that are kept."""
        return projected(kept.arrays["samples"])

    def least_distances(self, now: Sketch, base: Sketch) -> tuple[Figure, ...]:
        """Signal to noise, and loudness."""
        return (
            Figure(metric=_SNR.name, value=_snr_db(least_gap(now, base) ** 2, base.size**2)),
            Figure(metric=_LOUDNESS.name, value=abs(_ratio_db(now.size, base.size))),
        )

    def picture(self, kept: Kept) -> NDArray[np.uint8]:
        """The waveform of each channel under the other, black on white, 800 pixels wide."""
        return self.pictures([kept])[0]

    def pictures(self, parts: Sequence[Kept]) -> tuple[NDArray[np.uint8], ...]:
        """The same, the peak of all as high as a channel's stripe."""
        recordings = [part.arrays["samples"] for part in parts]
        peak = max(*map(_peak, recordings), 1e-9)
        return tuple(_waveform(samples, peak) for samples in recordings)


def _waveform(samples: NDArray[Any], peak: float) -> NDArray[np.uint8]:
    import numpy as np

    width, height = min(800, samples.shape[1]), 120
    picture = np.full((height * len(samples), width), 255, np.uint8)
    edges = np.linspace(0, samples.shape[1], width + 1).astype(int)
    for channel, row in enumerate(samples):
        lows = np.minimum.reduceat(row, edges[:-1]) / peak
        highs = np.maximum.reduceat(row, edges[:-1]) / peak
        middle = channel * height + height // 2
        for x in range(width):
            top, bottom = (middle - round(float(level) * (height // 2 - 2)) for level in (highs[x], lows[x]))
            picture[top : bottom + 1, x] = 0
    return picture


def _looks_like_sound(array: NDArray[Any]) -> bool:
    """Long rows of floats of both signs: images have several rows, and tensors that aren't sound go further."""
    if (
        array.dtype.kind != "f"
        or array.ndim == 0
        or array.ndim > 3
        or array.shape[-1] < 1024
        or array.shape[-1] < 64 * (array.size // array.shape[-1])
    ):
        return False
    low, high = float(array.min()), float(array.max())
    return -_FULL_SCALE <= low < 0 < high <= _FULL_SCALE


def _channels(array: NDArray[Any], *, is_batch: bool) -> list[NDArray[Any]]:
    """The recordings of a batch, each of shape (channels, samples)."""
    if array.ndim > 1 and array.shape[-1] <= _MOST_CHANNELS < array.shape[-2]:
        array = array.swapaxes(-1, -2)
    if array.ndim == 3:
        return list(array)
    if array.ndim == 2:
        return [row[None] for row in array] if is_batch or len(array) > _MOST_CHANNELS else [array]
    return [array[None]]


def _blocks(array: NDArray[Any], numbers: tuple[int, ...]) -> NDArray[Any]:
    import numpy as np

    return np.concatenate([array[:, i * BLOCK : (i + 1) * BLOCK] for i in numbers], axis=1)


def _power(new: NDArray[Any], old: NDArray[Any] | None = None) -> float:
    """Sum of squares of the samples, or of their differences."""
    import numpy as np

    values = new.astype(np.float64) if old is None else new.astype(np.float64) - old
    return float(np.square(values).sum())


def _peak(samples: NDArray[Any]) -> float:
    import numpy as np

    return float(np.abs(samples).max())


def _snr_db(noise: float, signal: float) -> float:
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def _ratio_db(new: float, old: float) -> float:
    """Twenty times the logarithm of a ratio; infinite where one of both is 0."""
    if new == old:
        return 0.0
    return 20 * math.log10(new / old) if new > 0 and old > 0 else math.inf


def _place(first: int, length: int, kept: Kept) -> Place:
    """A stretch of the kept samples as a stretch of the recording."""
    block = kept.kept_pieces[min(first // BLOCK, len(kept.kept_pieces) - 1)]
    begin = block * BLOCK + first % BLOCK
    return Place(first_sample=begin, end_sample=begin + length)


def _worst_window(new: NDArray[Any], old: NDArray[Any], kept: Kept) -> tuple[float, Place | None]:
    """Least SNR of a moment; silence before and after a sound counts as the quietest sound that is heard."""
    import numpy as np

    starts = list(range(0, old.shape[1], _WINDOW))
    noises, signals = (
        np.add.reduceat(np.square(values.astype(np.float64)).sum(axis=0), starts) for values in (new - old, old)
    )
    floor = float(signals.sum()) / len(starts) * 0.1
    ratios = noises / np.maximum(signals, max(floor, 1e-30))
    worst = int(ratios.argmax())
    if ratios[worst] == 0:
        return math.inf, None
    length = min(_WINDOW, old.shape[1] - starts[worst])
    return -10 * math.log10(float(ratios[worst])), _place(starts[worst], length, kept)


def _worst_spectrum(new: NDArray[Any], old: NDArray[Any], kept: Kept) -> tuple[float, Place | None]:
    """Mean difference of the levels of a moment's spectrum in dB, of the moment and length where it is largest."""
    worst_db, place = 0.0, None
    for length in WINDOWS:
        if old.shape[1] < length:
            continue
        for channel in range(len(old)):
            loudest = max((float(part.max()) for _, part in _spectra(old[channel], length)), default=0.0)
            floor = max(loudest * _LEVEL_FLOOR, 1e-12)
            for (start, after), (_, before) in zip(
                _spectra(new[channel], length), _spectra(old[channel], length), strict=True
            ):
                value_db, moment = _levels_gap(after, before, floor)
                if value_db > worst_db:
                    worst_db, place = value_db, _place(start + moment * length, length, kept)
    return worst_db, place


def _levels_gap(after: NDArray[Any], before: NDArray[Any], floor: float) -> tuple[float, int]:
    """Largest mean difference in dB of a moment, and its number; frequencies that are loud on a side count alone."""
    import numpy as np

    loud = np.maximum(after, before) > floor
    gaps = np.abs(20 * np.log10(np.maximum(after, floor) / np.maximum(before, floor)))
    counts = loud.sum(axis=1)
    # what little sounds in a moment counts for no more than a twentieth of the frequencies would
    means = np.where(loud, gaps, 0.0).sum(axis=1) / np.maximum(counts, after.shape[1] // 20 + 1)
    worst = int(means.argmax())
    return float(means[worst]), worst


def _levels(array: NDArray[Any]) -> NDArray[np.float32]:
    """Mean amplitude of each band of each moment of a recording, of shape (channels, moments, bands)."""
    import numpy as np

    edges = np.unique(np.geomspace(1, _WINDOW // 2, BANDS + 1).astype(int))[:-1]
    rows = []
    for channel in array:
        moments = [np.add.reduceat(part, edges, axis=1) for _, part in _spectra(np.nan_to_num(channel), _WINDOW)]
        rows.append(np.concatenate(moments))
    widths = np.diff([*edges, _WINDOW // 2 + 1])
    return stored_float32(np.stack(rows) / widths)


def _worst_level(new: NDArray[Any], old: NDArray[Any]) -> tuple[float, Place | None]:
    """Mean difference in dB of the bands of the moment where it is largest."""
    import numpy as np

    floor = max(float(max(new.max(), old.max())) * _LEVEL_FLOOR, 1e-12)
    gaps = np.abs(20 * np.log10(np.maximum(new, floor) / np.maximum(old, floor))).mean(axis=2).max(axis=0)
    worst = int(gaps.argmax())
    if not gaps[worst]:
        return 0.0, None
    return float(gaps[worst]), Place(first_sample=worst * _WINDOW, end_sample=(worst + 1) * _WINDOW)


def _spectra(samples: NDArray[Any], length: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Amplitudes of each window of a channel, in pieces that fit the cache, each with its first sample."""
    import numpy as np

    hann = np.hanning(length)
    windows = samples[: len(samples) // length * length].reshape(-1, length)
    for begin in range(0, len(windows), 256):
        part = windows[begin : begin + 256]
        yield begin * length, np.abs(np.fft.rfft(part * hann, axis=1))
