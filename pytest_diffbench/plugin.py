"""pytest's door: options, hooks and fixtures. An idle session imports nothing heavy and registers nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_diffbench.items import is_benchmark
from pytest_diffbench.settings import options

if TYPE_CHECKING:
    from pytest_diffbench.session.bench import Bench
    from pytest_diffbench.session.session import DiffbenchSession

_IDLE = "a diffbench benchmark; run it with --diffbench"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    options.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the extension points, and keep out the same plugin under its other name."""
    from pytest_diffbench import hookspecs

    own = pluginmanager.get_name(sys.modules[__name__])
    for name in {"diffbench", __name__} - {own}:
        pluginmanager.set_blocked(name)
    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker; begin a measuring session where one was asked for."""
    config.addinivalue_line(
        "markers",
        f"diffbench({', '.join(f'{name}=...' for name in options.names('m'))}): "
        "benchmark of a diffusion pipeline, run with --diffbench and compared with its baseline.",
    )
    if not config.pluginmanager.hasplugin("benchmark"):
        config.pluginmanager.register(NoBenchmark(), "diffbench-no-benchmark")
    if options.is_active(config):
        from pytest_diffbench.session.session import begin

        begin(config)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip benchmarks in an idle session, before any of their fixtures runs."""
    if options.is_active(config):
        return
    idle = pytest.mark.skip(reason=_IDLE)
    for item in items:
        if is_benchmark(item):
            item.add_marker(idle)


class NoBenchmark:
    """Stands in for pytest-benchmark where it was switched off with `-p no:benchmark`."""

    @pytest.fixture
    def benchmark(self) -> None:
        """No pytest-benchmark: the rounds are driven without it."""


def _session_for(request: pytest.FixtureRequest) -> DiffbenchSession:
    """The running session; skips a test that asks for a fixture only while it runs where there is none."""
    if not options.is_active(request.config):
        pytest.skip(_IDLE)
    from pytest_diffbench.session.session import session_of

    return session_of(request.config)


@pytest.fixture
def diffbench(request: pytest.FixtureRequest, benchmark: Any) -> Bench:
    """Measure a call of a pipeline: `result = diffbench(pipeline, prompt, ...)`. See `bench.Bench`."""
    return _session_for(request).bench_for(request.node, benchmark)


@pytest.fixture
def diffbench_pipeline(request: pytest.FixtureRequest) -> Any:
    """The pipeline that the test's marker names, loaded and on its device. One is resident at a time."""
    return _session_for(request).pipeline_for(request.node)
