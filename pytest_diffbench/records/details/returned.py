"""What a call returned, as far as sentences and comparisons of shapes need it."""

from __future__ import annotations

from pytest_diffbench.records.base import Count, Record


class ReturnedTensor(Record, frozen=True, kw_only=True):
    """A tensor or array that is no image."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class Returned(Record, frozen=True, kw_only=True):
    """Images, tensors, or latents alone."""

    images: Count = 0
    tensors: tuple[ReturnedTensor, ...] = ()
    no_images: str | None = None
    """Why what was returned isn't images."""
