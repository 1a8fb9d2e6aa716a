"""What a call returned besides images: films, recordings, maps and tensors, as `outputs.kinds` reads them."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from pytest_diffbench.records.base import Count, Record

PositiveHertz = Annotated[float, Meta(gt=0, le=1e9)]

PartDefect: TypeAlias = Literal["not_finite", "constant", "silent"]


class ArrayFacts(Record, frozen=True, kw_only=True):
    """An array that is kept of a part."""

    dtype: Literal["uint8", "float32"]
    shape: tuple[int, ...]
    digest: str

    @property
    def is_frames(self) -> bool:
        """Whether it holds pictures: uint8 of shape (frames, height, width, channels)."""
        return self.dtype == "uint8" and len(self.shape) == 4


class PartFacts(Record, frozen=True, kw_only=True):
    """A part of what was returned. Its kept values travel beside the record, see `artifacts.Artifacts.parts`."""

    kind: str
    """Name of an `outputs.kinds.Kind`: `video`, `audio`, `map`, `latents`, `embeddings`, `tensor`."""

    name: str
    """Where it stood in what was returned: `frames`, `0`, `audios.1`."""

    shape: tuple[int, ...]
    """As its kind lays it out: frames, height, width and channels; channels and samples."""

    dtype: str
    """That it was returned in; frames are always compared as uint8."""

    rate_hz: PositiveHertz | None = None
    """Frames or samples per second; None where nothing states it."""

    defects: tuple[PartDefect, ...] = ()
    """What is wrong with it whatever the baseline."""

    digest: str
    """Of all values."""

    piece_digests: tuple[str, ...] = ()
    """Of each frame, or of each block of samples."""

    kept_pieces: tuple[Count, ...] = ()
    """Numbers of the frames or blocks that are kept whole."""

    arrays: dict[str, ArrayFacts] = {}
    """Of each array that is kept, by name."""


class PartNoise(Record, frozen=True, kw_only=True):
    """How far identical calls drifted in a part: the worst value of a metric."""

    part: Count
    metric: str
    value: float | None
    """None for what is infinite or no number."""
