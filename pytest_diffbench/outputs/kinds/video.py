"""Video: every frame as an image is compared, the worst counts, and how they follow each other."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_diffbench.outputs.image_metrics import area_means
from pytest_diffbench.outputs.kinds.kind import (
    Figure,
    Kept,
    Kind,
    Part,
    PartComparison,
    Place,
    Unit,
    Value,
    is_constant,
    kept_of,
    names_of,
)
from pytest_diffbench.outputs.kinds.video_findings import findings, rms
from pytest_diffbench.outputs.metrics.builtin import BUILT_IN
from pytest_diffbench.outputs.metrics.metric import ImagePair, Metric, signal_to_noise
from pytest_diffbench.outputs.pixels import image_digest, to_uint8_arrays

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from pytest_diffbench.outputs.metrics.metric import ImageMetric

SKETCH_PX = 96
"""Longer side of a sketch: small enough for all frames, large enough for a patch of 64 pixels to fill cells."""

MOST_SKETCH_BYTES = 8 << 20
"""Of all sketches together; of a longer video they are smaller."""

MOST_FRAMES = 9
MOST_FRAME_BYTES = 16 << 20
"""Of the frames that are kept whole, before compression: the first, the last, and others evenly between."""

_FIELDS = ("frames", "video", "videos")
_CHANNELS = (1, 3, 4)

FRAME_METRICS: dict[str, ImageMetric] = {f"video_{metric.name}": metric for metric in BUILT_IN}
"""The metrics of images, for whole frames."""


def _count(name: str, label: str) -> Metric:
    return Metric(name=name, label=label, machine=0, drift=0, whole=True, steps_per_unit=1, digits=0)


def _of_frames(name: str, metric: ImageMetric) -> Metric:
    shared = {field.name: getattr(metric, field.name) for field in dataclasses.fields(Metric)}
    return Metric(**shared | {"name": name})


# Noise of 40 dB averages out over cells of 64 pixels to 58 dB; what is left at 46 dB covers areas.
_SKETCH_PSNR = signal_to_noise(
    "video_sketch_psnr_db", "PSNR of a reduced frame", machine=46.0, drift=30.0, broken=20.0
)
_SKETCH_CELL = Metric(
    # Noise of 45 dB leaves 1 after reduction; a lost patch of 64 pixels, all of its difference.
    name="video_sketch_levels",
    label="largest difference of a reduced frame",
    machine=8.0,
    drift=128.0,
    largest=255,
    digits=1,
    unit="/255",
)
_FLICKER = Metric(
    # The step from one frame to the next, root mean square. Noise of 45 dB adds .3 to a still picture; a jump of a
    # pixel in a textured one, 10.
    name="video_flicker_levels",
    label="flicker",
    machine=1.5,
    drift=8.0,
    largest=255,
    digits=1,
    unit="/255",
)
# Equal to the last bit by chance alone never happens to frames that moved.
_FROZEN = _count("video_frozen_frames", "frozen frames")
# Likewise.
_MISPLACED = _count("video_misplaced_frames", "misplaced frames")


class Video(Kind):
    """Frames in the order of time. The array is uint8 of shape (frames, height, width, channels)."""

    name: ClassVar[str] = "video"
    noun: ClassVar[str] = "video"
    metrics: ClassVar[tuple[Metric, ...]] = (
        *(_of_frames(name, metric) for name, metric in FRAME_METRICS.items()),
        _SKETCH_PSNR,
        _SKETCH_CELL,
        _FLICKER,
        _FROZEN,
        _MISPLACED,
    )
    likeness: ClassVar[tuple[str, ...]] = ("video_psnr_db", "video_ssim")
    unit: ClassVar[Unit | None] = "frames"

    def is_no_image(self, value: Value) -> bool:
        """By the names that diffusers and others give to it, or an axis more than a batch of images has."""
        return value.field in _FIELDS or (value.array is not None and value.array.ndim == 5)

    def read(self, value: Value) -> tuple[Part, ...] | None:
        """By its name, or as a batch of images with one axis more, or a list of lists of pictures."""
        if value.latents:
            return None
        named = value.field in _FIELDS
        videos = list(_videos(value, named))
        if not videos:
            return None
        try:
            frames = [_frames(video, value.channels_first) for video in videos]
        except (TypeError, ValueError):
            return None  # no images: latents, or values beyond 0 to 1
        names = names_of(value, len(frames))
        return tuple(
            Part(kind=self.name, name=name, array=array, dtype="uint8", rate_hz=value.rates.video_hz, finite=finite)
            for name, (array, finite) in zip(names, frames, strict=True)
        )

    def defects(self, part: Part) -> Any:
        """A video of which every frame is of a single colour shows nothing."""
        defects = [] if part.finite else ["not_finite"]
        if all(
            is_constant(frame.reshape(-1, frame.shape[-1])[:, c])
            for frame in part.array
            for c in range(frame.shape[-1])
        ):
            defects.append("constant")
        return tuple(defects)

    def keep(self, part: Part) -> Kept:
        """Digests and sketches of all frames, and some frames whole where sketches are smaller than frames."""
        import numpy as np

        frames = part.array
        rows, columns = _sketch_size(frames.shape)
        digests = tuple(image_digest(frame) for frame in frames)
        if (rows, columns) == frames.shape[1:3]:
            return kept_of(part, {"sketches": np.ascontiguousarray(frames)}, digests, tuple(range(len(frames))))
        sketches = np.stack([area_means(frame, rows, columns).round().astype(np.uint8) for frame in frames])
        frame_bytes = int(np.prod(frames.shape[1:]))
        most = min(MOST_FRAMES, len(frames), max(2, MOST_FRAME_BYTES // frame_bytes))
        whole = tuple(sorted({round(i * (len(frames) - 1) / max(most - 1, 1)) for i in range(most)}))
        return kept_of(part, {"sketches": sketches, "frames": frames[list(whole)]}, digests, whole)

    def compare(self, now: Kept, base: Kept) -> PartComparison:
        """Whole frames by the metrics of images, all frames by their sketches, and the steps between them."""
        changed = [
            n for n, pair in enumerate(zip(now.piece_digests, base.piece_digests, strict=True)) if pair[0] != pair[1]
        ]
        if not changed:
            return PartComparison(figures=())
        figures = [
            *_whole_frames(now, base, changed),
            *_reduced_frames(now, base, changed),
            _flicker(now, base),
            _frozen(now, base),
            _misplaced(now, base),
        ]
        return PartComparison(figures=tuple(figures), findings=findings(now, base, changed))


def _videos(value: Value, named: bool) -> Iterator[Any]:
    """Each video of a value: an array of frames, or a list of them."""
    array = value.array
    if array is not None:
        if array.ndim == 5:
            yield from array
        elif array.ndim == 4 and named:
            yield array
        return
    content = value.content
    if not len(content):
        return
    depth, pictures = _depth(content), value.pictures
    dimensions = _dimensions(content)
    if depth == 2 and (named or pictures) and dimensions <= 3:
        yield from content
    elif depth == 1 and named and dimensions in (4, 5):
        for element in content:
            yield from element if dimensions == 5 else (element,)
    elif depth == 1 and named and dimensions in (2, 3):
        yield content


def _depth(content: Any) -> int:
    return 1 + _depth(content[0]) if isinstance(content, list | tuple) and len(content) else 0


def _dimensions(content: Any) -> int:
    while isinstance(content, list | tuple):
        if not content:
            return 0
        content = content[0]
    return int(content.ndim)


def _frames(video: Any, channels_first: bool) -> tuple[NDArray[np.uint8], bool]:
    """The frames of a video as uint8, and whether all were finite. Raises ValueError for what is no video."""
    import numpy as np

    frames: Any = list(video)
    first = frames[0]
    if channels_first and first.ndim == 3:
        # most pipelines put frames before channels, some decoders channels before frames
        if first.shape[0] not in _CHANNELS and len(frames) in _CHANNELS:
            frames = [np.stack([plane[i] for plane in frames], axis=-1) for i in range(first.shape[0])]
        else:
            frames = [np.moveaxis(frame, 0, -1) for frame in frames]
    arrays: list[NDArray[np.uint8]] = []
    finite = True
    for frame in frames:
        # one at a time: floats of all frames together would take five times their memory
        pixels = to_uint8_arrays(frame)
        arrays += pixels.arrays
        finite &= pixels.finite
    if len({array.shape for array in arrays}) != 1:
        raise ValueError("frames of several sizes are no video")
    stacked = np.stack(arrays)
    return (stacked[..., None] if stacked.ndim == 3 else stacked), finite


def _sketch_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of each frame's sketch."""
    count, height, width, channels = shape
    scale = min(
        1.0, SKETCH_PX / max(height, width), math.sqrt(MOST_SKETCH_BYTES / (count * height * width * channels))
    )
    return max(1, int(scale * height)), max(1, int(scale * width))


