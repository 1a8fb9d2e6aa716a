"""What a call returned: its images, films, recordings, maps and tensors, each with a digest."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.measure.trace import digest, first_tensor, to_numpy
from pytest_diffbench.measure.values import arrays_in, leaf_value, types_in, values_in
from pytest_diffbench.outputs.kinds import KINDS, Value, is_no_image, parts_of
from pytest_diffbench.outputs.pixels import Pixels, image_digest, to_uint8_arrays
from pytest_diffbench.records import ArrayFacts, PartFacts, TensorFacts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pytest_diffbench.outputs.kinds import Defect, Kept, Part, Rates

_NO_PIXELS = Pixels(arrays=(), finite=True, modes=())
_MOST_TENSORS = 16
"""Tensors that are sketched in the trace."""

_MOST_PARTS = 64
"""Parts of which values are kept; of those beyond, digests alone."""


@dataclasses.dataclass(frozen=True, slots=True)
class Sketched:
    """A tensor that was returned.

    Attributes:
        facts: for the record.
        finite: no NaN or infinity.
        sketch: see `trace.digest`.
        moments: likewise.
    """

    facts: TensorFacts
    finite: bool
    sketch: NDArray[np.float32]
    moments: NDArray[np.float32]


@dataclasses.dataclass(frozen=True, slots=True)
class ReadPart:
    """A film, a recording, a map or a tensor that was returned.

    Attributes:
        facts: for the record.
        kept: what is kept of it.
    """

    facts: PartFacts
    kept: Kept

    def without_arrays(self) -> ReadPart:
        """The same, of which digests alone are kept."""
        return ReadPart(msgspec.structs.replace(self.facts, arrays={}), dataclasses.replace(self.kept, arrays={}))


@dataclasses.dataclass(frozen=True, slots=True)
class Returned:
    """What one call left behind.

    Attributes:
        call: which: `survey`, `layers`, `warm-up 1`, `round 1`.
        pixels: its images, empty where the target returned none.
        tensors: what it returned in place of images.
        parts: all that it returned besides images.
        latents: the scheduler's last output as float32, None where no scheduler was seen.
        no_images: why what was returned isn't images, None where it is.
        unrecognised: types of what was returned, where no output was recognised in it.
        digest: over all images and tensors; None where there is neither. Made once: it is asked for again and again.
    """

    call: str
    pixels: Pixels
    tensors: tuple[Sketched, ...] = ()
    latents: NDArray[np.float32] | None = None
    no_images: str | None = None
    parts: tuple[ReadPart, ...] = ()
    unrecognised: str | None = None

    digest: str | None = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        images = [image_digest(array) for array in self.pixels.arrays]
        tensors = [tensor.facts.digest for tensor in self.tensors]
        # a part that is a tensor, too, has its digest already
        parts = [part.facts.digest for part in self.parts if part.facts.digest not in tensors]
        whole = "-".join([*images, *tensors, *parts])
        object.__setattr__(self, "digest", whole or None)


class Reader:
    """Reads what the calls returned, each after the other. What came before isn't sketched again.

    Args:
        latents: the call was asked for latents: they are no images, whatever their values.
        rates: that the call or its target states.
    """

    def __init__(self, *, latents: bool = False, rates: Rates | None = None) -> None:
        self._latents = latents
        self._rates = rates
        self._known: dict[tuple[str, str], Sketched] = {}
        self._known_parts: dict[tuple[str, str, str], ReadPart] = {}

    def read(self, call: str, output: Any, last_step_output: Any) -> Returned:
        """Copy what a call returned to the host. Raises MeasureError for what hasn't been computed yet."""
        refuse_unfinished(output)
        latents = first_tensor(last_step_output)
        images = Images(_NO_PIXELS, None, "latents were asked for") if self._latents else images_in(output)
        parts: list[ReadPart] = []
        tensors: list[Sketched] = []
        name = images.name
        for value in values_in(output, latents=self._latents, rates=self._rates, without=name):
            read_parts = [self._part(part) for part in parts_of(value)]
            parts += [
                part if len(parts) + n < _MOST_PARTS else part.without_arrays() for n, part in enumerate(read_parts)
            ]
            # films are too large to be sketched as floats, and pictures are none
            if name is None and not value.pictures and not any(part.facts.kind == "video" for part in read_parts):
                room = _MOST_TENSORS - len(tensors)
                tensors += [self._sketched(*named) for named in itertools.islice(arrays_in(value), room)]
        return Returned(
            call=call,
            pixels=images.pixels,
            tensors=tuple(tensors),
            parts=tuple(parts),
            latents=to_numpy(latents) if latents is not None else None,
            no_images=images.problem,
            unrecognised=None if images.pixels.arrays or parts else types_in(output),
        )

    def _sketched(self, name: str, array: NDArray[Any]) -> Sketched:
        import numpy as np
        import torch

        key = name, image_digest(array)
        if key not in self._known:
            sketch, moments = digest(torch.from_numpy(np.ascontiguousarray(array)))
            facts = TensorFacts(
                name=name,
                shape=array.shape,
                dtype=str(array.dtype),
                constant=array.size > 1 and bool((array == array.reshape(-1)[0]).all()),
                digest=key[1],
            )
            self._known[key] = Sketched(facts, not moments[-1], sketch, moments)
        return self._known[key]

    def _part(self, part: Part) -> ReadPart:
        key = part.kind, part.name, image_digest(part.array)
        if key not in self._known_parts:
            kind = KINDS[part.kind]
            kept = kind.keep(part)
            self._known_parts[key] = ReadPart(facts_of(kept, kind.defects(part)), kept)
        return self._known_parts[key]


