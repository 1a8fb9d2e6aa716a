"""Images kept beside a session's file, by their digests, so that they can be judged later and elsewhere."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING

from pytest_diffbench.errors import BaselineError, DiffbenchError
from pytest_diffbench.records.artifacts import Artifacts
from pytest_diffbench.store.arrays import decode_image, encode_image, image_name
from pytest_diffbench.store.names import case_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from pytest_diffbench.records import Case, ImageFacts, Output


def keep(folder: Path, output: Output | None, artifacts: Artifacts) -> None:
    """Write images that aren't there yet as `<digest>.png`. Processes may do so at once.

    Raises:
        BaselineError: the folder can't be written.
    """
    facts = output.images if output is not None else ()
    for image, array in zip(facts, artifacts.images, strict=True):
        path = folder / f"{image.digest}.png"
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            if path.exists():
                continue
            folder.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(encode_image(array, path))
            temporary.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            problem = f"can't be written: {error.strerror or error}"
            raise BaselineError(folder, problem, "Give --diffbench-images a writable folder.") from error


def kept(folders: Sequence[Path], case: Case, output: Output | None) -> Artifacts:
    """The images of a case, each the one whose digest was recorded; none unless all of them are there.

    Args:
        folders: that `keep` wrote, or of baselines.
        case: whose images they are.
        output: with their digests.

    Raises:
        DiffbenchError: a file that `keep` wrote isn't any more what its name says.
    """
    facts = output.images if output is not None else ()
    arrays = [_image_of(folders, case, i, image) for i, image in enumerate(facts)]
    images = tuple(array for array in arrays if array is not None)
    return Artifacts(images=images if len(images) == len(facts) else ())


def _image_of(folders: Sequence[Path], case: Case, index: int, facts: ImageFacts) -> NDArray[np.uint8] | None:
    for folder in folders:
        path = folder / f"{facts.digest}.png"
        if path.is_file():
            try:
                return decode_image(path.read_bytes(), path, facts)
            except (BaselineError, OSError) as error:
                raise DiffbenchError(
                    f"{path}: isn't the image whose digest is its name: {error}. Copy it again from its source."
                ) from error
    for path in _in_baselines(folders, case, index):
        try:
            return decode_image(path.read_bytes(), path, facts)
        except (BaselineError, OSError):
            continue  # of another run
    return None


def _in_baselines(folders: Sequence[Path], case: Case, index: int) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(folder.glob(f"*/{case_folder(case)}/{image_name(index)}"))
