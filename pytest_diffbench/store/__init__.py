"""Baselines on disk: where they lie, how they are read, checked and written."""

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
