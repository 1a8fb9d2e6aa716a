"""What was returned, kept beside a session's file by its digests, so that it can be judged and shown later."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_diffbench.errors import BaselineError, DiffbenchError
from pytest_diffbench.records import Baseline
from pytest_diffbench.records.artifacts import Artifacts, Sides
from pytest_diffbench.store.arrays import (
    decode_image,
    decode_part,
    decode_trace,
    encode_image,
    encode_part,
    encode_trace,
    image_name,
    part_files,
    part_prefix,
)
from pytest_diffbench.store.names import case_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from pytest_diffbench.records import Case, ImageFacts, Observation, Output, PartFacts
    from pytest_diffbench.records.artifacts import Reference
    from pytest_diffbench.store.store import Store


_ANY_GENERATION = 0
"""That a trace is written with before it belongs to a baseline."""


def keep(folder: Path, output: Output | None, artifacts: Artifacts) -> None:
    """Write images that aren't there yet as `<digest>.png`, other parts as `<digest>-<name>.png` and
    `<digest>.safetensors`. Processes may do so at once.

    Raises:
        BaselineError: the folder can't be written.
    """
    facts = output.images if output is not None else ()
    for image, array in zip(facts, artifacts.images, strict=True):
        path = folder / f"{image.digest}.png"
        if not path.exists():
            write_file(path, encode_image(array, path, quick=True))  # many, and not for long
    for part, arrays in zip(output.parts if output is not None else (), artifacts.parts, strict=True):
        if all((folder / name).exists() for name in part_files(part.digest, part)):
            continue
        for name, data in encode_part(part.digest, arrays, 0, folder).items():
            write_file(folder / name, data)


def keep_trace(folder: Path, artifacts: Artifacts) -> str | None:
    """Write a trace that isn't there yet as `trace-<digest>.safetensors`. Processes may do so at once.

    Returns:
        The digest of the file; None where the trace isn't finite, which is never accepted.

    Raises:
        BaselineError: the folder can't be written.
    """
    try:
        data = encode_trace(artifacts.trace, _ANY_GENERATION, folder)
    except BaselineError:
        return None
    digest = _digest(data)
    path = folder / _trace_name(digest)
    if not path.exists():
        write_file(path, data)
    return digest


def copy_kept(source: Path, target: Path, output: Output | None, trace_digest: str) -> None:
    """Copy a case's kept files from one folder to another, as far as they are there.

    Raises:
        BaselineError: the folder can't be written.
    """
    names = [_trace_name(trace_digest)]
    if output is not None:
        names += [f"{image.digest}.png" for image in output.images]
        names += [name for part in output.parts for name in part_files(part.digest, part)]
    for name in names:
        if (source / name).is_file() and not (target / name).exists():
            write_file(target / name, (source / name).read_bytes())


def kept_trace(folders: Sequence[Path], digest: str) -> dict[str, NDArray[np.float32]] | None:
    """The trace of a digest that `keep_trace` gave; None where no folder has it.

    Raises:
        DiffbenchError: the file isn't any more what its name says.
    """
    for folder in folders:
        path = folder / _trace_name(digest)
        if not path.is_file():
            continue
        try:
            data = path.read_bytes()
            if _digest(data) != digest:
                raise BaselineError(path, "its bytes have another digest", "Copy it again from its source.")
            return decode_trace(data, path, _ANY_GENERATION)
        except (BaselineError, OSError) as error:
            raise DiffbenchError(
                f"{path}: isn't the trace whose digest is its name: {error}. Copy it again from its source."
            ) from error
    return None


def _trace_name(digest: str) -> str:
    return f"trace-{digest}.safetensors"


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def write_file(path: Path, data: bytes) -> None:
    """Write a file whole, or not at all. Raises BaselineError where it can't be written."""
    folder = path.parent
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        problem = f"can't be written: {error.strerror or error}"
        raise BaselineError(folder, problem, "Make it writable, or name another folder.") from error


def kept(folders: Sequence[Path], case: Case, output: Output | None) -> Artifacts:
    """The images and other parts of a case, each with the digest that was recorded.

    Folders are those that `keep` wrote, or of baselines. Where an image isn't there, none is given; a part that isn't
    there is empty.

    Raises:
        DiffbenchError: a file that `keep` wrote isn't any more what its name says.
    """
    facts = output.images if output is not None else ()
    found = [_image_of(folders, case, i, image) for i, image in enumerate(facts)]
    images = tuple(array for array, _ in found if array is not None)
    files = tuple(path for _, path in found if path is not None)
    parts = output.parts if output is not None else ()
    return Artifacts(
        images=images if len(images) == len(facts) else (),
        image_files=files if len(files) == len(facts) else (),
        parts=tuple(_part_of(folders, case, number, part) for number, part in enumerate(parts)),
    )


