"""What a test asks for, settled and checked while tests are collected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_diffbench.errors import MissingPipelineError, OptionError
from pytest_diffbench.session import loading
from pytest_diffbench.session.extra_metrics import metrics_of
from pytest_diffbench.settings import options

if TYPE_CHECKING:
    from pytest_diffbench.settings.options import Settings

SETTINGS = pytest.StashKey["Settings"]()
MISSING = pytest.StashKey[bool]()
"""Set where a test is skipped for want of its pipeline."""


def settle(config: pytest.Config, item: pytest.Item) -> bool:
    """Settle a test's settings and check them; False where it is skipped for want of a folder's pipeline.

    Raises:
        OptionError: a setting that can't be used.
        PipelineError: a pipeline that can't be used.
    """
    marker: dict[str, Any] = {}
    for mark in reversed(list(item.iter_markers("diffbench"))):
        if mark.args:
            raise OptionError(
                f"{item.nodeid}: the diffbench marker takes keyword arguments only, not {mark.args!r}. "
                f"Write @pytest.mark.diffbench(model={mark.args[0]!r})."
            )
        marker |= mark.kwargs
    settings: Settings = options.resolve(config, marker, item.nodeid)
    item.stash[SETTINGS] = settings
    if config.pluginmanager.hasplugin("run-parallel"):  # which runs a test in several threads at once
        item.add_marker(pytest.mark.thread_unsafe(reason="benchmarks are measured one at a time"))
    if settings.metrics:
        metrics_of(settings, item.nodeid)
    try:
        loading.check(settings, item.nodeid)
    except MissingPipelineError as error:
        item.stash[MISSING] = True
        item.add_marker(pytest.mark.skip(reason=str(error).removeprefix(f"{item.nodeid}: ")))
        return False
    return True
