"""What traces a process is found out, whoever it is, and times under it are no evidence."""

from __future__ import annotations

import cProfile
import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from pytest_diffbench.measure.environment import environment_of
from pytest_diffbench.measure.tracing import tracers

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _untraced() -> Iterator[None]:
    """Whatever traces the project's own tests stands aside."""
    before = sys.gettrace(), sys.getprofile()
    sys.settrace(None)
    sys.setprofile(None)
    yield
    sys.settrace(before[0])
    sys.setprofile(before[1])


def ignore(*_: Any) -> None:
    """A trace function that wants no further events."""


class Debugger:
    """Traces by a method, as pdb does."""

    def dispatch(self, *_: Any) -> None:
        """Want no further events."""


def test_nothing_traces() -> None:
    assert tracers() == ()
    assert "traced_by" not in environment_of("cpu", len).state


def test_a_trace_function_is_named_by_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ignore, "__module__", "coverage.pytracer")
    sys.settrace(ignore)
    names = tracers()
    state = environment_of("cpu", len).state
    sys.settrace(None)
    assert names == ("coverage",)
    assert state["traced_by"] == "coverage"


def test_methods_and_profile_functions_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ignore, "__module__", "_pydevd_bundle.trace")
    sys.settrace(Debugger().dispatch)
    sys.setprofile(ignore)
    names = tracers()
    sys.settrace(None)
    sys.setprofile(None)
    assert names == ("pydevd_bundle", __name__)


def test_the_interpreters_own_profiler_is_named() -> None:
    with cProfile.Profile():
        names = tracers()
    assert names  # by another name in each version of Python


def test_traced_allocations_are_named() -> None:
    tracemalloc.start()
    try:
        assert tracers() == ("tracemalloc",)
    finally:
        tracemalloc.stop()


def test_tools_of_the_monitoring_interface_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Monitoring:
        """As `sys.monitoring`, which Python has from 3.12 on."""

        @staticmethod
        def get_tool(number: int) -> str | None:
            return {1: "coverage.py", 5: "other"}.get(number)

    monkeypatch.setattr(sys, "monitoring", Monitoring, raising=False)
    assert tracers() == ("coverage.py", "other")
