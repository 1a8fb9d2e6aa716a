"""The images, the other parts and the trace beside `baseline.json`, checked when they are read."""

from __future__ import annotations

import io
import json
import math
import struct
import zlib
from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import BaselineError
from pytest_diffbench.outputs.kinds import KINDS, recorded
from pytest_diffbench.outputs.pixels import image_digest
from pytest_diffbench.records.artifacts import Artifacts
from pytest_diffbench.store.files import artifact_path
from pytest_diffbench.store.schema import RESTORE, refuse_pointer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from pytest_diffbench.records import Baseline, ImageFacts, Output, PartFacts

TRACE = "trace.safetensors"

_LONGEST_POINTER = 1024
"""Bytes of a Git LFS pointer, at most."""

_PNG_END = b"IEND\xaeB`\x82"
_BROKEN_PNG = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
"""What Pillow raises, depending on where the damage is."""


def image_name(index: int) -> str:
    """Name of the file of one image, counted from 0."""
    return f"image-{index}.png"


def file_names(baseline: Baseline) -> tuple[str, ...]:
    """Names of the files that belong to a baseline, `baseline.json` apart."""
    images = baseline.output.images if baseline.output is not None else ()
    parts = baseline.output.parts if baseline.output is not None else ()
    of_parts = [name for number, part in enumerate(parts) for name in part_files(part_prefix(number), part)]
    return (*(image_name(index) for index in range(len(images))), *of_parts, TRACE)


def picture_names(baseline: Baseline) -> tuple[str, ...]:
    """Names of the pictures that are there for people alone, and never read."""
    parts = baseline.output.parts if baseline.output is not None else ()
    return tuple(
        f"{part_prefix(number)}.png"
        for number, part in enumerate(parts)
        if part.arrays and part.kind in KINDS and KINDS[part.kind].has_picture
    )


def encode_artifacts(
    artifacts: Artifacts, generation: int, folder: Path, output: Output | None = None
) -> dict[str, bytes]:
    """The files of a baseline by name: its images, its other parts, and its trace even where that is empty.

    Parts have pictures for people where `output` is given; `folder` is for messages.

    Raises:
        BaselineError: an image that isn't uint8 of shape HW, HW1, HW3 or HW4, or a trace that isn't finite.
    """
    files = {image_name(i): encode_image(array, folder / image_name(i)) for i, array in enumerate(artifacts.images)}
    for number, arrays in enumerate(artifacts.parts):
        files |= encode_part(part_prefix(number), arrays, generation, folder)
    for number, part in enumerate(output.parts if output is not None else ()):
        picture = _picture_of(part, artifacts.parts[number])
        if picture is not None:
            name = f"{part_prefix(number)}.png"
            files[name] = encode_image(picture, folder / name)
    return files | {TRACE: encode_trace(artifacts.trace, generation, folder / TRACE)}


def read_artifacts(folder: Path, baseline: Baseline) -> Artifacts:
    """Read images and trace, and hold them against what `baseline.json` says of them.

    Raises:
        BaselineError: a file is missing, a Git LFS pointer, cut short, or not the one that was accepted.
    """
    facts = baseline.output.images if baseline.output is not None else ()
    images = tuple(
        decode_image(*read_file(folder, image_name(i), baseline.generation), image) for i, image in enumerate(facts)
    )
    parts = baseline.output.parts if baseline.output is not None else ()
    return Artifacts(
        images=images,
        parts=tuple(read_part(folder, number, part, baseline.generation) for number, part in enumerate(parts)),
        trace=decode_trace(*read_file(folder, TRACE, baseline.generation), baseline.generation),
    )


def part_prefix(number: int) -> str:
    """What the names of a part's files begin with, counted from 0."""
    return f"returned-{number}"


def part_files(prefix: str, part: PartFacts) -> list[str]:
    """Names of the files that hold what is kept of a part: a PNG for each array of frames, and one for the rest."""
    names = [f"{prefix}-{name}.png" for name, array in part.arrays.items() if array.is_frames]
    return names + ([f"{prefix}.safetensors"] if any(not array.is_frames for array in part.arrays.values()) else [])


