"""Lends the device's memory to another process, for as long as a test that is over is being judged."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from pytest_diffbench.settings.pytest_private import fixture_definitions

if TYPE_CHECKING:
    import contextlib

    import pytest

    from pytest_diffbench.session.loading import Pipelines


_WORKSPACES_BYTES = 64 << 20
"""What libraries keep for themselves on a device, which is in nobody's way."""


def free_device_memory(
    pipelines: Pipelines, item: pytest.Item, targets: list[Any], room: contextlib.ExitStack
) -> list[str]:
    """Empty the device.

    Args:
        pipelines: the resident one is let go of.
        item: the test that is over; it lets go of its fixture.
        targets: what was measured, emptied here. A pipeline of the test's own is moved to the host.
        room: brings the test's own pipelines back when it is left.

    Returns:
        What had to stay on the device, and why, in words.
    """
    from pytest_diffbench.pipelines.aside import moved_to_cpu, sent_to_cpu
    from pytest_diffbench.pipelines.devices import allocated_bytes, return_memory

    stayed: list[str] = []
    opaque: list[str] = []
    while targets:
        name = type(targets[-1]).__name__
        if pipelines.about(targets[-1]) is None:
            if not hasattr(targets[-1], "to"):
                opaque.append(getattr(targets[-1], "__name__", name))
            problem = room.enter_context(moved_to_cpu(targets[-1]))
            if problem is not None:
                stayed.append(f"{name} stayed on its device beside the fresh process: {problem}")
        else:
            sent_to_cpu(targets[-1])  # a fixture of the test's own may hold it, suspended until its teardown
        targets.pop()
    _drop_fixture(item, "diffbench_pipeline")
    pipelines.release()
    return_memory()
    taken_bytes = allocated_bytes()
    if taken_bytes > _WORKSPACES_BYTES and (opaque or not stayed):
        names = " or ".join(dict.fromkeys(opaque))
        remedy = f". Measure the pipeline itself, not {names}, to have it moved" if names else ""
        stayed.append(
            f"{taken_bytes / 2**30:.1f} GiB stayed on the device beside the fresh process: the measured objects "
            f"can't be moved{remedy}"
        )
    return stayed


def _drop_fixture(item: pytest.Item, name: str) -> None:
    """Let a test that is over go of a fixture's value, also under other names, long before it is torn down."""
    values = getattr(item, "funcargs", {})
    value = values.get(name)
    if value is None:
        return
    for other in [key for key, held in values.items() if held is value]:
        del values[other]
    for definition in itertools.chain.from_iterable(fixture_definitions(item).values()):
        # Of wider scopes the next test is to find it still.
        if definition.scope == "function" and definition.cached_result and definition.cached_result[0] is value:
            # Emptied, not taken away: without a result pytest wouldn't tear the fixture down.
            definition.cached_result = (None, *definition.cached_result[1:])
