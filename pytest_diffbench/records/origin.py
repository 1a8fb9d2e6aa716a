"""What a case was when it was first accepted, small enough to be carried through every later generation."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from pytest_diffbench.records.base import Count, NotNegative, PositiveCount, PositiveSeconds, Record, Share
from pytest_diffbench.records.output import Memory

MOST_FIRST_TIMES = 3
"""Enough for a middle."""

Level = Annotated[float, Meta(ge=0, le=255)]


class ImageSketch(Record, frozen=True, kw_only=True):
    """An image, reduced by averaging over cells of almost one size.

    Attributes:
        image: its number among the images of the call.
        width_px: of the image; `height_px` the same.
        rows: of cells, at most 16; `columns` the same.
        levels: mean of each cell, 0 to 255, to a hundredth: row by row, a cell's channels together.
    """

    image: Count
    width_px: PositiveCount
    height_px: PositiveCount
    rows: PositiveCount
    columns: PositiveCount
    levels: tuple[Level, ...]


class PartSketch(Record, frozen=True, kw_only=True):
    """A part that isn't an image, reduced as its kind does it.

    Attributes:
        part: its number in what the call returned.
        kind: name of its kind.
        name: where it stood in what was returned.
        shape: of its whole array.
        values: a few hundred numbers, to five digits of `size`.
        size: what distances are relative to: a norm, or a range.
    """

    part: Count
    kind: str
    name: str
    shape: tuple[int, ...]
    values: tuple[float, ...]
    size: NotNegative


class FirstTime(Record, frozen=True, kw_only=True):
    """What one of the first runs took.

    Attributes:
        median_s: of its rounds, without waiting for a processor.
        pace_s: median time of each kind of reference work beside it.
        computing_rel: the share of it, at most, that the processor computed; waiting isn't moved by its pace.
    """

    median_s: PositiveSeconds
    pace_s: dict[str, PositiveSeconds] = {}
    computing_rel: Share = 1.0


class OriginDistance(Record, frozen=True, kw_only=True):
    """How far a result is from the first accepted one. Means over cells hide detail, so distances are least ones.

    Attributes:
        generation: that was first.
        colour_levels: root mean square difference of the worst image and channel, of 255.
        psnr_db: of the worst image; None without any difference.
    """

    generation: PositiveCount
    colour_levels: NotNegative
    psnr_db: float | None = None


class Origin(Record, frozen=True, kw_only=True):
    """What small accepted steps are held against, taken together.

    Attributes:
        generation: that was measured.
        started: when its first run began: UTC, ISO 8601.
        images: a few of its images, evenly picked.
        parts: the first few of what it returned besides images and videos.
        flops: of the whole call; `denoiser_calls` its calls of the denoiser.
        torch: version that counted them.
        memory: peaks of the whole call.
        times: of the first runs that were accepted on this machine, at most `MOST_FIRST_TIMES`.
    """

    generation: PositiveCount
    started: str
    images: tuple[ImageSketch, ...] = ()
    parts: tuple[PartSketch, ...] = ()
    flops: Count | None = None
    denoiser_calls: Count | None = None
    torch: str | None = None
    memory: Memory | None = None
    times: tuple[FirstTime, ...] = ()
