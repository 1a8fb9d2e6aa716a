"""What a kind of output is: how it is recognised, when it is unsound, what is kept of it, how two are compared."""

from __future__ import annotations

import abc
import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from pytest_diffbench.outputs.pixels import image_digest
from pytest_diffbench.outputs.projection import SKETCH_SIZE, project

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pytest_diffbench.outputs.metrics.metric import Line, Metric, Tile

Content: TypeAlias = "NDArray[Any] | Sequence[Content]"
"""An array, or a list of them, nested at will. Pictures of Pillow stand as uint8 or uint16 arrays."""

Defect: TypeAlias = Literal["not_finite", "constant", "silent"]
"""What is wrong with a result whatever the baseline; `silent` is an audio without any sound."""

Unit: TypeAlias = Literal["frames", "samples"]
"""What the length of a result is counted in."""

FindingCode: TypeAlias = Literal[
    "first_difference",
    "frozen",
    "repeated",
    "swapped_frames",
    "shifted_frames",
    "blank",
    "moved",
    "missing_frames",
    "added_frames",
    "channel_silent",
    "channel_zero",
    "swapped_channels",
    "inverted",
    "gain",
    "scaled",
    "offset",
    "delayed",
    "clipped",
    "mirrored",
]
"""What became of a result, where that can be named."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Rates that the call or its target states, in hertz; None where nothing does."""

    video_hz: float | None = None
    audio_hz: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """An array, or a list of arrays, at its place in what was returned.

    Attributes:
        name: path to it: `frames`, `0`, `audio.1`.
        content: see `Content`.
        channels_first: it came as tensors of torch, which put channels before height and width.
        pictures: its arrays came as pictures of Pillow.
        latents: the call was asked for latents.
        rates: stated beside it.
    """

    name: str
    content: Content
    channels_first: bool = False
    pictures: bool = False
    latents: bool = False
    rates: Rates = Rates()

    @property
    def field(self) -> str:
        """The innermost name in the path that isn't a number, in small letters; empty where there is none."""
        words = [word for word in self.name.split(".") if not word.isdigit()]
        return words[-1].lower() if words else ""

    @property
    def in_list(self) -> bool:
        """Whether it stands in a list of its field."""
        return self.name.rpartition(".")[2].isdigit() and bool(self.field)

    @property
    def array(self) -> NDArray[Any] | None:
        """The array, where it is a single array."""
        return None if isinstance(self.content, list | tuple) else self.content  # type: ignore[return-value]

    @property
    def elements(self) -> tuple[Value, ...]:
        """What a list holds, each by its own name; empty for an array."""
        if not isinstance(self.content, list | tuple):
            return ()
        return tuple(
            dataclasses.replace(self, name=f"{self.name}.{number}" if self.name else str(number), content=inner)
            for number, inner in enumerate(self.content)
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A result of a call: a film, a recording, a map, or a tensor.

    Attributes:
        kind: name of its kind.
        name: where it stood in what was returned.
        array: its values, laid out as its kind says.
        dtype: that it was returned in.
        rate_hz: frames or samples per second, None where nothing states it.
        finite: False where a value was NaN or infinite.
    """

    kind: str
    name: str
    array: NDArray[Any]
    dtype: str
    rate_hz: float | None = None
    finite: bool = True


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is kept of a part, from which it is compared; as large as its kind allows at most.

    Attributes:
        kind: name of its kind.
        name: where it stood in what was returned.
        shape: of the part's whole array.
        dtype: that it was returned in.
        digest: of the part's whole array.
        rate_hz: see `Part`.
        piece_digests: of each frame, or of each block of samples; empty for kinds without.
        kept_pieces: numbers of the frames or blocks that stand whole in `arrays`.
        arrays: by name; uint8 of shape (frames, height, width, channels), or float32.
    """

    kind: str
    name: str
    shape: tuple[int, ...]
    dtype: str
    digest: str
    rate_hz: float | None = None
    piece_digests: tuple[str, ...] = ()
    kept_pieces: tuple[int, ...] = ()
    arrays: Mapping[str, NDArray[Any]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in a part something is. What doesn't apply is None.

    Attributes:
        frame: number of a frame, from 0.
        last_frame: the last of several, where `frame` is the first.
        first_sample: number of a sample of audio, from 0.
        end_sample: number of the sample that follows a stretch of them.
        batch: number in the batch, from 0.
        channel: number of a channel, from 0.
        axis: number of an axis, from 0.
    """

    frame: int | None = None
    last_frame: int | None = None
    first_sample: int | None = None
    end_sample: int | None = None
    batch: int | None = None
    channel: int | None = None
    axis: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A metric's value for a part beside the baseline's, and where it is from."""

    metric: str
    value: float
    place: Place | None = None
    tile: Tile | None = None
    line: Line | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What became of a part.

    Attributes:
        code: see `FindingCode`.
        place: where.
        other: frame or channel that it was exchanged with.
        factor: by which values were multiplied; for `clipped` the level in place of it.
        shift: frames, samples or, for `offset`, units that it was moved by: positive is later, or more.
        shift_px: that frames were moved by, to the right and down.
    """

    code: FindingCode
    place: Place | None = None
    other: int | None = None
    factor: float | None = None
    shift: float | None = None
    shift_px: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PartComparison:
    """Every figure of a part beside the baseline's, and what became of it as far as that can be named."""

    figures: tuple[Figure, ...]
    findings: tuple[Finding, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """What is carried of a part through all later results, so that small steps can be added up.

    Attributes:
        values: a few hundred numbers at most, of shape (values,).
        size: what distances are relative to: a norm, or a range.
    """

    values: NDArray[np.float64]
    size: float


class Kind(abc.ABC):
    """A kind of output. Register an instance with `kinds.register`.

    Attributes:
        name: in records.
        noun: in messages: `video`.
        metrics: that `compare` computes, with their limits.
        likeness: names of those metrics that say in a table how alike two parts are.
        unit: what a part's length is counted in; None where it has none.
        length_axis: of a part's array, along which it is counted.
        has_picture: `picture` makes one.
        may_be_constant: a constant part is unsound only where all parts are constant: a tensor may be a mask.
    """

    name: ClassVar[str]
    noun: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]
    likeness: ClassVar[tuple[str, ...]] = ()
    unit: ClassVar[Unit | None] = None
    length_axis: ClassVar[int] = 0
    may_be_constant: ClassVar[bool] = False
    has_picture: ClassVar[bool] = False

    def is_no_image(self, value: Value) -> bool:  # noqa: ARG002 - kinds that can be told from images ask it
        """Whether a value is surely of this kind, by its name or its shape, though it might pass for images."""
        return False

    @abc.abstractmethod
    def read(self, value: Value) -> tuple[Part, ...] | None:
        """The parts in a value, one a sample of a batch; None where the value isn't of this kind."""

    def defects(self, part: Part) -> tuple[Defect, ...]:
        """What is wrong with a part whatever the baseline."""
        defects: list[Defect] = [] if part.finite else ["not_finite"]
        if is_constant(part.array):
            defects.append("constant")
        return tuple(defects)

    @abc.abstractmethod
    def keep(self, part: Part) -> Kept:
        """What to keep of a part, within the kind's bound."""

    @abc.abstractmethod
    def compare(self, now: Kept, base: Kept) -> PartComparison:
        """Compare two parts of equal shape."""

    def sketch(self, kept: Kept) -> Sketch | None:  # noqa: ARG002 - kinds that have sketches ask it
        """What is carried of a part; None where nothing is, or where its pictures are sketched as images."""
        return None

    def least_distances(self, now: Sketch, base: Sketch) -> tuple[Figure, ...]:  # noqa: ARG002 - as above
        """Some of the kind's metrics, by two sketches of parts of one shape, which are at least as far apart."""
        return ()

    def picture(self, kept: Kept) -> NDArray[np.uint8] | None:  # noqa: ARG002 - kinds that have pictures ask it
        """A picture for people, uint8 of shape (height, width[, 3]); None where none is made."""
        return None

    def pictures(self, parts: Sequence[Kept]) -> tuple[NDArray[np.uint8] | None, ...]:
        """Pictures of several parts of equal shape, on one scale, so that they can be laid over each other."""
        return tuple(self.picture(part) for part in parts)


def names_of(value: Value, count: int) -> list[str]:
    """Names of the parts of a value: its own, with a number where there are several."""
    name = value.name or "0"
    return [name] if count == 1 else [f"{name}.{number}" for number in range(count)]


def is_constant(array: NDArray[Any]) -> bool:
    """Whether all of several values are equal."""
    return array.size > 1 and bool((array == array.reshape(-1)[0]).all())


def part_of(kind: str, name: str, array: NDArray[Any]) -> Part:
    """A part of which the values are kept as they were returned."""
    import numpy as np

    finite = array.dtype.kind != "f" or bool(np.isfinite(array).all())
    return Part(kind=kind, name=name, array=array, dtype=str(array.dtype), finite=finite)


def kept_of(
    part: Part,
    arrays: Mapping[str, NDArray[Any]],
    piece_digests: tuple[str, ...] = (),
    kept_pieces: tuple[int, ...] = (),
) -> Kept:
    """A part with what its kind keeps of it; the digest is that of its pieces where it has any."""
    whole = "-".join(piece_digests) if piece_digests else ""
    digest = digest_of_text(f"{part.array.shape} {whole}") if whole else image_digest(part.array)
    return Kept(
        kind=part.kind,
        name=part.name,
        shape=part.array.shape,
        dtype=part.dtype,
        digest=digest,
        rate_hz=part.rate_hz,
        piece_digests=piece_digests,
        kept_pieces=kept_pieces,
        arrays=arrays,
    )


def digest_of_text(text: str) -> str:
    """BLAKE2b of a text, as 16 hexadecimal digits."""
    import hashlib

    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def stored_float32(array: NDArray[Any]) -> NDArray[np.float32]:
    """Values as they are kept: float32 in C order, in which those that aren't finite are 0, and none is infinite."""
    import numpy as np

    most = float(np.finfo(np.float32).max)
    values = np.nan_to_num(array.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0).clip(-most, most)
    return np.ascontiguousarray(values, dtype=np.float32)


def greys_of(parts: Sequence[Kept]) -> list[NDArray[np.uint8]]:
    """The values of parts as levels, from 0 for the least of all to 255 for the greatest of all."""
    import numpy as np

    arrays = [part.arrays["values"].astype(np.float64) for part in parts]
    low, high = min(float(array.min()) for array in arrays), max(float(array.max()) for array in arrays)
    scale = 255 / (high - low) if high > low else 0.0
    return [((array - low) * scale).round().astype(np.uint8) for array in arrays]


def recorded(facts: Any, arrays: Mapping[str, NDArray[Any]]) -> Kept:
    """A part with its arrays, as its kind compares it; `facts` is the record of it, with the fields of `Kept`."""
    names = [field.name for field in dataclasses.fields(Kept) if field.name != "arrays"]
    return Kept(**{name: getattr(facts, name) for name in names}, arrays=arrays)


def projected(values: NDArray[Any]) -> Sketch:
    """A sketch by which the distance of two arrays can be told; a small array is one itself."""
    import numpy as np

    flat = values.reshape(-1).astype(np.float64)
    return Sketch(values=flat if flat.size <= SKETCH_SIZE else project(flat), size=float(np.linalg.norm(flat)))


def least_gap(now: Sketch, base: Sketch) -> float:
    """Norm of the difference of two such arrays, at least: chance makes a sketch's too large by a seventh at most."""
    import numpy as np

    gap = float(np.linalg.norm(now.values - base.values))
    # three standard deviations of the norm of a projection
    return gap if now.values.size < SKETCH_SIZE else gap * (1 - 3 * (0.5 / SKETCH_SIZE) ** 0.5)