def whole_frames(kept: Kept) -> NDArray[np.uint8]:
    """The frames that are kept whole, in the order of `Kept.kept_pieces`."""
    frames: NDArray[np.uint8] = kept.arrays["frames"] if "frames" in kept.arrays else kept.arrays["sketches"]
    return frames


def _whole_frames(now: Kept, base: Kept, changed: list[int]) -> Iterator[Figure]:
    """Of each metric of images the worst frame."""
    worst: dict[str, Figure] = {}
    new, old = whole_frames(now), whole_frames(base)
    for place, number in enumerate(now.kept_pieces):
        if number not in changed:
            continue
        pair = ImagePair(new[place], old[place])
        for name, metric in FRAME_METRICS.items():
            assert metric.measure is not None  # metrics that are built in hold nothing
            measured = metric.measure(pair)
            if name not in worst or metric.error(measured.value) > metric.error(worst[name].value):
                worst[name] = Figure(
                    metric=name,
                    value=measured.value,
                    place=Place(frame=number),
                    tile=measured.tile,
                    line=measured.line,
                )
    yield from worst.values()


def _reduced_frames(now: Kept, base: Kept, changed: list[int]) -> Iterator[Figure]:
    """Of frames that aren't kept whole, the worst sketch."""
    import numpy as np

    reduced = [number for number in changed if number not in now.kept_pieces]
    if not reduced:
        return
    new, old = now.arrays["sketches"], base.arrays["sketches"]
    gaps = {number: np.abs(new[number].astype(np.int16) - old[number]) for number in reduced}
    errors = {number: rms(gap) for number, gap in gaps.items()}
    number = max(reduced, key=lambda number: errors[number])
    value = 20 * math.log10(255 / errors[number]) if errors[number] else math.inf
    yield Figure(metric=_SKETCH_PSNR.name, value=value, place=Place(frame=number))
    largest = {number: float(gap.max()) for number, gap in gaps.items()}
    number = max(reduced, key=lambda number: largest[number])
    yield Figure(metric=_SKETCH_CELL.name, value=largest[number], place=Place(frame=number))


