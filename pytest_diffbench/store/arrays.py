"""The images and the trace beside `baseline.json`: PNG and safetensors, checked when they are read."""

from __future__ import annotations

import io
import json
import struct
import zlib
from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import BaselineError
from pytest_diffbench.outputs.pixels import image_digest
from pytest_diffbench.records.artifacts import Artifacts
from pytest_diffbench.store.files import artifact_path
from pytest_diffbench.store.schema import RESTORE, refuse_pointer

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from pytest_diffbench.records import Baseline, ImageFacts

TRACE = "trace.safetensors"

_BROKEN_PNG = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
"""What Pillow raises, depending on where the damage is."""


def image_name(index: int) -> str:
    """Name of the file of one image, counted from 0."""
    return f"image-{index}.png"


def file_names(baseline: Baseline) -> tuple[str, ...]:
    """Names of the files that belong to a baseline, `baseline.json` apart."""
    images = baseline.output.images if baseline.output is not None else ()
    return (*(image_name(index) for index in range(len(images))), TRACE)


def encode_artifacts(artifacts: Artifacts, generation: int, folder: Path) -> dict[str, bytes]:
    """The files of a baseline by name: its images, and its trace even where that is empty.

    Raises:
        BaselineError: an image that isn't uint8 of shape HW, HW1, HW3 or HW4, or a trace that isn't finite.
    """
    files = {image_name(i): encode_image(array, folder / image_name(i)) for i, array in enumerate(artifacts.images)}
    return files | {TRACE: _encode_trace(artifacts.trace, generation, folder / TRACE)}


def read_artifacts(folder: Path, baseline: Baseline) -> Artifacts:
    """Read images and trace, and hold them against what `baseline.json` says of them.

    Raises:
        BaselineError: a file is missing, a Git LFS pointer, cut short, or not the one that was accepted.
    """
    facts = baseline.output.images if baseline.output is not None else ()
    images = tuple(
        decode_image(*read_file(folder, image_name(i), baseline.generation), image) for i, image in enumerate(facts)
    )
    return Artifacts(
        images=images,
        trace=decode_trace(*read_file(folder, TRACE, baseline.generation), baseline.generation),
    )


def read_file(folder: Path, name: str, generation: int) -> tuple[bytes, Path]:
    """One of a baseline's files, and where it lay. Raises BaselineError as `read_artifacts` does."""
    path = artifact_path(folder, name, generation)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise BaselineError(path, "is missing", RESTORE) from None
    except OSError as error:
        raise BaselineError(path, f"can't be read: {error.strerror}", "Check its permissions.") from error
    refuse_pointer(data, path)
    if not data:
        raise BaselineError(path, "is empty", RESTORE)
    return data, path


def encode_image(array: NDArray[np.uint8], path: Path) -> bytes:
    """A PNG without loss. Raises BaselineError on what is no image; `path` is for its message."""
    import numpy as np
    from PIL import Image

    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        problem = f"an array of shape {array.shape} and dtype {array.dtype} isn't an image"
        raise BaselineError(path, problem, "Pass uint8 arrays of shape HW, HW1, HW3 or HW4.")
    flat = array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(flat)).save(buffer, format="PNG")
    return buffer.getvalue()


def decode_image(data: bytes, path: Path, facts: ImageFacts) -> NDArray[np.uint8]:
    """Pixels of an accepted image. Raises BaselineError where they aren't those that were accepted."""
    import numpy as np
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            mode = image.mode
            array = np.array(image)
    except (*_BROKEN_PNG, Image.DecompressionBombError) as error:
        raise BaselineError(path, f"doesn't decode as PNG: {error}", RESTORE) from error
    if mode != facts.mode:
        raise BaselineError(path, f"is of mode {mode}, but {facts.mode} was accepted", RESTORE)
    # PNG doesn't tell (height, width) from (height, width, 1); the digest does.
    for shaped in (array, array[:, :, np.newaxis]) if array.ndim == 2 else (array,):
        if image_digest(shaped) == facts.digest:
            return shaped
    problem = f"pixels have digest {image_digest(array)}, but output.images says {facts.digest}"
    raise BaselineError(path, f"isn't the accepted image: {problem}", RESTORE)


def _encode_trace(trace: dict[str, NDArray[np.float32]], generation: int, path: Path) -> bytes:
    import numpy as np
    from safetensors.numpy import save

    # safetensors writes the memory as it lies, whatever the strides say, so the order has to be C.
    arrays = {name: np.asarray(trace[name], dtype=np.float32, order="C") for name in sorted(trace)}
    for name, array in arrays.items():
        _refuse_bad(name, array, path)
    return save(arrays, metadata={"generation": str(generation)})


def decode_trace(data: bytes, path: Path, generation: int) -> dict[str, NDArray[np.float32]]:
    """Arrays of a trace by name. Raises BaselineError where they aren't finite float32 of this generation."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays: dict[str, Any] = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise BaselineError(path, f"doesn't decode as safetensors: {error}", RESTORE) from error
    for name, array in arrays.items():
        _refuse_bad(name, array, path)
    # `load` took the header, so its first eight bytes and its JSON are sound.
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    belongs_to = header.get("__metadata__", {}).get("generation")
    if belongs_to != str(generation):
        problem = f"is of generation {belongs_to}, but baseline.json is of generation {generation}"
        raise BaselineError(path, problem, "Restore both from the same commit.")
    return arrays


def _refuse_bad(name: str, array: NDArray[Any], path: Path) -> None:
    import numpy as np

    if array.dtype != np.float32:
        raise BaselineError(path, f"{name} is of dtype {array.dtype}, not float32", RESTORE)
    if not np.isfinite(array).all():
        where = int(np.flatnonzero(~np.isfinite(array))[0])
        raise BaselineError(path, f"{name}[{where}] is {array.flat[where]}: a trace must be finite", RESTORE)
