"""A plugin that lets a whole session of pytest find a simulated CUDA device: `PYTEST_PLUGINS=simulated_cuda`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from fake_cuda import FakeCuda

if TYPE_CHECKING:
    import pytest

_UNDO = contextlib.ExitStack()


def install() -> None:
    """Put it in place of `torch.cuda`.

    Kernels beside the rounds would be computed for real, and are left out. torch's profiler knows no such device, so
    a profile is one of the processor.
    """
    from pytest_diffbench.measure import pace, profiling

    traced_call = profiling._traced_call
    pace._prepared = lambda *_: lambda: {"products": 0.01}
    profiling._traced_call = lambda caller, sites, device: traced_call(caller, sites, "cpu")
    _UNDO.enter_context(FakeCuda().installed())


def pytest_configure(config: pytest.Config) -> None:
    """Install it for the whole session."""
    install()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take it out again."""
    _UNDO.close()
