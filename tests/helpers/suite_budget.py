"""What tests cost in processor time: the dearest are named, and one of the quick tier that costs too much fails.

Processor time, its processes' included, since what else runs on the machine doesn't change it. A slower machine does:
the limit is stretched by what a fixed piece of work takes beside the test. Fixtures of a wider scope than a test, and
what runs within `shared()`, are counted apart, so that no test pays for having been the first.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import warm_python

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

LIMIT_S = float(os.environ.get("DIFFBENCH_TEST_LIMIT_S", "4"))
"""Of a test of the quick tier, on a machine that does the reference work in `REFERENCE_S`."""

REFERENCE_S = 0.081
"""Processor time of `reference_work` on the machine of docs/tests.md, idle, which the limit was set on."""

TESTS = Path(__file__).parents[1]
SLOWEST = 10
FULL = "full"
"""The marker of tests outside the quick tier."""

GPU = "gpu"
"""The marker of tests that no push runs either: a process that waits for a device spends processor time on it."""


def spent_s() -> float:
    """Processor time of this process, of its processes that ended, and of those that a warm Python was asked for."""
    of = os.times()
    return of.user + of.system + of.children_user + of.children_system + warm_python.spent_s()


def reference_work() -> None:
    """Work of an interpreter, which is what most of a test's time goes to."""
    total = 0
    for i in range(1_000_000):
        total += i % 7


def slowness() -> float:
    """How much longer than on the reference machine work takes here and now; at least 1.

    By the slowest of five: a neighbour on the same core, who comes and goes, stretches processor time too.
    """
    slowest_s = 0.0
    for _ in range(5):
        begin_s = time.process_time()
        reference_work()
        slowest_s = max(slowest_s, time.process_time() - begin_s)
    return max(1.0, slowest_s / REFERENCE_S)


def reason_to_fail(cost_s: float, slow: float) -> str | None:
    """What is said of a test that costs too much; None where it doesn't."""
    limit_s = LIMIT_S * slow
    if cost_s <= limit_s:
        return None
    return (
        f"this test costs {cost_s:.1f} s of processor time, and the quick tier allows {limit_s:.1f} s "
        f"({LIMIT_S:g} s on the reference machine). Make it cheaper, or move it to tests/full; see CONTRIBUTING.md."
    )


class Meter:
    """Counts what one test costs while it runs in this process."""

    def __init__(self) -> None:
        self._apart_s = 0.0
        self._depth = 0
        self._begin_s = 0.0
        self.shared_s = 0.0

    def begin(self) -> None:
        """Start with a phase of a test."""
        self._apart_s, self._begin_s = 0.0, spent_s()

    def cost_s(self) -> float:
        """Processor time since `begin`, without what is counted apart."""
        return max(0.0, spent_s() - self._begin_s - self._apart_s)

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """Count what runs inside as shared."""
        begin_s, self._depth = spent_s(), self._depth + 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                cost_s = spent_s() - begin_s
                self._apart_s += cost_s
                self.shared_s += cost_s


METER = Meter()
"""Of this process."""


def shared() -> contextlib.AbstractContextManager[None]:
    """Count as shared what runs inside: what the first of several tests makes for all of them."""
    return METER.apart()


class Budget:
    """Measures each test, and tells at the end. Under xdist, workers measure and the controller tells."""

    def __init__(self, *, limited: bool) -> None:
        self._limited = limited
        self._meter = METER
        self._costs_s: dict[str, float] = {}
        self._full: set[str] = set()
        self._shared_s = 0.0

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        """Count what several tests share apart."""
        with contextlib.nullcontext() if fixturedef.scope == "function" else self._meter.apart():
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, Any, Any]:
        """Begin with a test."""
        self._meter.begin()
        self._meter.shared_s = 0.0
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Fail a test that passed and costs too much; send its cost to whoever tells of it."""
        report: Any = yield
        if TESTS not in item.path.parents:
            return report  # a benchmark, which takes what it takes
        if report.when == "call":
            cost_s = self._meter.cost_s()
            full = item.get_closest_marker(FULL) is not None
            if (
                self._limited
                and report.passed
                and not full
                and item.get_closest_marker(GPU) is None
                and cost_s > LIMIT_S
                and (why := reason_to_fail(cost_s, slowness()))
            ):
                report.outcome, report.longrepr = "failed", why
            report.processor_s, report.full = cost_s, full
        if report.when == "teardown":
            report.shared_s = self._meter.shared_s
        return report

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Collect costs, from this process or from workers."""
        if hasattr(report, "processor_s"):
            self._costs_s[report.nodeid] = report.processor_s
            if report.full:
                self._full.add(report.nodeid)
        self._shared_s += getattr(report, "shared_s", 0.0)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Name the dearest tests, and each tier's sum."""
        if len(self._costs_s) < SLOWEST:
            return
        terminalreporter.section("processor time")
        for nodeid, cost_s in sorted(self._costs_s.items(), key=lambda pair: -pair[1])[:SLOWEST]:
            terminalreporter.write_line(f"{cost_s:8.2f} s  {nodeid}")
        for tier, chosen in (("quick", self._costs_s.keys() - self._full), ("full", self._full)):
            if chosen:
                total_s = sum(self._costs_s[nodeid] for nodeid in chosen)
                terminalreporter.write_line(f"{total_s:8.0f} s  {tier} tier, {len(chosen)} tests")
        terminalreporter.write_line(f"{self._shared_s:8.0f} s  what tests share: fixtures, imports")


def pytest_configure(config: pytest.Config) -> None:
    """Begin to measure, in the project's own sessions alone. With many examples a property has no limit."""
    if config.rootpath == Path(__file__).parents[2]:
        limited = config.getoption("--hypothesis-profile", default=None) != FULL
        config.pluginmanager.register(Budget(limited=limited), "suite-budget")
