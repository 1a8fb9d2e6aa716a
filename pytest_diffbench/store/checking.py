"""What can be wrong with a folder of baselines: files no record names, files it misses, damage, absurd figures."""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
import reprlib
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_diffbench.errors import BaselineError
from pytest_diffbench.records.artifacts import MOMENT_NAMES, MOMENTS
from pytest_diffbench.store.arrays import (
    TRACE,
    decode_image,
    decode_trace,
    file_names,
    picture_names,
    read_file,
    read_part,
)
from pytest_diffbench.store.consistency import contradictions
from pytest_diffbench.store.files import BASELINE, artifact_path
from pytest_diffbench.store.names import case_folder
from pytest_diffbench.store.schema import RESTORE
from pytest_diffbench.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from pytest_diffbench.records import Baseline

_STORED = re.compile(r"[^.].*\.(png|safetensors|json)(\.g\d+)?|\.baseline\.json\..*\.tmp", re.IGNORECASE)
"""Names of the kinds of file that a save makes; notes and settings of version control are the team's own."""

_PNG = b"\x89PNG\r\n\x1a\n"
_SKETCH_NORM_FACTOR = 4.0
"""A sketch's norm is the tensor's within a tenth, and beyond a multiple only where it isn't that tensor's."""

_SAME_REL = 1e-3


@dataclasses.dataclass(frozen=True, slots=True)
class Checked:
    """What was found of one folder.

    Attributes:
        folder: of a case, or another one that holds what lies in the wrong place.
        baseline: None where it can't be read, or there is none.
        faults: each with file, field, value and remedy; none where all is well.
        stray: it is no case's folder.
    """

    folder: Path
    baseline: Baseline | None
    faults: tuple[BaselineError, ...]
    stray: bool = False


