"""`--diffbench-selftest`: processes are measured in place of the tests, with and without planted slowdowns."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from pytest_diffbench.items import case_id
from pytest_diffbench.session.mode import Conclusion, MeasuredTest, Mode
from pytest_diffbench.session.thresholds import limits_of
from pytest_diffbench.session.verdicts import incomplete
from pytest_diffbench.settings import options
from pytest_diffbench.workers import selftest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.records import Observation
    from pytest_diffbench.settings.options import Settings
    from pytest_diffbench.workers.budget import Budget
    from pytest_diffbench.workers.launch import Launcher

_REPORT = Path(".diffbench") / "selftest.json"
_DEFAULT = Path(__file__).parents[2] / "suite" / "test_lumina2.py"
_MOST_ROUNDS = 1000


class SelfTest(Mode):
    """Measures false alarms and detection on this machine.

    Args:
        config: pytest's. Where the command line names no tests, the first of the ready-made suite is taken.
        launcher: starts the processes.
        budget: their time.
    """

    def __init__(self, config: pytest.Config, launcher: Launcher, budget: Budget) -> None:
        self._tests: Sequence[tuple[pytest.Item, Settings]] = ()
        self._config = config
        self._launcher = launcher
        self._budget = budget
        self._reports: list[selftest.SelftestReport] = []
        self._problems: list[str] = []
        self._remarks: list[str] = []
        self._written = False
        self._default = config.args_source is not pytest.Config.ArgsSource.ARGS
        if self._default:
            config.args = [str(_DEFAULT)]

    def begin(self, tests: Sequence[tuple[pytest.Item, Settings]]) -> None:
        """Learn which tests there are to measure."""
        self._tests = tests

    def conclude(self, test: MeasuredTest) -> Conclusion:
        """Judge nothing: the tests themselves don't run in this mode."""
        return Conclusion([incomplete(case.observation, case.problem or "not judged") for case in test.cases])

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Take the place of the tests."""
        if self._config.getoption("collectonly") or session.testsfailed:
            return None
        tests = [test for test in self._tests if "diffbench_pipeline" in getattr(test[0], "fixturenames", ())]
        if not tests:
            raise pytest.UsageError(
                f"{options.flag('selftest')}: none of the tests uses diffbench_pipeline, whose denoiser it slows "
                "down. Name tests that do, or no test for one of the ready-made suite."
            )
        if self._default:
            del tests[1:]
        for number, (item, settings) in enumerate(tests):
            self._run(item, settings, number, len(tests))
        if self._problems:
            session.testsfailed += len(self._problems)
        return True

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Tell what was found."""
        terminalreporter.section("diffbench self-test")
        for report in self._reports:
            for line in selftest.lines(report):
                terminalreporter.write_line(line)
        for remark in self._remarks:
            terminalreporter.write_line(remark, yellow=True)
        for problem in self._problems:
            terminalreporter.write_line(problem, red=True)
        if self._written:
            terminalreporter.write_line(f"written to {self._config.rootpath / _REPORT}")

    def _run(self, item: pytest.Item, settings: Settings, number: int, tests: int) -> None:
        """Measure one test in its part of the time: what is left, by the tests that are left."""
        identity = case_id(item, None)
        share = self._budget.share(tests - number)
        shortest_s = 0.0

        def measure(plant: str | None) -> Observation | str | None:
            nonlocal shortest_s
            if share.too_little(shortest_s, processes=1) is not None:
                return None
            before_s = share.used_s
            timeout_s = share.timeout_s(shortest_s) if shortest_s else share.left_s
            try:
                with self._budget, share:
                    result = self._launcher.launch([item], timeout_s=timeout_s, plant=plant)
            except OSError as error:
                return f"no process could be started ({error})"
            if result.ended.status is None and share.left_s <= 0:
                return None  # the time is used up
            measured = next((result.case(candidate.observation.case.id) for candidate in result.measured), None)
            if measured is None:
                measured = result.case(identity)
            if isinstance(measured, str):
                return measured
            took_s = share.used_s - before_s
            shortest_s = min(took_s, shortest_s or took_s)
            return measured.observation

        trials = selftest.Selftest(measure, limits_of(settings), self._notify, pairs=settings.pairs)
        try:
            trials.run(_MOST_ROUNDS)
        finally:  # a night isn't lost to whoever interrupts it
            said = trials.report()
            needed_s = tests * selftest.processes_at_least(settings.pairs) * shortest_s
            short = _too_short(self._budget, share, needed_s) if trials.out_of_time else None
            self._keep(identity, said, trials, short)

    def _keep(
        self,
        identity: str,
        said: selftest.SelftestReport | str,
        trials: selftest.Selftest,
        short: str | None,
    ) -> None:
        """Write down what was found for a test, and what was in the way."""
        if isinstance(said, str):
            self._problems.append(f"{identity}: {said}. {short}" if short is not None else f"{identity}: {said}")
            return
        self._reports.append(said)
        if short is not None and not trials.rounds:
            self._remarks.append(f"{identity}: no complete trial of pairs of each size. {short}")
        if trials.gave_up is not None:
            self._problems.append(f"{identity}: stopped, since {trials.gave_up}")
        self._write()

    def _write(self) -> None:
        path = self._config.rootpath / _REPORT
        try:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(msgspec.json.format(msgspec.json.encode(self._reports), indent=2) + b"\n")
            self._written = True
        except OSError as error:
            problem = f"{path}: can't be written ({error.strerror})."
            self._problems += [problem] if problem not in self._problems else []

    def _notify(self, text: str) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None and self._config.get_verbosity() >= 0:
            reporter.write_line(f"diffbench: {text}")


def _too_short(budget: Budget, share: Budget, needed_s: float) -> str:
    """That a test had too little time, and how much would do, where that is known."""
    had = f"It had {share.seconds:.0f} of the {budget.seconds:g} s of --diffbench-max-time"
    if not needed_s:
        return f"{had}, and no process finished in that time. Give more."
    return f"{had}. Give at least --diffbench-max-time={60 * math.ceil(needed_s / 60)}."
