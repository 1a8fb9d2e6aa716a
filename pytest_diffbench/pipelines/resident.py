"""Keeps at most one pipeline in memory, and gives the memory of the one before back."""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING, Any

from pytest_diffbench.pipelines.devices import return_memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_diffbench.records import PipelineSpec


class Resident:
    """The one pipeline that is loaded.

    Two full-size models seldom fit side by side, so the old one goes before the new one is built. Tests that ask for
    equal specs share one pipeline; a caller that keeps a reference of its own keeps the memory too.
    """

    def __init__(self) -> None:
        self._spec: PipelineSpec | None = None
        self._pipeline: Any = None

    def get(self, spec: PipelineSpec, build: Callable[[], Any]) -> Any:
        """Return the pipeline for a spec, built only if it isn't the one that is loaded.

        Args:
            spec: what is asked for.
            build: makes the pipeline. If it raises, nothing is loaded.
        """
        if self._pipeline is None or self._spec != spec:
            self.release()
            self._pipeline = build()
            self._spec = spec
        return self._pipeline

    def release(self) -> None:
        """Drop the pipeline, if there is one, and return its memory to the device and the system."""
        if self._pipeline is None:
            return
        # accelerate's hooks point from one component to the next, and hold offloaded weights
        remove_hooks = getattr(self._pipeline, "remove_all_hooks", None)
        try:
            if remove_hooks is not None:
                remove_hooks()
        finally:
            self._pipeline = self._spec = remove_hooks = None
            _return_memory()


def _return_memory() -> None:
    _forget_last_error()
    return_memory()
    if sys.platform == "linux":
        # glibc keeps freed blocks for itself; other C libraries have no such function
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _forget_last_error() -> None:
    """Let go of the last error, whose traceback holds the frames of a test that failed, and so its pipeline.

    pytest sets these for debuggers and takes them back itself, but only when the next test is called: after its
    fixtures have loaded another pipeline beside this one.
    """
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):
        if hasattr(sys, name):
            delattr(sys, name)
