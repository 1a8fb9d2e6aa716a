"""What tests cost in processor time: the dearest are named, and one of the quick tier that costs too much fails.

Processor time, its processes' included, since what else runs on the machine doesn't change it. A slower machine does:
the limit is stretched by what a fixed piece of work takes beside the test. Fixtures of a wider scope than a test, and
what runs within `shared()`, are counted apart, so that no test pays for having been the first.
"""

from __future__ import annotations

import contextlib
import gc
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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


class Spent(NamedTuple):
    """Processor time, and how often all garbage was collected: what tells why a test was dear this time.

    Attributes:
        user_s: of this process, computing.
        system_s: of this process, in the kernel.
        ended_s: of its processes that ended.
        forked_s: of those that a warm Python was asked for.
        collections: of the oldest generation, which walk through all that isn't frozen.
    """

    user_s: float = 0.0
    system_s: float = 0.0
    ended_s: float = 0.0
    forked_s: float = 0.0
    collections: float = 0

    @property
    def total_s(self) -> float:
        """All of it; a test of none may come out as a little less than 0."""
        return max(0.0, self.user_s + self.system_s + self.ended_s + self.forked_s)

    def plus(self, other: Spent, sign: int = 1) -> Spent:
        """Both together, or what is left of one without the other."""
        return Spent(*(left + sign * right for left, right in zip(self, other, strict=True)))


def spent() -> Spent:
    """Since this process began."""
    of = os.times()
    ended_s = of.children_user + of.children_system
    return Spent(of.user, of.system, ended_s, warm_python.spent_s(), gc.get_stats()[2]["collections"])


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


def reason_to_fail(cost: Spent, slow: float) -> str | None:
    """What is said of a test that costs too much; None where it doesn't."""
    limit_s = LIMIT_S * slow
    if cost.total_s <= limit_s:
        return None
    return (
        f"this test costs {cost.total_s:.1f} s of processor time, and the quick tier allows {limit_s:.1f} s "
        f"({LIMIT_S:g} s on the reference machine). Of it {cost.user_s:.1f} s are this process's, "
        f"{cost.system_s:.1f} s the kernel's for it, {cost.ended_s:.1f} s its processes', "
        f"{cost.forked_s:.1f} s forked ones'; all garbage was collected {cost.collections:.0f} times. "
        "Make it cheaper, or move it to tests/full; see CONTRIBUTING.md."
    )


class Meter:
    """Counts what one test costs while it runs in this process."""

    def __init__(self) -> None:
        self._apart = Spent()
        self._depth = 0
        self._begin = Spent()
        self.shared_s = 0.0

    def begin(self) -> None:
        """Start with a phase of a test."""
        self._apart, self._begin = Spent(), spent()

    def cost(self) -> Spent:
        """What was spent since `begin`, without what is counted apart."""
        return spent().plus(self._begin, -1).plus(self._apart, -1)

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """Count what runs inside as shared."""
        begin, self._depth = spent(), self._depth + 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                cost = spent().plus(begin, -1)
                self._apart = self._apart.plus(cost)
                self.shared_s += cost.total_s


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
            cost = self._meter.cost()
            full = item.get_closest_marker(FULL) is not None
            if (
                self._limited
                and report.passed
                and not full
                and item.get_closest_marker(GPU) is None
                and cost.total_s > LIMIT_S
                and (why := reason_to_fail(cost, slowness()))
            ):
                report.outcome, report.longrepr = "failed", why
            report.processor_s, report.full = cost.total_s, full
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
