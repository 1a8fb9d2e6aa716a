"""Writing a baseline such that a crash leaves either the old one or the new one, and savers wait for each other.

`baseline.json` decides. Images and trace of a new generation are first written beside the old ones, under a name with
the generation (`image-0.png.g2`); replacing `baseline.json` makes them count; then they take their final names. A
reader of generation 2 looks for the name with `.g2` first, so it finds the right files before, during and after.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_diffbench.errors import BaselineError, option

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

BASELINE = "baseline.json"

_LOCK_TIMEOUT_S = 120.0
_PENDING = re.compile(r"(?P<name>.+)\.g(?P<generation>\d+)")
_RETURNED = re.compile(r"image-\d+\.png|returned-\d+(?:-\w+)?\.(?:png|safetensors)")
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Keep other savers of the same baselines out, in this process and in others of this user on this machine.

    The lock lies in the folder for temporary files, so that nothing but baselines is ever committed.

    Raises:
        BaselineError: another saver holds it for more than two minutes, or the lock can't be made.
    """
    from filelock import FileLock, Timeout

    resolved = os.path.normcase(root.resolve()).encode("utf-8", "surrogatepass")
    name = f"{hashlib.blake2b(resolved, digest_size=8).hexdigest()}.lock"
    # One folder a user: in a folder that all may write to, nobody may open another's file for writing.
    user = os.getuid() if hasattr(os, "getuid") else "user"
    try:
        folder = Path(tempfile.gettempdir()) / f"pytest-diffbench-{user}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(folder / name, timeout=_LOCK_TIMEOUT_S)
        lock.acquire()
    except Timeout as error:
        problem = f"has been locked by another process for more than {_LOCK_TIMEOUT_S:.0f} s"
        raise BaselineError(
            error.lock_file, problem, f"Wait for other runs that save to {root}, or stop them."
        ) from None
    except OSError as error:
        problem = f"can't be locked: {error}"
        raise BaselineError(
            root, problem, "Free space in the folder for temporary files, or move it with TMPDIR."
        ) from error
    try:
        yield
    finally:
        lock.release()


def artifact_path(folder: Path, name: str, generation: int) -> Path:
    """Where the images or the trace of a generation lie at this moment."""
    pending = _pending(folder, name, generation)
    return pending if pending.exists() else folder / name


def write_baseline(
    folder: Path,
    text: bytes,
    generation: int,
    names: Collection[str],
    artifacts: Mapping[str, bytes] | None,
) -> None:
    """Write `baseline.json`, and images and trace where they are given. Call it within `locked`.

    Args:
        folder: made where it isn't there.
        text: of `baseline.json`.
        generation: that `text` says.
        names: of all images, other parts and the trace that belong to it; others of what was returned go.
        artifacts: those files, for a new generation; None keeps what is there.

    Raises:
        BaselineError: the folder can't be written. What was there before is still there, and nothing else.
    """
    created: list[Path] = []
    written: list[Path] = []
    temporary = folder / f".{BASELINE}.{uuid.uuid4().hex[:8]}.tmp"
    ready = False
    try:
        _make(folder, created)
        for name, data in (artifacts or {}).items():
            written.append(_pending(folder, name, generation))
            _write(written[-1], data)
        written.append(temporary)
        _write(temporary, text)
        _sync_folder(folder)
        ready = True
        temporary.replace(folder / BASELINE)
    except BaseException as error:
        # An interrupt can come when the renaming is done already: then the new files count, and stay.
        if not ready or temporary.exists():
            _undo(written, created)
        if isinstance(error, OSError):
            raise BaselineError(folder, f"can't be written: {error.strerror or error}", _remedy(error)) from error
        raise
    # What was saved stands already. Where a file can't be renamed now, for instance because somebody has it open on
    # Windows, it is found under its first name, and the next save renames it. What crashed savers left goes as well.
    with contextlib.suppress(OSError):
        _settle(folder, generation)
        _drop_surplus(folder, names)
        _sync_folder(folder)


def _pending(folder: Path, name: str, generation: int) -> Path:
    return folder / f"{name}.g{generation}"


def _settle(folder: Path, generation: int) -> None:
    """Give files of the generation that stands their final names; remove what interrupted savers left."""
    for path in sorted(folder.iterdir()):
        pending = _PENDING.fullmatch(path.name)
        if pending is not None and int(pending["generation"]) == generation:
            path.replace(folder / pending["name"])
        elif pending is not None or (path.name.startswith(f".{BASELINE}.") and path.suffix == ".tmp"):
            path.unlink()


def _drop_surplus(folder: Path, names: Collection[str]) -> None:
    for path in sorted(folder.iterdir()):
        if _RETURNED.fullmatch(path.name) and path.name not in names:
            path.unlink()


def _make(folder: Path, created: list[Path]) -> None:
    """Make a folder and its parents, noting each that wasn't there."""
    if not folder.is_dir():
        _make(folder.parent, created)
        folder.mkdir()
        created.append(folder)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders can't be opened there; a rename is durable with the file
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _undo(written: list[Path], created: list[Path]) -> None:
    for path in written:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    for path in reversed(created):
        with contextlib.suppress(OSError):
            path.rmdir()


def _remedy(error: OSError) -> str:
    if error.errno in _FULL:
        return "Free some space there; nothing was changed."
    if error.errno in _FORBIDDEN:
        return f"Make it writable, or give {option('baselines')} another folder; nothing was changed."
    return f"Check it, or give {option('baselines')} another folder; nothing was changed."
