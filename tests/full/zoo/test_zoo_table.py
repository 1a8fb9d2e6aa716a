"""Every class of the zoo's table: measured, saved, the same again, and red by guidance where a scale is off."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
import torch
import zoo_check
import zoo_entry
import zoo_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.pipeline

LEAST_CLASSES = 110
LEAST_RED = 60


@pytest.fixture(scope="module", autouse=True)
def single_thread() -> Iterator[None]:
    """Use one thread: handing out work this small to several costs more than it takes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def frozen_heap() -> None:
    """Keep what exists out of collections: each measurement begins with one, over all that the session imported."""
    zoo_entry.build(zoo_table.ENTRIES["QwenImagePipeline"])  # libraries are imported as they are needed
    gc.collect()
    gc.freeze()


@pytest.mark.parametrize("name", zoo_table.ENTRIES)
def test_a_class_is_saved_and_a_scale_that_is_off_is_red(tmp_path: Path, name: str) -> None:
    entry = zoo_table.ENTRIES[name]
    examined = zoo_check.examine(name, tmp_path)
    assert zoo_check.kind_of(examined.observation) == entry.kind
    assert [(verdict.gate, verdict.decision) for verdict in examined.again] == [
        ("guidance", "incomparable" if entry.no_steps else "same"),
        ("output", "same"),
    ]
    for scale, verdict in examined.off.items():
        assert verdict.decision == "worse", f"{scale}: {verdict.message}"
        assert zoo_check.names_both_scales(verdict), verdict.message


def test_the_table_is_as_large_as_the_page_says() -> None:
    classes = {name.partition(" ")[0] for name in zoo_table.ENTRIES}
    assert len(classes) >= LEAST_CLASSES
    assert sum(bool(entry.scales) for entry in zoo_table.ENTRIES.values()) >= LEAST_RED
    assert all(bool(entry.scales) != bool(entry.no_guidance) for entry in zoo_table.ENTRIES.values())