def encode_part(prefix: str, arrays: Mapping[str, NDArray[Any]], generation: int, folder: Path) -> dict[str, bytes]:
    """The files of a part by name. Frames stand under each other in one PNG, without loss.

    Raises:
        BaselineError: an array is neither such frames nor finite float32.
    """
    files: dict[str, bytes] = {}
    rest: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        if array.ndim == 4 and str(array.dtype) == "uint8":
            path = folder / f"{prefix}-{name}.png"
            files[path.name] = encode_image(array.reshape(-1, *array.shape[2:]), path)
        else:
            rest[name] = array
    if rest:
        path = folder / f"{prefix}.safetensors"
        files[path.name] = encode_trace(rest, generation, path)
    return files


def read_part(folder: Path, number: int, part: PartFacts, generation: int) -> dict[str, NDArray[Any]]:
    """What is kept of a baseline's part. Raises as `decode_part` and `read_file` do."""
    return decode_part(part_prefix(number), part, lambda name: read_file(folder, name, generation), generation)


def decode_part(
    prefix: str, part: PartFacts, read: Callable[[str], tuple[bytes, Path]], generation: int | None = None
) -> dict[str, NDArray[Any]]:
    """What is kept of a part, held against what is recorded of it.

    Args:
        prefix: of its files.
        part: what is recorded.
        read: gives the bytes of a file by its name, and where it lies.
        generation: that the files must be of; None where any will do.

    Raises:
        BaselineError: a file isn't what was accepted; and what `read` raises.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for file in part_files(prefix, part):
        data, path = read(file)
        if file.endswith(".safetensors"):
            arrays |= decode_trace(data, path, generation)
        else:
            name = file.removeprefix(f"{prefix}-").removesuffix(".png")
            pixels, shape = decode_png(data, path)[1], part.arrays[name].shape
            if pixels.size != math.prod(shape):
                problem = f"has {pixels.size} values, but output.parts says {list(shape)}"
                raise BaselineError(path, f"isn't what was accepted: {problem}", RESTORE)
            arrays[name] = pixels.reshape(shape)
    for name, facts in part.arrays.items():
        if name not in arrays or image_digest(arrays[name]) != facts.digest:
            problem = f"output.parts says that {name} of {part.name} has digest {facts.digest}, which no file has"
            raise BaselineError(path, f"isn't what was accepted: {problem}", RESTORE)
    return {name: arrays[name] for name in part.arrays}


def _picture_of(part: PartFacts, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8] | None:
    kind = KINDS.get(part.kind)
    if kind is None or not kind.has_picture or not arrays:
        return None
    return kind.picture(recorded(part, arrays))


def read_file(folder: Path, name: str, generation: int) -> tuple[bytes, Path]:
    """One of a baseline's files, and where it lay. Raises BaselineError as `read_artifacts` does."""
    path = artifact_path(folder, name, generation)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(error, path) from error
    _refuse_no_data(data, path)
    return data, path


def damage(folder: Path, baseline: Baseline) -> tuple[BaselineError, ...]:
    """What a glance tells to be wrong with a baseline's files, before something needs them: one fault a file.

    Sees one that is missing, empty, a Git LFS pointer or cut short. Nothing is decoded: `read_artifacts` and
    `diffbench check` find the rest.
    """
    faults = []
    for name in file_names(baseline):
        try:
            _glance_at(artifact_path(folder, name, baseline.generation), name)
        except BaselineError as error:
            faults.append(error)
    return tuple(faults)


