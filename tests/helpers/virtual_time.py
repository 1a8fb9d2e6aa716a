"""A clock that only moves when a component is told to take time: slow code without a slow test, on any machine."""

from __future__ import annotations

import contextlib
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest


class VirtualClock:
    """Stands in for `pytest_diffbench.measure.clock.now_ns`. Looking at it takes a microsecond."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        self.now_ns += 1000
        return self.now_ns

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ns += round(seconds * 1e9)


CLOCK = VirtualClock()


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything be timed by it. No thread ever waits for a processor by this clock."""
    from pytest_diffbench.measure import clock, telemetry

    monkeypatch.setattr(clock, "now_ns", CLOCK)
    monkeypatch.setattr(telemetry, "Waiting", lambda: types.SimpleNamespace(read=lambda: None))


@contextlib.contextmanager
def taking(module: Any, method: str, seconds: float) -> Iterator[None]:
    """Let each call of a module's method take some virtual time; what it computes stays as it is."""
    original = getattr(module, method)

    def slow(*args: Any, **kwargs: Any) -> Any:
        CLOCK.advance(seconds)
        return original(*args, **kwargs)

    setattr(module, method, slow)
    try:
        yield
    finally:
        delattr(module, method)
