"""What a measuring process is told and what it tells: a file each way, in a folder of its own.

Results are lines that are written out as soon as they are known, so that a process that is killed leaves what it has.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal

import msgspec

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.records import Observation, baseline_of
from pytest_diffbench.records.artifacts import Reference
from pytest_diffbench.records.base import Record

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_diffbench.records.artifacts import Artifacts

PROTOCOL = 3
"""Version of these files. Both sides must be of one."""

VARIABLE = "PYTEST_DIFFBENCH_TASK"
"""Variable of the environment that names a measuring process's folder."""

_TASK = "task.json"
_RESULTS = "results.jsonl"


class Task(Record, frozen=True, kw_only=True):
    """What a measuring process is to do.

    Attributes:
        protocol: of the session that asks.
        tests: ids of the tests to run, as `naming.case_id` gives them without a label; all others are left out.
        artifacts: whether images and traces are wanted too.
        plant: a slowdown to plant, for the self-test; None where all stays as it is.
        brief: make one round of each case, without warm-up, and count nothing: what it returns is wanted.
        session_on_device: the process that asks has a context on the accelerator.
        turns: descriptor of the socket on which to ask for the turn; None for a process that runs alone.
    """

    protocol: int = PROTOCOL
    tests: tuple[str, ...]
    artifacts: bool = False
    plant: str | None = None
    brief: bool = False
    turns: int | None = None
    session_on_device: bool = False


class Measured(Record, frozen=True, kw_only=True, tag="measured"):
    """A case that was measured, to its end or in part.

    Attributes:
        test: id of its test.
        observation: what was seen.
        problem: why the measurement broke off.
        artifacts: folder of its images and trace within the process's own, where they were wanted.
    """

    test: str
    observation: Observation
    problem: str | None = None
    artifacts: str | None = None


class Outcome(Record, frozen=True, kw_only=True, tag="outcome"):
    """A phase of a test that didn't pass."""

    test: str
    when: str
    outcome: Literal["failed", "skipped"]
    text: str


class Done(Record, frozen=True, kw_only=True, tag="farewell"):
    """The last line of a process that ended by itself.

    Attributes:
        tests: ids of those it was asked for that it found.
        modules: modules imported from inside pytest's root folder that are neither tests nor conftest files.
    """

    tests: tuple[str, ...]
    modules: dict[str, str]


Line = Measured | Outcome | Done


def give(folder: Path, task: Task) -> None:
    """Write down a task."""
    folder.joinpath(_TASK).write_bytes(msgspec.json.encode(task))


def take(folder: Path) -> Task:
    """Read a task.

    Raises:
        MeasureError: there is none, or it is of another version.
    """
    try:
        return msgspec.json.decode(folder.joinpath(_TASK).read_bytes(), type=Task)
    except (OSError, msgspec.DecodeError) as error:
        raise MeasureError(
            f"{VARIABLE}={folder}: no task can be read there ({error}). The variable is for pytest-diffbench's own "
            "processes; unset it."
        ) from None


class ResultWriter:
    """The writing side: a measuring process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cases = 0

    def measured(self, test: str, observation: Observation, problem: str | None, artifacts: Artifacts | None) -> None:
        """Tell of a case, with its images and trace where they are given."""
        name: str | None = None
        if artifacts is not None:
            from pytest_diffbench.store.arrays import encode_artifacts

            name = f"case-{self._cases}"
            self._cases += 1
            folder = self._folder / name
            folder.mkdir()
            for file, data in encode_artifacts(artifacts, 1, folder).items():
                folder.joinpath(file).write_bytes(data)
        self.write(Measured(test=test, observation=observation, problem=problem, artifacts=name))

    def write(self, line: Line) -> None:
        """Write a line, for good."""
        with self._folder.joinpath(_RESULTS).open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")


def read_lines(folder: Path) -> list[Line]:
    """All that a process has told so far. A last line that it didn't come to finish is left out."""
    try:
        lines = folder.joinpath(_RESULTS).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    return [msgspec.json.decode(line, type=Line) for line in lines[:-1]]


def reference_of(measured: Measured, folder: Path, path: str) -> Reference:
    """A case that another process measured, as a baseline of this machine.

    Args:
        measured: the case, with artifacts.
        folder: that process's.
        path: says where it was measured, for messages.
    """
    from pytest_diffbench.store.arrays import read_artifacts

    observation = measured.observation
    baseline = baseline_of(observation)
    where = folder / (measured.artifacts or "")
    return Reference(baseline, "machine", path, functools.partial(read_artifacts, where, baseline))
