"""What a call returned, as far as sentences and comparisons of shapes need it."""

from __future__ import annotations

from pytest_diffbench.records.base import Count, Record
from pytest_diffbench.records.parts import PositiveHertz


class ReturnedTensor(Record, frozen=True, kw_only=True):
    """A tensor or array that is no image."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class ReturnedPart(Record, frozen=True, kw_only=True):
    """A part that is no image, see `PartFacts`."""

    kind: str
    name: str
    shape: tuple[int, ...]
    dtype: str
    rate_hz: PositiveHertz | None = None
    kept: Count = 0
    """Frames, or blocks of samples, that are kept whole."""


class Returned(Record, frozen=True, kw_only=True):
    """Images, tensors, or latents alone."""

    images: Count = 0
    tensors: tuple[ReturnedTensor, ...] = ()
    parts: tuple[ReturnedPart, ...] = ()
    no_images: str | None = None
    """Why what was returned isn't images."""

    unrecognised: str | None = None
    """Types in what was returned, where no output was recognised in it."""
