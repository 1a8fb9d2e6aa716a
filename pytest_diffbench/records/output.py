"""What a call returned, images and other parts, and the memory that it took."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from pytest_diffbench.records.base import Bytes, Count, NotNegative, PositiveBytes, PositiveCount, Record, Stage

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


class ImageFacts(Record, frozen=True, kw_only=True):
    """What can be said of one image without another to compare it with."""

    width_px: PositiveCount
    height_px: PositiveCount
    mode: str
    constant: bool
    """All pixels are equal, as in a black image."""

    digest: str


class RerunNoise(Record, frozen=True, kw_only=True):
    """How far identical calls drifted within this run. Distances are of the worst round; None is 'no difference'."""

    rounds: Count
    identical: bool
    psnr_db: NotNegative | None = None
    latents_rel: NotNegative | None = None
    """Relative L2 distance of the final latents, or of other tensors that were returned."""

    parts: tuple[PartNoise, ...] = ()
    """Of the parts that aren't images, each metric that saw a difference."""

    alike: tuple[tuple[str, ...], ...] = ()
    """The calls by what they returned, those that agree to the last bit together; empty where all agree."""

    drew_from: tuple[str, ...] = ()
    """Global generators that a call drew from although it was handed one of its own: `torch on the CPU`."""


class TensorFacts(Record, frozen=True, kw_only=True):
    """A tensor or array that a call returned and that is no image."""

    name: str
    """Where it stood in what was returned: `images`, `frames`, `0`."""

    shape: tuple[int, ...]
    dtype: str
    constant: bool
    """All of several values are equal."""

    digest: str


class ToleranceChange(Record, frozen=True, kw_only=True):
    """A threshold of the output gate that was changed for a case, and why."""

    changed: str
    """When it was accepted: UTC, ISO 8601."""

    limit: str
    """Its name in a test's `tolerance`: `psnr_db`."""

    before: NotNegative
    after: NotNegative
    reason: str


class Output(Record, frozen=True, kw_only=True):
    """The result of a call: its images, or whatever else it returned, and its final latents."""

    images: tuple[ImageFacts, ...]
    tensors: tuple[TensorFacts, ...] = ()
    """Tensors that were returned in place of images, each with a sketch in the trace. `parts` has more of them."""

    parts: tuple[PartFacts, ...] = ()
    """All that was returned besides images; empty in records that were written before there were any."""

    unrecognised: str | None = None
    """Types in what was returned, where no output was recognised in it; None where one was, or nothing came back."""

    no_images: str | None = None
    """Why what was returned isn't images; None where it is."""

    finite: bool
    """No NaN or infinity in the final latents, in what the decoder returned, nor in what the call did."""

    not_finite_where: str | None = None
    """First place where a value wasn't finite: `latents, step 3` or `vae.decode`."""

    latents_shape: tuple[int, ...] | None = None
    latents_dtype: str | None = None
    weights: dict[str, str] = {}
    """A digest of each component's weights, as they were before the first call; made from a sample of them."""

    rerun: RerunNoise


class StageMemory(Record, frozen=True, kw_only=True):
    """Peak memory while a stage ran."""

    peak_bytes: Bytes
    reserved_bytes: Bytes | None = None
    """Peak of the caching allocator's reservation; None where there is no such allocator."""

    workspace_bytes: Bytes | None = None
    """Most that tensors took which the call had made, beyond those that were alive when the stage was entered."""


class Memory(Record, frozen=True, kw_only=True):
    """Peak memory of the survey round, weights included.

    `source` tells how rough it is: `cuda_allocator` is exact; `process_rss` is the process's resident set, which
    includes everything else the process holds; `process_lifetime` can't even be reset between stages.
    """

    source: Literal["cuda_allocator", "device_allocator", "process_rss", "process_lifetime"]
    peak_bytes: PositiveBytes
    reserved_bytes: Bytes | None = None
    stages: dict[Stage, StageMemory] = {}
