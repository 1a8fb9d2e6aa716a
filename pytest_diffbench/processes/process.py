"""Runs a process to its end, its time-out, or an interruption, and keeps its last words."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_PATIENCE_S = 10.0
"""Between asking a process to end and ending it."""

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
    # Files, since a pipe that nobody reads fills up and stops its writer.
    with (folder / "stdout.txt").open("wb") as out, (folder / "stderr.txt").open("wb") as err:
        process = subprocess.Popen(
            command, cwd=cwd, env=dict(environment), stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
        status: int | None
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _end(process)
    words = _last_words(folder / "stderr.txt") or _last_words(folder / "stdout.txt")
    return Ended(status, timeout_s, words)


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
