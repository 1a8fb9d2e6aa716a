"""The session within a measuring process: measures the tests it was named, and tells what it saw."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_diffbench.items import case_id
from pytest_diffbench.session.progress_line import ProgressLine
from pytest_diffbench.session.session import BENCH, DiffbenchSession
from pytest_diffbench.stats.enough_rounds import AUTO, USUAL_ROUNDS
from pytest_diffbench.workers import exchange
from pytest_diffbench.workers.turns import TurnClient

if TYPE_CHECKING:
    from pytest_diffbench.session.verdicts import Concluded
    from pytest_diffbench.settings.options import Settings


class ChildSession(DiffbenchSession):
    """Judges nothing, saves nothing, reports nothing."""

    def __init__(self, config: pytest.Config) -> None:
        # Taken out of the environment, so that tests which run pytest themselves don't start another of these.
        self._folder = Path(os.environ.pop(exchange.VARIABLE))
        self._task = exchange.take(self._folder)
        self._writer = exchange.ResultWriter(self._folder)
        self._test_files: set[str] = set()
        self._ids: dict[str, str] = {}
        self._planted: Any = None
        super().__init__(config)
        if self._task.turns is not None:
            self._turns = TurnClient(self._task.turns)
        self._output_only = self._task.brief
        self._progress = ProgressLine(config, in_logs=False)  # what is written may be told as its last words

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
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
            self._config.hook.pytest_deselected(items=left_out)
        super().pytest_collection_modifyitems(session, items)

    def pipeline_for(self, item: pytest.Item) -> Any:
        """The pipeline that a test's marker asks for, slowed down where the self-test wants it."""
        pipeline = super().pipeline_for(item)
        if self._task.plant is not None and self._planted is not pipeline:
            from pytest_diffbench.measure.planting import plant

            plant(pipeline, self._task.plant)
            self._planted = pipeline
        return pipeline

    def _settings_of(self, item: pytest.Item) -> Settings:
        settings = super()._settings_of(item)
        if self._task.brief:
            return dataclasses.replace(settings, rounds=1, warmup_rounds=0)
        # Rounds may be held against those of another process, one by one.
        return dataclasses.replace(settings, rounds=USUAL_ROUNDS) if settings.rounds == AUTO else settings

    def _wants_profile(self, *_: Any) -> bool:
        return False

    def _conclude(self, item: pytest.Item, *, failed: bool) -> list[Concluded]:  # noqa: ARG002  # a failure is told with its phase
        from pytest_diffbench.session.verdicts import incomplete

        bench = item.stash.get(BENCH, None)
        concluded: list[Concluded] = []
        for measurement, problem in bench.measurements if bench is not None else ():
            observation = measurement.observation(complete=problem is None)
            artifacts = measurement.artifacts() if self._task.artifacts and problem is None else None
            self._writer.measured(case_id(item, None), observation, problem, artifacts)
            concluded.append(incomplete(observation, problem or "judged elsewhere"))
        if bench is not None:
            bench.measurements.clear()
        return concluded

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
        """Give memory back, and say goodbye."""
        self._pipelines.release()
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
