"""Who watches every call or line of this process: coverage, a debugger, a profiler. Times under it are its own."""

from __future__ import annotations

import sys
import tracemalloc
from typing import Any


def tracers() -> tuple[str, ...]:
    """Names of what traces this thread now, in alphabetical order: packages, or the names that they go by."""
    names = {_package(tracer) for tracer in (sys.gettrace(), sys.getprofile()) if tracer is not None}
    monitoring: Any = getattr(sys, "monitoring", None)  # from Python 3.12 on
    if monitoring is not None:
        # Tools have the numbers 0 to 5. What one of them watches may be single functions, which it needn't tell.
        names |= {str(name) for number in range(6) if (name := monitoring.get_tool(number)) is not None}
    if tracemalloc.is_tracing():
        names.add("tracemalloc")
    return tuple(sorted(names))


def _package(tracer: object) -> str:
    """The top-level package of a trace function, or of an object that is called as one."""
    module = getattr(tracer, "__module__", None) or type(tracer).__module__
    return str(module).partition(".")[0].lstrip("_")
