"""What there is to look at of a case: kept while a session runs, and read back to make its report."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from pytest_diffbench.errors import BaselineError, DiffbenchError
from pytest_diffbench.records import Baseline
from pytest_diffbench.records.artifacts import Artifacts, Sides
from pytest_diffbench.store.names import case_folder
from pytest_diffbench.store.pictures import keep, kept, write_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_diffbench.records import Case, Observation, Output
    from pytest_diffbench.records.artifacts import Reference
    from pytest_diffbench.store.store import Store


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
    baseline = next((record for folder in folders if (record := _read(_record_path(folder, case))) is not None), None)
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


def _read(path: Path) -> Baseline | None:
    with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.json.decode(path.read_bytes(), type=Baseline)
    return None


def _kept(folders: Sequence[Path], case: Case, output: Output | None) -> Artifacts:
    try:
        return kept(folders, case, output)
    except DiffbenchError:  # a picture that was damaged hides no figures
        return Artifacts()