def facts_of(kept: Kept, defects: tuple[Defect, ...] = ()) -> PartFacts:
    """A part as a record has it."""
    return PartFacts(
        kind=kept.kind,
        name=kept.name,
        shape=kept.shape,
        dtype=kept.dtype,
        rate_hz=kept.rate_hz,
        defects=defects,
        digest=kept.digest,
        piece_digests=kept.piece_digests,
        kept_pieces=kept.kept_pieces,
        arrays={
            name: ArrayFacts(
                dtype="uint8" if array.dtype == "uint8" else "float32", shape=array.shape, digest=image_digest(array)
            )
            for name, array in kept.arrays.items()
        },
    )


def refuse_unfinished(output: Any) -> None:
    """Raise MeasureError for a coroutine or a generator: what was timed is the making of it, not its work."""
    if inspect.isawaitable(output) or inspect.isgenerator(output) or inspect.isasyncgen(output):
        if inspect.iscoroutine(output):
            output.close()  # else Python warns that it was never awaited
        raise MeasureError(
            f"the call returned a {type(output).__name__}, which hasn't run: nothing of it was measured. "
            "Measure a function that waits for the result: diffbench(lambda: asyncio.run(target())), or "
            "diffbench(lambda: list(target()))."
        )


class Images(NamedTuple):
    """The images in what a target returned.

    Attributes:
        pixels: empty where there are none.
        name: where they stood; None where there are none.
        problem: why there are none, None where there are.
    """

    pixels: Pixels
    name: str | None
    problem: str | None


def images_in(output: Any) -> Images:
    """The images in what a target returned: `.images`, the first images among its parts, or the value itself.

    What is surely something else, such as `frames` or `audios`, is passed by.
    """
    problem = None
    for name, candidate in _candidates(output):
        if _is_other(name, candidate):
            problem = problem or "by its name or shape it is no image"
            continue
        try:
            pixels = to_uint8_arrays(candidate)
        except (TypeError, ValueError) as error:
            problem = problem or str(error)
            continue
        if pixels.arrays:
            return Images(pixels, name, None)
        problem = problem or "it is empty"
    return Images(_NO_PIXELS, None, problem or "it is empty")


def _is_other(name: str, candidate: Any) -> bool:
    """Whether a candidate is surely no image, by its name or, as a single array, by its shape and values."""
    if is_no_image(Value(name=name, content=())):
        return True
    value = leaf_value(candidate, name) if getattr(candidate, "ndim", 4) != 4 else None
    return value is not None and is_no_image(value)


def _candidates(output: Any) -> list[tuple[str, Any]]:
    """What may be the images, each with its name."""
    if hasattr(output, "images"):
        return [("images", output.images)]
    if isinstance(output, tuple):
        return [("0", element) for element in output[:1]]
    if isinstance(output, dict):
        return [(str(name), element) for name, element in output.items()]
    return [("", output)]