def _glance_at(path: Path, name: str) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with path.open("rb") as file:
            _refuse_no_data(file.read(_LONGEST_POINTER), path)
            file.seek(-min(len(_PNG_END), file.seek(0, io.SEEK_END)), io.SEEK_END)
            ends_early = name.endswith(".png") and file.read() != _PNG_END
        if not name.endswith(".png"):
            with safe_open(path, "numpy"):
                pass  # which holds the file's length against what its header says
    except SafetensorError as error:
        raise BaselineError(path, f"doesn't decode as safetensors: {error}", RESTORE) from error
    except OSError as error:
        raise _unreadable(error, path) from error
    if ends_early:
        raise BaselineError(path, "is cut short, or no PNG: it doesn't end like one", RESTORE)


def _unreadable(error: OSError, path: Path) -> BaselineError:
    if isinstance(error, FileNotFoundError):
        return BaselineError(path, "is missing", RESTORE)
    return BaselineError(path, f"can't be read: {error.strerror}", "Check its permissions.")


def _refuse_no_data(data: bytes, path: Path) -> None:
    refuse_pointer(data, path)
    if not data:
        raise BaselineError(path, "is empty", RESTORE)


def encode_image(array: NDArray[np.uint8], path: Path, *, quick: bool = False) -> bytes:
    """A PNG without loss.

    Args:
        array: uint8 of shape HW, HW1, HW3 or HW4.
        path: for messages.
        quick: in a quarter of the time, by runs of equal bytes alone; photographs become no larger, drawings do.

    Raises:
        BaselineError: it is no image.
    """
    import numpy as np
    from PIL import Image

    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        problem = f"an array of shape {array.shape} and dtype {array.dtype} isn't an image"
        raise BaselineError(path, problem, "Pass uint8 arrays of shape HW, HW1, HW3 or HW4.")
    flat = array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array
    buffer = io.BytesIO()
    strategy = zlib.Z_RLE if quick else zlib.Z_DEFAULT_STRATEGY
    Image.fromarray(np.ascontiguousarray(flat)).save(buffer, format="PNG", compress_type=strategy)
    return buffer.getvalue()


def decode_image(data: bytes, path: Path, facts: ImageFacts) -> NDArray[np.uint8]:
    """Pixels of an accepted image. Raises BaselineError where they aren't those that were accepted."""
    import numpy as np

    mode, array = decode_png(data, path)
    if mode != facts.mode:
        raise BaselineError(path, f"is of mode {mode}, but {facts.mode} was accepted", RESTORE)
    # PNG doesn't tell (height, width) from (height, width, 1); the digest does.
    for shaped in (array, array[:, :, np.newaxis]) if array.ndim == 2 else (array,):
        if image_digest(shaped) == facts.digest:
            return shaped
    problem = f"pixels have digest {image_digest(array)}, but output.images says {facts.digest}"
    raise BaselineError(path, f"isn't the accepted image: {problem}", RESTORE)


def decode_png(data: bytes, path: Path) -> tuple[str, NDArray[np.uint8]]:
    """Mode and pixels of a PNG. Raises BaselineError on what is none."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            return image.mode, np.array(image)
    except UnidentifiedImageError as error:  # its own text names an object in memory
        raise BaselineError(path, "doesn't decode as PNG: it doesn't begin like one", RESTORE) from error
    except (*_BROKEN_PNG, Image.DecompressionBombError) as error:
        raise BaselineError(path, f"doesn't decode as PNG: {error}", RESTORE) from error


def encode_trace(trace: Mapping[str, NDArray[np.float32]], generation: int, path: Path) -> bytes:
    """A trace as safetensors that name its generation. Raises BaselineError where it isn't finite float32."""
    import numpy as np
    from safetensors.numpy import save

    # safetensors writes the memory as it lies, whatever the strides say, so the order has to be C.
    arrays = {name: np.asarray(trace[name], dtype=np.float32, order="C") for name in sorted(trace)}
    for name, array in arrays.items():
        _refuse_bad(name, array, path)
    return save(arrays, metadata={"generation": str(generation)})


def decode_trace(data: bytes, path: Path, generation: int | None) -> dict[str, NDArray[np.float32]]:
    """Arrays of a trace by name. Raises BaselineError where they aren't finite float32, or of another generation."""
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
    if generation is not None and belongs_to != str(generation):
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
