"""Whether a session's results can be written: found out before hours are spent on them."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from pytest_diffbench.errors import OptionError
from pytest_diffbench.settings.options import flag, folder

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from pytest_diffbench.settings.options import Settings


def refuse_unwritable(config: pytest.Config, settings: Settings) -> None:
    """Refuse a place for results that can't be written to. Nothing is left where this looks.

    Args:
        config: pytest's.
        settings: of the session.

    Raises:
        OptionError: naming the option, the place, what is in the way, and the remedy.
    """
    if settings.json is not None:
        path = folder(config, settings.json)
        is_folder = os.path.isdir(path)  # noqa: PTH112  # Path's own raises for a name that is too long
        why = "it is a folder" if is_folder else _in_the_way(path.parent)
        _refuse(flag("json"), path, why, "Name a file in a writable folder.")
    if settings.report is not None:
        path = folder(config, settings.report)
        single = path.suffix.lower() in (".html", ".htm")
        wrong = os.path.isdir(path) if single else os.path.isfile(path)  # noqa: PTH112, PTH113  # as above
        why = ("it is a folder" if single else "it is a file") if wrong else _in_the_way(path.parent)
        _refuse(flag("report"), path, why, "Name FILE.html or a folder, in a writable folder.")
    if settings.history is not None:
        path = folder(config, settings.history)
        why = "it is a folder" if path.is_dir() else _in_the_way(path.parent)
        _refuse(flag("history"), path, why, "Name a file in a writable folder.")
    if settings.profile is not None:
        path = folder(config, settings.profile)
        _refuse(flag("profile"), path, _in_the_way(path), "Name a writable folder.")
    if settings.images is not None:
        path = folder(config, settings.images)
        _refuse(flag("images"), path, _in_the_way(path), "Name a writable folder.")
    if settings.save:
        path = folder(config, settings.baselines)
        remedy = f"Make it writable, or name another folder with {flag('baselines')}."
        _refuse(flag("save"), path, _in_the_way(path), remedy)
    if settings.selftest:
        path = config.rootpath / ".diffbench"
        _refuse(flag("selftest"), path, _in_the_way(path), "Make it writable: the figures are kept there.")


def _refuse(option: str, path: Path, why: str | None, remedy: str) -> None:
    if why is not None:
        raise OptionError(f"{option}: {path} can't be written: {why}. {remedy}")


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
