"""Whether a fresh process returns what a session saved: what differs from process to process is no baseline."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import pytest

from pytest_diffbench.errors import DiffbenchError
from pytest_diffbench.items import case_id
from pytest_diffbench.report.sentences import all_worded
from pytest_diffbench.settings.options import is_parallel
from pytest_diffbench.workers.exchange import reference_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator

    from pytest_diffbench.records import CaseReport, Output
    from pytest_diffbench.session.progress_line import ProgressLine
    from pytest_diffbench.settings.options import Settings
    from pytest_diffbench.store import Store
    from pytest_diffbench.workers.budget import Budget
    from pytest_diffbench.workers.launch import Launcher, ProcessResult


def register(config: pytest.Config, settings: Settings, afresh: SavedAfresh) -> None:
    """Have what a session saves confirmed, where it saves, may start processes, and measures in one."""
    if settings.save and settings.confirm and not is_parallel(config):
        config.pluginmanager.register(afresh, "diffbench-saved-afresh")


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What a fresh process says of a saved case.

    Attributes:
        case: its id.
        text: what it is, in a sentence.
        refuted: the process returned something else; otherwise it had nothing to say.
    """

    case: str
    text: str
    refuted: bool


class SavedAfresh:
    """Registered as a plugin while baselines are saved and fresh processes may be started.

    Only cases whose output was saved anew are measured once more, all of them in one process, at the session's end.

    Args:
        launcher: starts the process.
        budget: its time.
        store: where the session saves.
        mark_refuted: is told ids of cases of which the process returned something else.
        make_room: gives the device's memory back, before the process starts.
        progress: tells what the process is for.
    """

    def __init__(
        self,
        launcher: Launcher,
        budget: Budget,
        store: Store,
        mark_refuted: Callable[[Collection[str]], None],
        make_room: Callable[[], object],
        progress: ProgressLine,
    ) -> None:
        self.answers: list[Answer] = []
        self._launcher = launcher
        self._budget = budget
        self._store = store
        self._mark_refuted = mark_refuted
        self._make_room = make_room
        self._progress = progress
        self._saved: dict[str, CaseReport] = {}
        self._items: dict[str, pytest.Item] = {}
        self._took_s = 0.0

    def pytest_diffbench_outcome(self, report: CaseReport) -> None:
        """Remember what was saved."""
        output = report.observation.output
        anew = report.saved is not None and report.saved.output_anew
        if anew and output is not None and (output.images or output.tensors or output.parts):
            self._saved[report.observation.case.id] = report

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Take the time of tests that save something."""
        began_s, before = time.monotonic(), len(self._saved)
        result = yield
        if len(self._saved) > before:
            self._items[case_id(item, None)] = item
            self._took_s += time.monotonic() - began_s
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """Ask the fresh process once all tests are through."""
        result = yield
        if self._items and not session.shouldstop:
            self._ask(session)
        return result

    def _ask(self, session: pytest.Session) -> None:
        why = self._budget.too_little(self._took_s, processes=1)
        if why is None:
            self._make_room()
            try:
                results = [self._launched(list(self._items.values()), brief=True)]
                # What a test says of work or layers may need what a brief measurement leaves out.
                failed = [item for name, item in self._items.items() if _failed_in(results[0], name)]
                if failed and self._budget.too_little(self._took_s, processes=1) is None:
                    results.append(self._launched(failed, brief=False))
            except OSError as error:
                why = f"no process could be started: {error}"
        if why is not None:
            text = f"no fresh process confirmed the output of {len(self._saved)} saved cases: {why}"
            self.answers.append(Answer("", text, refuted=False))
            return
        for case, report in self._saved.items():
            answer = self._compared(
                case, report, next(result for result in reversed(results) if result.was_asked(case))
            )
            if answer is not None:
                self.answers.append(answer)
        refuted = {answer.case for answer in self.answers if answer.refuted}
        self._mark_refuted(refuted)
        session.testsfailed += len(refuted)

    def _launched(self, items: list[pytest.Item], *, brief: bool) -> ProcessResult:
        what = f"{len(items)} saved test{'' if len(items) == 1 else 's'}"
        tell = self._progress.start(what, "")
        tell(f"fresh process to check that they return the same, at most about {self._took_s:.0f} s", 0, 0)
        try:
            with self._budget:
                return self._launcher.launch(
                    items, timeout_s=self._budget.timeout_s(self._took_s), artifacts=True, brief=brief
                )
        finally:
            self._progress.finish()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Tell what the fresh process had to say."""
        for answer in self.answers:
            words = f"{answer.case}: {answer.text}" if answer.case else answer.text
            terminalreporter.write_line(words, red=answer.refuted, yellow=not answer.refuted)

    def _compared(self, case: str, report: CaseReport, result: ProcessResult) -> Answer | None:
        from pytest_diffbench.judge import Limits, judge

        measured = result.case(case)
        if isinstance(measured, str):
            return Answer(case, f"no fresh process confirmed its output: {measured}", refuted=False)
        saved, fresh = report.observation.output, measured.observation.output
        if saved is not None and fresh is not None and _returned(saved) == _returned(fresh):
            return None
        try:
            reference = self._store.find(report.observation.case, report.observation.run.environment)
            artifacts = reference_of(measured, result.folder, "a fresh process").artifacts()
            (verdict,) = all_worded(judge(measured.observation, artifacts, reference, Limits(), ("output",)))
        except DiffbenchError as error:
            return Answer(case, f"no fresh process confirmed its output: {error}", refuted=False)
        if verdict.decision != "worse":
            return None
        text = (
            f"a fresh process returned something else ({verdict.reason}). {verdict.message} Nothing can be held "
            "against this baseline. Look for weights or noise drawn without a seed, uninitialised memory, and what "
            "an earlier test left behind; then save again. No tolerance makes up for it."
        )
        return Answer(case, text, refuted=True)


def _returned(output: Output) -> tuple[object, ...]:
    return output.images, output.tensors, output.parts


def _failed_in(result: ProcessResult, test: str) -> bool:
    return any(outcome.test == test and outcome.outcome == "failed" for outcome in result.outcomes)
