"""Runs a process to its end, its time-out, or an interruption, and keeps its last words."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_PATIENCE_S = 10.0
"""Between asking a process to end and ending it."""

_OUT, _ERR = "stdout.txt", "stderr.txt"
_LAST_LINES = 3
_LAST_BYTES = 8192


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended.

    Attributes:
        status: exit status, negative for a signal; None where it ran past its time-out and was ended.
        timeout_s: the time that it had.
        last_words: last lines that it wrote, on stderr before stdout; empty when there were none.
    """

    status: int | None
    timeout_s: float
    last_words: str

    @property
    def by_itself(self) -> bool:
        """Whether it came to its end without being ended."""
        return self.status is not None and self.status >= 0

    def in_words(self) -> str:
        """Say how it ended."""
        if self.status is None:
            how = f"it didn't end within {self.timeout_s:.0f} s"
        elif self.status < 0:
            how = f"it was ended by {_signal_name(-self.status)}"
        else:
            how = f"it ended with status {self.status}"
        return f"{how}: {self.last_words}" if self.last_words else how


def run(
    command: Sequence[str], *, environment: Mapping[str, str], cwd: Path, timeout_s: float, folder: Path
) -> Ended:
    """Run a process and wait for it. Whatever ends the wait ends the process too.

    Args:
        command: program and arguments.
        environment: all of its variables.
        cwd: its folder.
        timeout_s: it is ended after this time.
        folder: where what it writes is kept.

    Raises:
        OSError: it can't be started.
    """
    with started(command, environment=environment, cwd=cwd, folder=folder) as process:
        status: int | None
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            status = None
    return Ended(status, timeout_s, last_words(folder))


@contextlib.contextmanager
def started(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    cwd: Path,
    folder: Path,
    descriptors: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs, and is ended with the block.

    Args:
        command: program and arguments.
        environment: all of its variables.
        cwd: its folder.
        folder: where what it writes is kept.
        descriptors: files that it is handed, under their numbers here.

    Raises:
        OSError: it can't be started.
    """
    # Files, since a pipe that nobody reads fills up and stops its writer.
    with (folder / _OUT).open("wb") as out, (folder / _ERR).open("wb") as err:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            pass_fds=tuple(descriptors),
        )
        try:
            yield process
        finally:
            _end(process)


def last_words(folder: Path) -> str:
    """Last lines that a process wrote, on stderr before stdout; empty where there are none."""
    return _last_words(folder / _ERR) or _last_words(folder / _OUT)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_words(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - _LAST_BYTES))
        text = file.read().decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(lines[-_LAST_LINES:])


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
