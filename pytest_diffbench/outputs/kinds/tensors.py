"""Latents, embeddings and other tensors: relative distance of the whole, and of the worst channel of a sample."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_diffbench.outputs.kinds.kind import (
    Figure,
    Finding,
    Kept,
    Kind,
    Part,
    PartComparison,
    Place,
    Sketch,
    Value,
    greys_of,
    kept_of,
    least_gap,
    part_of,
    projected,
    stored_float32,
)
from pytest_diffbench.outputs.metrics.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

MOST_VALUES = 1 << 20
"""Values that are kept of a tensor, 4 MiB; of a larger one every n-th, so that each channel is among them."""

_LATENTS = ("latents", "latent")

_ALIKE_REL = 0.02
"""Up to this distance a tensor counts as the mirrored, scaled or negated one."""

REL = Metric(
    # The same 1 % as for latents on their way; the tiers are those of `judge.limits`.
    name="returned_rel",
    label="distance",
    machine=0.01,
    drift=0.1,
    broken=0.5,
    percent=True,
)
CHANNEL_REL = Metric(
    # A channel has fewer values to average over; a lost one is 100 % of itself.
    name="returned_channel_rel",
    label="distance of a channel",
    machine=0.05,
    drift=0.4,
    percent=True,
)


class Tensors(Kind):
    """Any numbers that no other kind knows. The array is as it was returned."""

    name: ClassVar[str] = "tensor"
    noun: ClassVar[str] = "tensor"
    metrics: ClassVar[tuple[Metric, ...]] = (REL, CHANNEL_REL)
    likeness: ClassVar[tuple[str, ...]] = (REL.name,)
    may_be_constant: ClassVar[bool] = True

    def read(self, value: Value) -> tuple[Part, ...] | None:
        """Any array with values in it."""
        array = value.array
        if array is None or array.dtype.kind not in "fiub" or not array.size or not self.knows(value):
            return None
        return (part_of(self.name, value.name, array),)

    def knows(self, value: Value) -> bool:
        """Whether an array is of this kind: flags such as `nsfw_content_detected` are no result."""
        return not value.pictures and not value.field.endswith("_detected")

    def keep(self, part: Part) -> Kept:
        """Every value, or every n-th."""
        return kept_of(part, {"values": stored_float32(part.array.reshape(-1)[:: stride_of(part.array.size)])})

    def compare(self, now: Kept, base: Kept) -> PartComparison:
        """Distances relative to the baseline's norm."""
        import numpy as np

        new, old = (side.arrays["values"].astype(np.float64) for side in (now, base))
        gap, size = float(np.linalg.norm(new - old)), float(np.linalg.norm(old))
        value, place = _worst_channel(new, old, now.shape)
        figures = (
            Figure(metric=REL.name, value=gap / size if size > 0 else (np.inf if gap else 0.0)),
            Figure(metric=CHANNEL_REL.name, value=value, place=place),
        )
        return PartComparison(figures=figures, findings=_findings(new, old, now.shape))

    def sketch(self, kept: Kept) -> Sketch:
        """A projection of what is kept."""
        return projected(kept.arrays["values"])

    def least_distances(self, now: Sketch, base: Sketch) -> tuple[Figure, ...]:
        """The distance of the whole."""
        return (Figure(metric=REL.name, value=least_gap(now, base) / base.size),) if base.size > 0 else ()

    def pictures(self, parts: Sequence[Kept]) -> tuple[NDArray[np.uint8] | None, ...]:
        """The last two axes as tiles beside each other, from the least value of all to the greatest; None where not
        every value is kept."""
        import numpy as np

        shape = parts[0].shape
        if not shape or any(part.arrays["values"].size != int(np.prod(shape)) for part in parts):
            return (None,) * len(parts)
        return tuple(_tiled(grey, shape) for grey in greys_of(parts))


class Latents(Tensors):
    """What a denoiser works on, where it was asked for or is called so."""

    name: ClassVar[str] = "latents"
    noun: ClassVar[str] = "latents"
    may_be_constant: ClassVar[bool] = False

    def is_no_image(self, value: Value) -> bool:
        """By its name."""
        return value.field in _LATENTS

    def knows(self, value: Value) -> bool:
        """By its name, or because latents were asked for."""
        return not value.pictures and (value.latents or value.field in _LATENTS)


class Embeddings(Tensors):
    """What an encoder or a prior made of prompts or images."""

    name: ClassVar[str] = "embeddings"
    noun: ClassVar[str] = "embeddings"

    def is_no_image(self, value: Value) -> bool:
        """By its name."""
        return "embed" in value.field or value.field.endswith("hidden_states")

    def knows(self, value: Value) -> bool:
        """By its name."""
        return self.is_no_image(value)


_MOST_TILES = 16
_LEAST_PICTURE_PX = 128


