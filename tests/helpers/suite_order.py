"""In which order several workers run the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

DEAREST = (
    "tests/full/test_own_baselines.py::test_the_suite_still_computes_the_baselines",
    "tests/full/test_docs_examples.py",
    "tests/full/package/test_package_wheel.py",
    "tests/full/test_docs_readme.py",
    "tests/full/workers",
    "tests/test_docs_commands.py::test_a_long_running_printed_line",
    "tests/full/faults/test_faults_benign.py",
)
"""Beginnings of ids of the tests that take longest; most wait for processes. Workers begin with them, so that none is
left alone with one at the end."""


def dearest_first(items: Sequence[pytest.Item], workers: int) -> list[pytest.Item]:
    """Tests in an order whose equal parts, one for each worker, begin with some of the dearest."""
    groups = [[item for item in items if item.nodeid.startswith(start)] for start in DEAREST]
    chosen = {id(item) for group in groups for item in group}
    others = [item for item in items if id(item) not in chosen]
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        own_items = [item for group in groups[worker::workers] for item in group]  # whole: many share their fixtures
        count = (len(items) - len(ordered)) // (workers - worker) - len(own_items)  # as xdist deals them
        ordered += own_items + others[: max(0, count)]
        others = others[max(0, count) :]
    return ordered
