"""Baselines on disk: where they lie, how they are read, checked and written."""

from pytest_diffbench.store.names import case_folder
from pytest_diffbench.store.store import Store

__all__ = ["Store", "case_folder"]