def _tiled(grey: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The first planes of a tensor in a square of tiles, a pixel a value, small ones enlarged."""
    import numpy as np

    height, width = (shape[-2], shape[-1]) if len(shape) > 1 else (1, shape[-1])
    planes = grey.reshape(-1, height, width)[:_MOST_TILES]
    columns = math.ceil(math.sqrt(len(planes)))
    rows = math.ceil(len(planes) / columns)
    gap = 1 if len(planes) > 1 else 0
    picture = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap), np.uint8)
    for number, plane in enumerate(planes):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        picture[top : top + height, left : left + width] = plane
    times = max(1, _LEAST_PICTURE_PX // max(picture.shape))
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def stride_of(size: int) -> int:
    """Every how-manieth value of a tensor is kept: no divisor of its size, so that no channel is left out."""
    stride = -(-size // MOST_VALUES)
    while math.gcd(stride, size) != 1:
        stride += 1
    return stride


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """Axis of channels: the second of a batch of images or videos, the last of a batch of vectors or of tokens."""
    if len(shape) < 2:
        return None
    return 1 if len(shape) >= 4 else len(shape) - 1


def _groups(shape: tuple[int, ...], count: int) -> tuple[NDArray[Any], tuple[int, int]] | None:
    """For each kept value the number of its sample and channel together, and how many there are of either."""
    import numpy as np

    axis = channel_axis(shape)
    if axis is None:
        return None
    positions = np.arange(count, dtype=np.int64) * stride_of(int(np.prod(shape)))
    inner = int(np.prod(shape[axis + 1 :]))
    channels = positions // inner % shape[axis]
    samples = positions // int(np.prod(shape[1:]))
    return samples * shape[axis] + channels, (shape[0], shape[axis])


def _norms(values: NDArray[np.float64], groups: NDArray[Any], count: int) -> NDArray[np.float64]:
    import numpy as np

    return np.sqrt(np.bincount(groups, weights=np.square(values), minlength=count))


def _worst_channel(
    new: NDArray[np.float64], old: NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[float, Place | None]:
    """Largest distance of a channel of a sample, relative to its norm, and at least to a typical channel's."""
    import numpy as np

    grouped = _groups(shape, len(old))
    # single numbers have no norm worth relating to
    if grouped is None or len(old) < 4 * grouped[1][0] * grouped[1][1]:
        gap, size = float(np.linalg.norm(new - old)), float(np.linalg.norm(old))
        return (gap / size if size > 0 else (np.inf if gap else 0.0)), None
    groups, (samples, channels) = grouped
    gaps, sizes = (_norms(values, groups, samples * channels) for values in (new - old, old))
    # a channel that is nearly zero beside the others isn't blown up
    floor = 0.1 * float(np.sqrt(np.square(sizes).mean()))
    with np.errstate(divide="ignore", invalid="ignore"):
        rels = np.where(gaps > 0, gaps / np.maximum(sizes, floor), 0.0)
    worst = int(rels.argmax())
    place = Place(batch=worst // channels if samples > 1 else None, channel=worst % channels)
    return float(rels[worst]), place if rels[worst] > 0 else None


def _findings(new: NDArray[np.float64], old: NDArray[np.float64], shape: tuple[int, ...]) -> tuple[Finding, ...]:
    import numpy as np

    size, gap = float(np.linalg.norm(old)), float(np.linalg.norm(new - old))
    if not size or gap <= _ALIKE_REL * size:
        return ()
    zeroed = _zeroed_channel(new, old, shape)
    if zeroed is not None:
        return (zeroed,)
    if len(old) == int(np.prod(shape)):
        whole_new, whole_old = new.reshape(shape), old.reshape(shape)
        for axis in reversed(range(len(shape))):
            flipped = np.flip(whole_old, axis)
            if shape[axis] > 1 and np.linalg.norm(whole_new - flipped) <= _ALIKE_REL * size:
                return (Finding(code="mirrored", place=Place(axis=axis)),)
    factor = float(new @ old) / (size * size)
    if np.linalg.norm(new - factor * old) <= _ALIKE_REL * size * abs(factor) and factor:
        if abs(factor + 1) < _ALIKE_REL:
            return (Finding(code="inverted"),)
        return (Finding(code="scaled", factor=factor),)
    return ()


def _zeroed_channel(new: NDArray[np.float64], old: NDArray[np.float64], shape: tuple[int, ...]) -> Finding | None:
    grouped = _groups(shape, len(old))
    if grouped is None:
        return None
    groups, (samples, channels) = grouped
    now, before = (_norms(values, groups, samples * channels) for values in (new, old))
    lost = [number for number in range(samples * channels) if now[number] == 0 < before[number]]
    if not lost or len(lost) == samples * channels:
        return None
    channel = lost[0] % channels
    everywhere = sum(number % channels == channel for number in lost) == samples
    sample = None if everywhere else lost[0] // channels
    return Finding(code="channel_zero", place=Place(batch=sample, channel=channel))
