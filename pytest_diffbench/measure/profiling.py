"""Calls under torch's profiler: a table of its operators, and a trace to look at."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import gzip
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_diffbench.measure import clock as host
from pytest_diffbench.measure.boundaries import observed
from pytest_diffbench.measure.profile_table import (
    SITE_PREFIX,
    Timeline,
    quieter,
    roles_by_name,
    table,
    with_spans,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_diffbench.measure.components import Site
    from pytest_diffbench.measure.rounds import Caller
    from pytest_diffbench.records import Profile

_ERROR_LETTERS = 200

_LONG_S = 1.0
"""A call under the profiler of that many seconds runs each operator so often that the hundredths of a second matter
little for which some wait for a processor. A shorter one is made twice where a slowdown is to be explained; a
baseline's is of one call, as a save makes one for every case."""


class SiteSpans:
    """The observer of a profiled call: a span for each passage through a component."""

    def __init__(self) -> None:
        self._open: list[Any] = []

    def enter(self, site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:  # noqa: ARG002 - Observer
        """Begin a span."""
        from torch.profiler import record_function

        span = record_function(SITE_PREFIX + site.name)
        span.__enter__()
        self._open.append(span)

    def leave(self, site: Site, output: Any) -> None:  # noqa: ARG002 - Observer
        """End it."""
        self._open.pop().__exit__(None, None, None)

    def close(self) -> None:
        """End what was left open by an error."""
        while self._open:
            self._open.pop().__exit__(None, None, None)


def profile_call(
    caller: Caller, sites: Sequence[Site], device: str, trace_file: Path | None = None, *, again: bool = True
) -> tuple[Profile | None, str | None]:
    """Call the target under the profiler: once, and where that is wanted a short call on the processor once more.

    Args:
        caller: calls it.
        sites: places to tell the stages by.
        device: torch device; its kernels are seen where torch's profiler can see them.
        trace_file: where to write a Chrome trace to, gzipped; None for nowhere.
        again: a call of under `_LONG_S` seconds may be made twice.

    Returns:
        The table, None where there is none, and a note: what is missing and why, or None. Never raises but for an
        interruption: a profile explains a measurement, and is no reason to lose one.
    """
    import torch

    if torch.autograd._profiler_enabled():  # type: ignore[attr-defined]  # all that tells
        # torch has one profiler a process; a second one would silently end the first.
        return None, "not profiled: another profiler was active. Run without it to see where time goes."
    try:
        trace, took_s = _traced_call(caller, sites, device)
        timeline = Timeline(trace, roles_by_name(sites))
        profile = table("device", timeline.kernels())
        if profile is None:
            operators = timeline.operators()
            if again and took_s < _LONG_S:
                second, _ = _traced_call(caller, sites, device)
                operators = quieter(operators, Timeline(second, roles_by_name(sites)).operators())
            profile = table("cpu", operators)
    except Exception as error:
        what = f"{type(error).__name__}: {error}".partition("\n")[0][:_ERROR_LETTERS]
        return None, f"not profiled: the call under torch's profiler failed ({what})."
    note = None
    if profile is None:
        note = "the profiler saw no operators"
    elif profile.kind == "cpu" and device.partition(":")[0] in ("cuda", "xpu"):
        note = "the profiler saw no kernels of the device, only operators on the processor"
    if trace_file is not None:
        try:
            trace_file.write_bytes(gzip.compress(with_spans(trace, timeline.spans()), compresslevel=6, mtime=0))
        except (OSError, ValueError) as error:
            note = f"{trace_file}: the trace can't be written ({error})"
    return profile, note


def release_host_memory() -> None:
    """Hand what a profile took back to the system: the resident set of the cases to come is measured.

    The events of one call take 300 MiB, which the C library keeps for itself once they are freed.
    """
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library than GNU's
            ctypes.CDLL(None).malloc_trim(0)


def _traced_call(caller: Caller, sites: Sequence[Site], device: str) -> tuple[bytes, float]:
    """A call's Chrome trace, and how many seconds it took with all that the profiler did meanwhile."""
    from torch.profiler import ProfilerActivity, profile

    kind = device.partition(":")[0]
    activities = [ProfilerActivity.CPU]
    if kind in ("cuda", "xpu"):
        activities.append(getattr(ProfilerActivity, kind.upper()))
    spans = SiteSpans()
    profiler = profile(activities=activities)
    caller.prepare()
    collecting = gc.isenabled()
    gc.disable()
    try:
        with contextlib.ExitStack() as undo:
            try:
                with _hushed():
                    profiler.start()
            except BaseException:
                with contextlib.suppress(Exception):  # it may have got half way
                    _stop(profiler)
                raise
            undo.callback(_stop, profiler)
            with observed(sites, spans):
                undo.callback(spans.close)
                begin_ns = host.now_ns()
                caller.call()
                took_s = (host.now_ns() - begin_ns) / 1e9
    finally:
        if collecting:
            gc.enable()
    with tempfile.TemporaryDirectory(prefix="diffbench-") as folder:
        file = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(file))
        return file.read_bytes(), took_s


def _stop(profiler: Any) -> None:
    with _hushed():
        profiler.stop()


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep the profiler's library from writing to standard error that it starts and stops: no setting does."""
    try:
        kept = os.dup(2)
    except OSError:  # closed
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        with warnings.catch_warnings():
            # Some releases of torch warn of cycles, of which there is one.
            # To accumulate events takes 14 s for 237,000.
            warnings.filterwarnings("ignore", message=".*Profiler clears events")
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
