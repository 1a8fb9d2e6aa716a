"""Whether what a session reads and writes can be: found out before hours are spent on it."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from pytest_diffbench.errors import DiffbenchError, OptionError
from pytest_diffbench.settings.options import flag, folder

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from pytest_diffbench.settings.options import Settings


def refuse_unusable(config: pytest.Config, settings: Settings) -> None:
    """Refuse baselines that can't be read, and a place for results that can't be written to.

    Nothing is left where this looks.

    Args:
        config: pytest's.
        settings: of the session.

    Raises:
        OptionError: naming the option, the place, what is in the way, and the remedy.
    """
    if settings.json is not None:
        path = folder(config, settings.json)
        _refuse(flag("json"), path, in_the_way_of(path), "Name a file in a writable folder.")
    if settings.report is not None:
        path = folder(config, settings.report)
        single = path.suffix.lower() in (".html", ".htm")
        wrong = os.path.isdir(path) if single else os.path.isfile(path)  # noqa: PTH112, PTH113  # as above
        why = ("it is a folder" if single else "it is a file") if wrong else _in_the_way(path.parent)
        _refuse(flag("report"), path, why, "Name FILE.html or a folder, in a writable folder.")
    if settings.history is not None:
        path = folder(config, settings.history)
        _refuse(flag("history"), path, in_the_way_of(path), "Name a file in a writable folder.")
        _refuse_no_history(path)
    if settings.profile is not None:
        path = folder(config, settings.profile)
        _refuse(flag("profile"), path, _in_the_way(path), "Name a writable folder.")
    if settings.images is not None:
        path = folder(config, settings.images)
        _refuse(flag("images"), path, _in_the_way(path), "Name a writable folder.")
    path = folder(config, settings.baselines)
    if settings.save:
        remedy = f"Make it writable, or name another folder with {flag('baselines')}."
        _refuse(flag("save"), path, _in_the_way(path), remedy)
    else:
        _refuse(flag("baselines"), path, _unreadable(path), "Name a folder of baselines.", "read")
    if settings.selftest:
        path = config.rootpath / ".diffbench"
        _refuse(flag("selftest"), path, _in_the_way(path), "Make it writable: the figures are kept there.")


def in_the_way_of(file: Path) -> str | None:
    """Why a file can't be written, whose folder would be made where it isn't there; None where it can."""
    is_folder = os.path.isdir(file)  # noqa: PTH112  # Path's own raises for a name that is too long
    return "it is a folder" if is_folder else _in_the_way(file.parent)


def _refuse(option: str, path: Path, why: str | None, remedy: str, done: str = "written") -> None:
    if why is not None:
        raise OptionError(f"{option}: {path} can't be {done}: {why}. {remedy}")


def _refuse_no_history(path: Path) -> None:
    """Refuse a file that holds something else than a history, or can't be added to."""
    if not path.is_file() or not path.stat().st_size:
        return
    from pytest_diffbench.store.history import History

    try:
        History(path).close()
    except DiffbenchError as error:
        raise OptionError(f"{flag('history')}: {error}") from None
    why = None if os.access(path, os.W_OK) else "it can only be read"
    _refuse(flag("history"), path, why, "Make it writable, or name another file.")


def _unreadable(place: Path) -> str | None:
    """Why a folder can't be listed; None where it can, or isn't there."""
    try:
        os.scandir(place).close()
    except FileNotFoundError:
        return None
    except OSError as error:
        return "it is a file" if place.is_file() else str(error.strerror)
    return None


def _in_the_way(place: Path) -> str | None:
    """Why no file can be written into a folder, which would be made where it isn't there; None where one can."""
    while True:
        try:
            os.lstat(place)
            break
        except (FileNotFoundError, NotADirectoryError):
            place = place.parent
        except OSError as error:
            return f"{place}: {error.strerror}"
    if not place.is_dir():
        return f"{place} isn't a folder"
    try:
        with tempfile.TemporaryFile(dir=place):
            return None
    except OSError as error:
        return f"{place} takes no files ({error.strerror})"
