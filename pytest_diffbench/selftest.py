"""The session's side of `--diffbench-selftest`: measures in place of running the tests, and writes what it found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from pytest_diffbench import options
from pytest_diffbench.naming import case_id
from pytest_diffbench.processes import selftest
from pytest_diffbench.verdicts import limits_of

if TYPE_CHECKING:
    from pytest_diffbench.options import Settings
    from pytest_diffbench.processes.budget import Budget
    from pytest_diffbench.processes.launch import Launcher
    from pytest_diffbench.records import Observation

_REPORT = Path(".diffbench") / "selftest.json"
_DEFAULT = Path(__file__).parent / "suite" / "test_lumina2.py"
_MOST_ROUNDS = 1000


class SelftestSession:
    """Registered as a plugin while the self-test runs.

    Args:
        config: pytest's. Where the command line names no tests, the first of the ready-made suite is taken.
        launcher: starts the processes.
        budget: their time.
    """

    def __init__(self, config: pytest.Config, launcher: Launcher, budget: Budget) -> None:
        self.tests: list[tuple[pytest.Item, Settings]] = []
        self._config = config
        self._launcher = launcher
        self._budget = budget
        self._reports: list[selftest.SelftestReport] = []
        self._problems: list[str] = []
        self._default = config.args_source is not pytest.Config.ArgsSource.ARGS
        if self._default:
            config.args = [str(_DEFAULT)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Take the place of the tests."""
        if self._config.getoption("collectonly") or session.testsfailed:
            return None
        tests = [one for one in self.tests if "diffbench_pipeline" in getattr(one[0], "fixturenames", ())]
        if not tests:
            raise pytest.UsageError(
                f"{options.flag('selftest')}: none of the tests asks for diffbench_pipeline, whose denoiser it slows "
                "down. Name some that do, or none for one of the ready-made suite."
            )
        for item, settings in tests[:1] if self._default else tests:
            self._run(item, settings)
        if self._reports:
            self._write()
        if self._problems:
            session.testsfailed += len(self._problems)
        return True

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Tell what was found."""
        terminalreporter.section("diffbench self-test")
        for report in self._reports:
            for line in selftest.lines(report):
                terminalreporter.write_line(line)
        for problem in self._problems:
            terminalreporter.write_line(problem, red=True)
        if self._reports:
            terminalreporter.write_line(f"written to {self._config.rootpath / _REPORT}")

    def _run(self, item: pytest.Item, settings: Settings) -> None:
        identity = case_id(item, None)

        def measure(plant: str | None) -> Observation | str | None:
            if self._budget.left_s <= 0:
                return None
            with self._budget:
                told = self._launcher.launch([item], timeout_s=self._budget.left_s, plant=plant)
            if told.ended.status is None:
                return None  # the time is used up
            found = next((told.case(one.observation.case.id) for one in told.measured), None)
            if found is None:
                found = told.case(identity)
            return found if isinstance(found, str) else found.observation

        trials = selftest.Selftest(measure, limits_of(settings), self._tell, pairs=settings.pairs)
        said = trials.run(_MOST_ROUNDS)
        if isinstance(said, str):
            self._problems.append(f"{identity}: {said}")
        else:
            self._reports.append(said)

    def _write(self) -> None:
        path = self._config.rootpath / _REPORT
        try:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(msgspec.json.format(msgspec.json.encode(self._reports), indent=2) + b"\n")
        except OSError as error:
            self._problems.append(f"{path}: can't be written ({error.strerror}).")

    def _tell(self, text: str) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None and self._config.get_verbosity() >= 0:
            reporter.write_line(f"diffbench: {text}")