def check(root: Path, now: datetime.datetime | None = None) -> Iterator[Checked]:
    """Read everything under an existing folder of baselines: each case, sorted, then what belongs to none.

    `now` has a time zone, and is the present by default.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    store = Store(root)
    cases = list(store.entries())
    for folder in cases:
        yield _checked(store, folder, now)
    yield from _strays(root, set(cases))


def _checked(store: Store, folder: Path, now: datetime.datetime) -> Checked:
    try:
        baseline = store.load(folder).baseline
    except BaselineError as error:
        return Checked(folder, None, (error,))
    path = folder / BASELINE
    faults = [
        *_misplaced(baseline, folder),
        *(
            BaselineError(path, f"{field} is {_shown(value)}, but {beside}", RESTORE)
            for field, value, beside in contradictions(baseline, now)
        ),
        *_of_files(baseline, folder),
        *_unnamed(baseline, folder),
    ]
    return Checked(folder, baseline, tuple(faults))


def _shown(value: object) -> str:
    return value if isinstance(value, str) and value.endswith(("times", "figures")) else reprlib.repr(value)


def _misplaced(baseline: Baseline, folder: Path) -> Iterator[BaselineError]:
    """A folder is named by what is in it; under another name nothing finds it."""
    expected = case_folder(baseline.case)
    if folder.name != expected:
        problem = f"case.id is {baseline.case.id!r}, whose folder is {expected}: no test finds it here"
        remedy = f"Rename the folder to {expected}, or delete it if the test is gone."
        yield BaselineError(folder / BASELINE, problem, remedy)
    for index, run in enumerate(baseline.runs):
        machine = run.environment.machine
        if machine != folder.parent.name:
            problem = (
                f"runs[{index}].environment.machine is {machine!r}, but the folder is {folder.parent.name}'s: it "
                "wasn't measured on that machine"
            )
            yield BaselineError(folder / BASELINE, problem, f"Move it to {machine}, or delete it and save again.")
            return


def _of_files(baseline: Baseline, folder: Path) -> Iterator[BaselineError]:
    """Read the images and the trace, each by itself, so that one that is bad hides no other."""
    facts = baseline.output.images if baseline.output is not None else ()
    for number, part in enumerate(baseline.output.parts if baseline.output is not None else ()):
        try:
            read_part(folder, number, part, baseline.generation)
        except BaselineError as error:
            yield error
    for name in file_names(baseline):
        if name.startswith("returned-"):
            continue
        try:
            data, path = read_file(folder, name, baseline.generation)
            if name == TRACE:
                trace = decode_trace(data, path, baseline.generation)
                problems = list(_trace_problems(trace, baseline))
            else:
                problem = png_problem(data)
                problems = [problem] if problem is not None else []
                image = facts[int(name.removeprefix("image-").removesuffix(".png"))]
                array = decode_image(data, path, image)
                problems += _image_problems(array, image.width_px, image.height_px, image.constant)
        except BaselineError as error:
            yield error
        else:
            yield from (BaselineError(path, problem, RESTORE) for problem in problems)


def _image_problems(array: NDArray[np.uint8], width_px: int, height_px: int, constant: bool) -> Iterator[str]:
    height, width = array.shape[:2]
    if (width, height) != (width_px, height_px):
        yield f"is {width} x {height} px, but width_px and height_px in output.images are {width_px} x {height_px}"
    is_constant = bool((array == array.reshape(-1)[0]).all())
    if is_constant != constant:
        yield f"has {'equal' if is_constant else 'unequal'} pixels, but constant in output.images is {constant}"


def png_problem(data: bytes) -> str | None:
    """What is wrong with a PNG file as a file, even where its pixels can still be read; None where it is sound.

    Decoders leave out the checksums of the pixels, and stop once they have enough of them.
    """
    if not data.startswith(_PNG):
        return "isn't a PNG file: its first 8 bytes are wrong"
    place, packed, kind = len(_PNG), b"", b""
    while kind != b"IEND":
        length = int.from_bytes(data[place : place + 4], "big")
        end = place + 12 + length
        kind = data[place + 4 : place + 8]
        if end > len(data) or len(kind) < 4:
            return f"is cut short: {len(data)} bytes, and the part at byte {place} doesn't end within them"
        body = data[place + 4 : end - 4]
        if zlib.crc32(body) != int.from_bytes(data[end - 4 : end], "big"):
            return f"is damaged: the checksum of its part {kind.decode('ascii', 'replace')} at byte {place} is wrong"
        if kind == b"IDAT":
            packed += body[4:]
        place = end
    if place != len(data):
        return f"is damaged: {len(data) - place} bytes follow its end"
    unpacking = zlib.decompressobj()
    try:
        unpacking.decompress(packed)
    except zlib.error as error:
        return f"is damaged: its pixels don't unpack ({error})"
    return None if unpacking.eof else "is damaged: its pixels end early"


def _trace_problems(trace: dict[str, NDArray[np.float32]], baseline: Baseline) -> Iterator[str]:
    """A trace has no digest; its moments say what each array must look like."""
    import numpy as np

    final = trace.get("latents/final")
    expected = baseline.output.latents_shape if baseline.output is not None else None
    if final is not None and expected is not None and final.shape != tuple(expected):
        yield f"latents/final is of shape {list(final.shape)}, but output.latents_shape is {list(expected)}"
    moments = trace.get(MOMENTS)
    if moments is None:
        return
    names = sorted(name for name in trace if name != MOMENTS)
    if moments.shape != (len(names), len(MOMENT_NAMES)):
        yield f"moments are of shape {list(moments.shape)}, not {[len(names), len(MOMENT_NAMES)]} for its arrays"
        return
    for name, row in zip(names, moments.astype(np.float64), strict=True):
        norm, mean, std, low, high, not_finite = map(float, row)
        greatest = max(abs(low), abs(high))
        slack = _SAME_REL * greatest
        if min(std, not_finite) < 0 or not low - slack <= mean <= high + slack or norm < greatest - slack:
            yield f"the moments of {name} are {row.tolist()}, which is impossible for an array"
            continue
        kept_norm = float(np.linalg.norm(trace[name].astype(np.float64)))
        if name == "latents/final" and not_finite == 0:
            if abs(kept_norm - norm) > _SAME_REL * max(norm, 1e-6):
                yield f"{name} has norm {kept_norm:.6g}, but its moments say {norm:.6g}"
        elif kept_norm > _SKETCH_NORM_FACTOR * norm:
            yield f"{name} has norm {kept_norm:.6g}, but the moments of what it sketches say {norm:.6g}"


def _unnamed(baseline: Baseline, folder: Path) -> Iterator[BaselineError]:
    names = (*file_names(baseline), *picture_names(baseline))
    named = {BASELINE} | {artifact_path(folder, name, baseline.generation).name for name in names}
    for path in _files(folder, lambda name: name not in named):
        yield BaselineError(
            path,
            f"belongs to no image, part or trace of generation {baseline.generation} in {BASELINE}",
            "Delete it, or restore the folder from version control.",
        )


def _strays(root: Path, cases: set[Path]) -> Iterator[Checked]:
    """What lies in none of the folders that are looked into: `<machine>/<case>/`."""
    for parent, folders, _ in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        folder = Path(parent)
        if folder in cases:
            continue
        files = list(_files(folder, lambda _: True))
        if not files:
            continue
        where = "belongs to no baseline: baselines are in <machine>/<case>/, with a baseline.json"
        problem = where if BASELINE in {path.name for path in files} else f"{where}, and {folder.name} has none"
        remedy = "Move it, restore the folder from version control, or delete it."
        yield Checked(folder, None, tuple(BaselineError(path, problem, remedy) for path in files), stray=True)


def _files(folder: Path, selects: Callable[[str], bool]) -> Iterable[Path]:
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_file())
    return [folder / name for name in names if _STORED.fullmatch(name) and selects(name)]
