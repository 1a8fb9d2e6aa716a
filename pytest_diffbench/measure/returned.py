"""What a call returned: its images, or else its tensors, each with a digest."""

from __future__ import annotations

import dataclasses
import inspect
from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.measure.trace import digest, first_tensor, to_numpy
from pytest_diffbench.outputs.pixels import Pixels, image_digest, to_uint8_arrays
from pytest_diffbench.records import TensorFacts

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

_NO_PIXELS = Pixels(arrays=(), finite=True, modes=())
_MOST_TENSORS = 16
"""Tensors that are looked at; what returns more returns something else than a result."""


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
class Returned:
    """What one call left behind.

    Attributes:
        call: which: `survey`, `layers`, `warm-up 1`, `round 1`.
        pixels: its images, empty where the target returned none.
        tensors: what it returned in place of images, and beside them.
        latents: the scheduler's last output as float32, None where no scheduler was seen.
        no_images: why what was returned isn't images, None where it is.
        digest: over all images and tensors; None where there is neither. Made once: it is asked for again and again.
    """

    call: str
    pixels: Pixels
    tensors: tuple[Sketched, ...] = ()
    latents: NDArray[np.float32] | None = None
    no_images: str | None = None

    digest: str | None = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        images = [image_digest(array) for array in self.pixels.arrays]
        whole = "-".join([*images, *(tensor.facts.digest for tensor in self.tensors)])
        object.__setattr__(self, "digest", whole or None)


class Reader:
    """Reads what one call after the other returned. A tensor that came before isn't sketched again.

    Args:
        latents: the call was asked for latents: they are no images, whatever their values.
    """

    def __init__(self, *, latents: bool = False) -> None:
        self._latents = latents
        self._known: dict[tuple[str, str], Sketched] = {}

    def read(self, call: str, output: Any, last_step_output: Any) -> Returned:
        """Copy what a call returned to the host. Raises MeasureError for what hasn't been computed yet."""
        refuse_unfinished(output)
        latents = first_tensor(last_step_output)
        pixels, no_images = (_NO_PIXELS, "latents were asked for") if self._latents else pixels_of(output)
        tensors = () if pixels.arrays else tuple(self._sketched(name, array) for name, array in _named(output))
        return Returned(
            call=call,
            pixels=pixels,
            tensors=tensors,
            latents=to_numpy(latents) if latents is not None else None,
            no_images=no_images,
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


def pixels_of(output: Any) -> tuple[Pixels, str | None]:
    """The images in what a target returned: `.images`, the first images among its parts, or the value itself.

    A target that returns no images (latents, text, None) gives no pixels, and the reason.
    """
    reason = None
    for candidate in _candidates(output):
        try:
            pixels = to_uint8_arrays(candidate)
        except (TypeError, ValueError) as error:
            reason = reason or str(error)
            continue
        if pixels.arrays:
            return pixels, None
        reason = reason or "it is empty"
    return _NO_PIXELS, reason or "it is empty"


def _candidates(output: Any) -> list[Any]:
    if hasattr(output, "images"):
        return [output.images]
    if isinstance(output, tuple):
        return list(output[:1])
    if isinstance(output, dict):
        return list(output.values())
    return [output]


def _named(output: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """Tensors and arrays of numbers in what was returned, each with the path to it."""
    for number, named_array in enumerate(_walk(output, "")):
        if number == _MOST_TENSORS:
            return
        yield named_array


def _walk(value: Any, path: str) -> Iterator[tuple[str, NDArray[Any]]]:
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor):
        host = value.detach().to("cpu").resolve_conj()
        # bfloat16 and smaller have no counterpart in numpy, and complex numbers none in a sketch.
        host = torch.view_as_real(host) if host.is_complex() else host
        yield path or "0", (host.float() if host.is_floating_point() and host.itemsize < 4 else host).numpy()
    elif isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        yield path or "0", value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _walk(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            yield from _walk(inner, f"{path}.{number}" if path else str(number))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _walk(getattr(value, field.name), f"{path}.{field.name}" if path else field.name)
