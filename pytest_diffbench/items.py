"""Tests of a session: which of them are benchmarks, and ids of cases that are stable over checkouts and machines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

FIXTURES = ("diffbench", "diffbench_pipeline")


def is_benchmark(item: pytest.Item) -> bool:
    """Whether a test carries the marker or asks for one of the fixtures."""
    if item.get_closest_marker("diffbench") is not None:
        return True
    names = getattr(item, "fixturenames", ())
    return any(name in names for name in FIXTURES)


def case_id(item: pytest.Item, label: str | None) -> str:
    """Id of a case: the test's node id, and the call's label behind a `#`.

    A test inside the root folder keeps pytest's node id. One that was installed (`--pyargs`) is named from its
    top-level package on, so that the place of the environment doesn't matter. Repeats of a test by pytest-repeat are
    one case.
    """
    path, name = item.path, _unrepeated(item, item.nodeid.partition("::")[2])
    root = item.config.rootpath
    if "site-packages" not in path.parts and path.is_relative_to(root):
        where = path.relative_to(root).as_posix()
    else:
        where = path.relative_to(package_parent(path)).as_posix()
    whole = f"{where}::{name}" if name else where
    return f"{whole}#{label}" if label else whole


def _unrepeated(item: pytest.Item, name: str) -> str:
    """A test's name without the number that pytest-repeat puts behind all its other parameters: `[2-10]`."""
    step = getattr(getattr(item, "callspec", None), "params", {}).get("__pytest_repeat_step_number")
    if not isinstance(step, int):
        return name
    return re.sub(rf"(\[|-){step + 1}-\d+\]$", lambda found: "]" if found[1] == "-" else "", name)


def package_parent(path: Path) -> Path:
    folder = path.parent
    while (folder / "__init__.py").exists() and folder.parent != folder:
        folder = folder.parent
    return folder
