"""Baselines on disk: where they lie, how they are read, checked and written.

A module is imported when a name of it is asked for, since `history` needs none of the others.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_diffbench.store.arrays import damage
    from pytest_diffbench.store.checking import Checked, check
    from pytest_diffbench.store.names import case_folder
    from pytest_diffbench.store.pictures import (
        copy_kept,
        digests,
        keep,
        keep_sides,
        keep_trace,
        kept,
        kept_trace,
        sides_of,
    )
    from pytest_diffbench.store.store import MOST_PEERS, Store

_PLACES = {
    "MOST_PEERS": "store",
    "Checked": "checking",
    "Store": "store",
    "case_folder": "names",
    "check": "checking",
    "copy_kept": "pictures",
    "damage": "arrays",
    "digests": "pictures",
    "keep": "pictures",
    "keep_sides": "pictures",
    "keep_trace": "pictures",
    "kept": "pictures",
    "kept_trace": "pictures",
    "sides_of": "pictures",
}
"""Module of each name."""


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
