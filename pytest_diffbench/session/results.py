"""What the tests of a session have measured, wherever they ran: its record, its file and its summary."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pytest_diffbench import __version__
from pytest_diffbench.errors import DiffbenchError
from pytest_diffbench.records import CaseReport, Comparison, SessionReport, Skipped, Verification
from pytest_diffbench.report import terminal
from pytest_diffbench.report.lines import for_encoding
from pytest_diffbench.report.session_json import Finished, SessionFile, filled
from pytest_diffbench.session.report_page import ReportPage
from pytest_diffbench.settings import options
from pytest_diffbench.settings.pytest_private import terminal_encoding, terminal_width

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Sequence
    from pathlib import Path

    from pytest_diffbench.settings.options import Settings, Typed


class Results:
    """Cases and comparisons, in the order in which their tests ended. Registered as a plugin beside the session.

    Args:
        config: pytest's.
        settings: of the session.
        typed: what a suggested command has to repeat.
    """

    def __init__(self, config: pytest.Config, settings: Settings, typed: Typed) -> None:
        self._config = config
        self._settings = settings
        self._typed = typed
        self._started = _now()
        self._finished: list[Finished] = []
        self._file: SessionFile | None = None
        self._page: ReportPage | None = None
        self._page_written: Path | None = None
        self._not_written: list[str] = []
        self._unjudged: str | None = None
        self._explained: set[str] = set()
        self.interrupted = False
        collects_only = config.getoption("collectonly", default=False)
        if collects_only or hasattr(config, "workerinput"):
            return
        if settings.json is not None:
            self._file = SessionFile(options.folder(config, settings.json))
        if settings.report is not None:
            self._page = ReportPage(options.folder(config, settings.report), settings.images)

    @staticmethod
    def hand_over(
        report: pytest.TestReport,
        cases: Sequence[CaseReport],
        comparisons: Sequence[Comparison],
        verifications: Sequence[Verification],
        *,
        explained: Sequence[str],
        missing: bool,
        attempts: int,
    ) -> None:
        """Put them into a benchmark's report, as text, so that they also travel from a parallel worker.

        Args:
            report: of any phase.
            cases: what was measured.
            comparisons: what was compared.
            verifications: what was verified.
            explained: ids of cases that the test's failure tells of.
            missing: the test's pipeline can't be had.
            attempts: how often the test was begun.
        """
        extras: Any = report  # reports take extras
        extras.diffbench_missing = missing
        if cases or comparisons or verifications or attempts > 1:
            finished = Finished(
                test=report.nodeid,
                cases=tuple(cases),
                comparisons=tuple(comparisons),
                verifications=tuple(verifications),
                attempts=attempts,
                explained=tuple(explained),
            )
            extras.diffbench = msgspec.json.encode(finished).decode()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take out what was handed over, and keep it in the session's file."""
        text = getattr(report, "diffbench", None)
        finished = msgspec.json.decode(text, type=Finished) if text is not None else None
        missing = getattr(report, "diffbench_missing", None)
        if missing is not None and report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            skipped = Skipped(test=report.nodeid, reason=reason.removeprefix("Skipped: "), missing=missing)
            finished = msgspec.structs.replace(finished or Finished(test=report.nodeid), skipped=skipped)
        if finished is not None:
            if report.failed:  # and not expected to
                self._explained.update(finished.explained)
            self.add(finished)

    def add(self, finished: Finished) -> None:
        """Add what a test has brought, and keep it in the session's file."""
        self._finished.append(finished)
        if self._file is not None:
            self._file.add(finished, self.report)

    def mark_refuted(self, cases: Collection[str]) -> None:
        """Say of saved cases, by their ids, that a fresh process returned something else."""
        for place, finished in enumerate(self._finished):
            updated = tuple(
                msgspec.structs.replace(case, saved=msgspec.structs.replace(case.saved, refuted=True))
                if case.saved is not None and case.observation.case.id in cases
                else case
                for case in finished.cases
            )
            self._finished[place] = msgspec.structs.replace(finished, cases=updated)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, Any, Any]:
        """Let the session's file tell of this session from now on, however it ends."""
        if self._page is not None:
            self._page.begin()
        if self._file is not None:
            try:
                self._file.begin(self.report())
            except DiffbenchError as error:
                raise pytest.UsageError(f"{options.flag('json')}: {error}") from None
        return (yield)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, error: object) -> None:
        """Remember that a parallel worker died, with the test that it was at."""
        self.interrupted |= error is not None

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self) -> None:
        """Remember that the session is a part."""
        self.interrupted = True

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the session's file, and fail a session in which nothing was judged though every test passed."""
        self.interrupted |= session.exitstatus == pytest.ExitCode.INTERNAL_ERROR
        self.interrupted |= bool(session.shouldfail or session.shouldstop)  # by -x, --maxfail, or another plugin
        if hasattr(self._config, "workerinput"):
            return
        report = self.report()
        self._unjudged = _unjudged(report, required=self._settings.require)
        try:
            if self._file is not None:
                self._file.end(report)
        except DiffbenchError as error:
            # The summary is still to come, and now the only place where the results are.
            self._not_written.append(f"{options.flag('json')}: {error}")
        try:
            if self._page is not None:
                self._page_written = self._page.end(report)
        except DiffbenchError as error:
            self._not_written.append(f"{options.flag('report')}: {error}")
        try:
            if self._settings.history is not None and report.cases:
                from pytest_diffbench.store.history import History

                with History(options.folder(self._config, self._settings.history)) as history:
                    history.add(report)
        except DiffbenchError as error:
            self._not_written.append(f"{options.flag('history')}: {error}")
        passed = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        if passed and (self._unjudged is not None or self._not_written):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Tell what was measured and what was made of it."""
        for problem in self._not_written:
            terminalreporter.write_line(problem, red=True)
        report = self.report()
        if not report.cases and not report.skipped and not report.verifications:
            return
        terminalreporter.section("diffbench")
        if self._unjudged is not None:
            terminalreporter.write_line(self._unjudged, red=True, bold=True)
        width = terminal_width(terminalreporter)
        shown = self._config.option.tbstyle != "no"
        explained = self._explained if shown else ()
        lines = terminal.summary_lines(report, width, self._config.get_verbosity() > 0, explained)
        terminalreporter.ensure_newline()
        for line in for_encoding(lines, terminal_encoding(terminalreporter)):
            for text, markup in line:
                terminalreporter.write(text, **markup)
            terminalreporter.write_line("")
        if self._page_written is not None:
            terminalreporter.write_line(f"report        {self._page_written}")

    def report(self) -> SessionReport:
        """All of the session so far."""
        head = SessionReport(
            diffbench=__version__,
            started=self._started,
            finished=_now(),
            interrupted=self.interrupted,
            settings={
                name: ",".join(value) if isinstance(value, tuple) else value
                for name in dict.fromkeys([*options.names("c"), *options.names("i")])
                for value in [getattr(self._settings, name)]
            },
            counts={},
            command=self._typed.command,
            root=self._typed.root,
            missing_baselines=(),
            cases=(),
        )
        return filled(head, self._finished)


def _unjudged(session: SessionReport, *, required: bool) -> str | None:
    """Why the session fails though every test of it may have passed; None where it doesn't.

    Args:
        session: all of it.
        required: each benchmark that was selected has to be run.
    """
    if required and session.skipped:
        count = len(session.skipped)
        return f"{count} benchmark{' was' if count == 1 else 's were'} skipped, and --diffbench-require allows none"
    missing = sum(test.missing for test in session.skipped)
    if missing and not session.cases:
        were = "benchmark was" if missing == 1 else "benchmarks were"
        return f"nothing was measured: {missing} {were} skipped because a pipeline is missing"
    return None


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
