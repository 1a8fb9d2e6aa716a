"""The mode of a measuring process: measures the tests it was named, and writes what was observed for its session."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_diffbench.items import case_id
from pytest_diffbench.session.mode import Conclusion, MeasuredTest, Mode
from pytest_diffbench.session.verdicts import incomplete
from pytest_diffbench.stats.enough_rounds import AUTO, USUAL_ROUNDS
from pytest_diffbench.workers import exchange
from pytest_diffbench.workers.turns import TurnClient

if TYPE_CHECKING:
    from pytest_diffbench.settings.options import Settings


class Worker(Mode):
    """Judges nothing, saves nothing, reports nothing.

    Args:
        folder: this process's own, where its task lies and its results go.

    Raises:
        MeasureError: the folder has no task, or one of another version.
    """

    reports = False

    def __init__(self, folder: Path) -> None:
        self._task = exchange.take(folder)
        self._writer = exchange.ResultWriter(folder)
        self._test_files: set[str] = set()
        self._ids: dict[str, str] = {}
        self._planted: Any = None
        self.output_only = self._task.brief
        self.probes = self._task.artifacts and not self._task.brief
        self.relatives = int(self._task.session_on_device)
        self.turns = TurnClient(self._task.turns) if self._task.turns is not None else None

    @classmethod
    def from_environment(cls) -> Worker:
        """The mode of this process, whose folder a variable of the environment names."""
        # Taken out of the environment, so that tests which run pytest themselves don't start another of these.
        return cls(Path(os.environ.pop(exchange.VARIABLE)))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out all tests but those that were named."""
        wanted = set(self._task.tests)
        # of repeats of a test the first: a process is one run
        chosen = list({case: item for item in reversed(items) if (case := case_id(item, None)) in wanted}.values())
        # In the session's own order, whatever shuffles tests: the other side comes to them in the same.
        place = {test: number for number, test in enumerate(self._task.tests)}
        chosen.sort(key=lambda item: place[case_id(item, None)])
        kept = set(chosen)
        left_out = [item for item in items if item not in kept]
        self._ids = {item.nodeid: case_id(item, None) for item in chosen}
        self._test_files = {str(item.path) for item in items}
        items[:] = chosen
        if left_out:
            config.hook.pytest_deselected(items=left_out)

    def prepare(self, pipeline: Any) -> None:
        """Slow a pipeline down where the self-test wants it."""
        if self._task.plant is not None and self._planted is not pipeline:
            from pytest_diffbench.measure.planting import plant

            plant(pipeline, self._task.plant)
            self._planted = pipeline

    def settings_of(self, settings: Settings) -> Settings:
        """A test's settings, with as many rounds in each process."""
        if self._task.brief:
            return dataclasses.replace(settings, rounds=1, warmup_rounds=0)
        # Rounds may be held against those of another process, one by one.
        return dataclasses.replace(settings, rounds=USUAL_ROUNDS) if settings.rounds == AUTO else settings

    def conclude(self, test: MeasuredTest) -> Conclusion:
        """Write each case; it is judged in the session that asked for it."""
        for case in test.cases:
            artifacts = case.artifacts if self._task.artifacts and case.problem is None else None
            self._writer.measured(case_id(test.item, None), case.observation, case.problem, artifacts)
        return Conclusion([incomplete(case.observation, case.problem or "judged elsewhere") for case in test.cases])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell of each phase that didn't pass."""
        if report.outcome == "passed" or hasattr(report, "wasxfail"):
            return
        self._writer.write(
            exchange.Outcome(
                test=self._ids[report.nodeid], when=report.when, outcome=report.outcome, text=_words(report)
            )
        )

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Tell of a file that can't be collected: its tests are missing."""
        if report.failed:
            self._writer.write(
                exchange.Outcome(test=report.nodeid, when="collect", outcome="failed", text=_words(report))
            )

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the last line."""
        self._writer.write(exchange.Done(tests=tuple(self._ids.values()), modules=self._modules(session)))

    def _modules(self, session: pytest.Session) -> dict[str, str]:
        """Modules from inside the root folder, tests, conftest files and installed packages apart."""
        root = session.config.rootpath
        modules: dict[str, str] = {}
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if not isinstance(file, str) or file in self._test_files:
                continue
            path = Path(file)
            if path.is_relative_to(root) and "site-packages" not in path.parts and path.name != "conftest.py":
                modules[name] = file
        return modules


def _words(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why a phase didn't pass, in a line."""
    if isinstance(report.longrepr, tuple):  # path, line and reason of a skip
        return report.longrepr[2]
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else report.longreprtext
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    errors = [line[1:].strip() for line in lines if line.startswith("E  ")]  # pytest's mark for them
    return (errors or lines or ["no reason was given"])[0]
