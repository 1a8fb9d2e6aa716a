"""Looks at another environment's interpreter before anything is measured with it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from pytest_diffbench import __version__
from pytest_diffbench.errors import OptionError
from pytest_diffbench.workers.exchange import PROTOCOL
from pytest_diffbench.workers.launch import OTHER_PYTHONS

_OPTION = "--diffbench-against"
_REMEDY = "`diffbench env REVISION` makes one"
_TIMEOUT_S = 120.0

_PROBE = """
import importlib.metadata as metadata, json
told = {"version": None, "protocol": None, "registered": False}
try:
    import pytest, pytest_diffbench
    told["version"] = pytest_diffbench.__version__
    from pytest_diffbench.workers import exchange
    told["protocol"] = exchange.PROTOCOL
except ImportError as error:
    told["problem"] = str(error)
entries = metadata.entry_points(group="pytest11")
told["registered"] = any(one.value == "pytest_diffbench.plugin" for one in entries)
print(json.dumps(told))
"""


def checked_interpreter(name: str, shell: Path) -> str:
    """The path of an interpreter that can measure for this session.

    Args:
        name: as it was typed: a path, or the name of a program on the search path.
        shell: folder that a relative path starts at.

    Raises:
        OptionError: it isn't there, isn't Python 3.11 or newer, or its pytest-diffbench is missing or another one.
    """
    path = _located(name, shell)
    answer = _asked(path)
    version, install = answer.get("version"), f"{path} -m pip install pytest-diffbench=={__version__}"
    if version is None:
        raise OptionError(
            f"{_OPTION}: {path} has no pytest-diffbench ({answer.get('problem')}). Install it: {install}"
        )
    if version != __version__:
        raise OptionError(
            f"{_OPTION}: {path} has pytest-diffbench {version}, this environment has {__version__}. "
            f"Both sides must measure in the same way: {install}"
        )
    if answer.get("protocol") != PROTOCOL:
        raise OptionError(
            f"{_OPTION}: {path} has another build of pytest-diffbench {version} (protocol {answer.get('protocol')}, "
            f"not {PROTOCOL}). Both sides must measure in the same way: install the same build there."
        )
    if not answer.get("registered"):
        raise OptionError(
            f"{_OPTION}: {path} can import pytest-diffbench, but it isn't installed there, so pytest doesn't find "
            f"it. Install it: {install}"
        )
    return path


def _located(name: str, shell: Path) -> str:
    located = shutil.which(name) if os.path.basename(name) == name else None  # noqa: PTH119  # Path drops a `./`
    # Never resolved: an environment's interpreter is a link, and it is the link that makes it that environment's.
    try:
        path = Path(located) if located is not None else shell / Path(name).expanduser()
    except RuntimeError:
        raise OptionError(f"{_OPTION}: {name} starts with the home folder of a user who isn't known here.") from None
    if path.is_dir():
        inside = path / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        hint = f": {inside}" if inside.exists() else f"; {_REMEDY}"
        raise OptionError(f"{_OPTION}: {path} is a folder. Name the interpreter of another environment{hint}.")
    if not path.exists():
        what = "is a link to nowhere" if path.is_symlink() else "doesn't exist"
        raise OptionError(f"{_OPTION}: {path} {what}. Name the interpreter of another environment; {_REMEDY}.")
    if not os.access(path, os.X_OK):
        raise OptionError(
            f"{_OPTION}: {path} isn't executable. Name the interpreter of another environment; {_REMEDY}."
        )
    return os.path.abspath(path)  # noqa: PTH100  # Path.resolve would follow the link


def _asked(path: str) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if name not in OTHER_PYTHONS}
    try:
        done = subprocess.run(
            [path, "-P", "-c", _PROBE],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        version = answer["version"]
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OptionError(
            f"{_OPTION}: {path} can't be run ({error}). Name the interpreter of another environment; {_REMEDY}."
        ) from None
    except (ValueError, LookupError, TypeError):
        said = (done.stderr.strip() or done.stdout.strip() or "it says nothing").splitlines()[-1]
        raise OptionError(
            f"{_OPTION}: {path} doesn't answer like Python 3.11 or newer ({said}). Name the interpreter of "
            f"another environment; {_REMEDY}."
        ) from None
    return answer | {"version": version}