def _part_of(folders: Sequence[Path], case: Case, number: int, part: PartFacts) -> dict[str, NDArray[Any]]:
    stored = [(folder, part.digest) for folder in folders]
    stored += [(parent, part_prefix(number)) for folder in folders for parent in _cases_in(folder, case)]
    for folder, prefix in stored:
        if not all((folder / name).is_file() for name in part_files(prefix, part)):
            continue
        try:
            return decode_part(prefix, part, functools.partial(_read, folder))
        except (BaselineError, OSError) as error:
            if prefix == part.digest:
                raise DiffbenchError(
                    f"{folder}: what is kept as {prefix} isn't what was returned: {error}. Copy it anew from where "
                    "it was made."
                ) from error
    return {}  # or those of another run


def _read(folder: Path, name: str) -> tuple[bytes, Path]:
    return (folder / name).read_bytes(), folder / name


def _cases_in(folder: Path, case: Case) -> list[Path]:
    return sorted(folder.glob(f"*/{case_folder(case)}"))


def _image_of(
    folders: Sequence[Path], case: Case, index: int, facts: ImageFacts
) -> tuple[NDArray[np.uint8] | None, Path | None]:
    """An image, and the file of it that nobody replaces by another one."""
    for folder in folders:
        path = folder / f"{facts.digest}.png"
        if path.is_file():
            try:
                return decode_image(path.read_bytes(), path, facts), path
            except (BaselineError, OSError) as error:
                raise DiffbenchError(
                    f"{path}: isn't the image whose digest is its name: {error}. Copy it again from its source."
                ) from error
    for path in _in_baselines(folders, case, index):
        try:
            return decode_image(path.read_bytes(), path, facts), None
        except (BaselineError, OSError):
            continue  # of another run
    return None, None


def _in_baselines(folders: Sequence[Path], case: Case, index: int) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(folder.glob(f"*/{case_folder(case)}/{image_name(index)}"))


def keep_sides(folder: Path, observation: Observation, artifacts: Artifacts, reference: Reference | None) -> None:
    """Write what a case returned and what it was compared with, by digest, and the record of the baseline.

    A save replaces the baseline, and another environment's results are gone at the end of the session, so both are
    kept when the case is judged. Processes may do so at once.

    Raises:
        BaselineError: the folder can't be written, or the baseline's files can't be read.
    """
    keep(folder, observation.output, artifacts)
    if reference is None:
        return
    write_file(_record_path(folder, observation.case), msgspec.json.encode(reference.baseline))
    if digests(reference.baseline.output) != digests(observation.output):
        keep(folder, reference.baseline.output, reference.artifacts())


def sides_of(
    folders: Sequence[Path], observation: Observation, store: Store | None = None, *, arrays: bool = True
) -> Sides:
    """What is at hand of a case. What isn't, or can't be read, is left out.

    Args:
        folders: that `keep_sides` or `keep` wrote.
        observation: the case.
        store: baselines, asked where no folder has the record of one.
        arrays: read them too; else the record alone.
    """
    case = observation.case
    baseline = next(
        (record for folder in folders if (record := _record(_record_path(folder, case))) is not None), None
    )
    reference = None
    if baseline is None and store is not None:
        with contextlib.suppress(BaselineError):
            reference = store.find(case, observation.run.environment)
        baseline = reference.baseline if reference is not None else None
    if not arrays:
        return Sides(baseline=baseline)
    now = _kept(folders, case, observation.output)
    if baseline is None:
        return Sides(now=now)
    if digests(baseline.output) == digests(observation.output) and (now.images or any(now.parts)):
        return Sides(now=now, base=now, baseline=baseline)
    base = _kept(folders, case, baseline.output)
    if reference is not None and not (base.images or any(base.parts)):
        with contextlib.suppress(BaselineError):
            base = reference.artifacts()
    same = digests(baseline.output) == digests(observation.output)
    return Sides(now=base if same else now, base=base, baseline=baseline)


def digests(output: Output | None) -> list[str]:
    """Of all images and parts; equal lists, equal bits."""
    if output is None:
        return []
    return [*(image.digest for image in output.images), *(part.digest for part in output.parts)]


def _record_path(folder: Path, case: Case) -> Path:
    return folder / f"{case_folder(case)}.json"


def _record(path: Path) -> Baseline | None:
    with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.json.decode(path.read_bytes(), type=Baseline)
    return None


def _kept(folders: Sequence[Path], case: Case, output: Output | None) -> Artifacts:
    try:
        return kept(folders, case, output)
    except DiffbenchError:  # a picture that was damaged hides no figures
        return Artifacts()