def _steps(kept: Kept) -> list[float]:
    """How far each frame is from the one before, root mean square in levels, by their sketches."""
    import numpy as np

    sketches = kept.arrays["sketches"]
    return [rms(np.subtract(after, before, dtype=np.int16)) for before, after in itertools.pairwise(sketches)]


def _flicker(now: Kept, base: Kept) -> Figure:
    gaps = [abs(new - old) for new, old in zip(_steps(now), _steps(base), strict=True)]
    if not any(gaps):
        return Figure(metric=_FLICKER.name, value=0.0)
    worst = max(range(len(gaps)), key=gaps.__getitem__)
    return Figure(metric=_FLICKER.name, value=gaps[worst], place=Place(frame=worst, last_frame=worst + 1))


def _counted(metric: Metric, numbers: list[int]) -> Figure:
    place = Place(frame=numbers[0], last_frame=numbers[-1] if len(numbers) > 1 else None) if numbers else None
    return Figure(metric=metric.name, value=float(len(numbers)), place=place)


def _frozen(now: Kept, base: Kept) -> Figure:
    new, old = now.piece_digests, base.piece_digests
    return _counted(_FROZEN, [n for n in range(1, len(new)) if new[n] == new[n - 1] and old[n] != old[n - 1]])


def _misplaced(now: Kept, base: Kept) -> Figure:
    old = set(base.piece_digests)
    return _counted(
        _MISPLACED,
        [n for n, digest in enumerate(now.piece_digests) if digest != base.piece_digests[n] and digest in old],
    )
