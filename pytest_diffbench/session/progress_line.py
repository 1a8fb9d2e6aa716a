"""What tells a person at a terminal, or a log, how far a session is."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from pytest_diffbench.report import progress
from pytest_diffbench.report.progress import LogLines, Outlook, Progress
from pytest_diffbench.settings.pytest_private import terminal_width

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

_LONG = ("confirming", "fresh process")
"""Phases in which another process measures, so that nothing is told until it ends."""


class ProgressLine:
    """A line that is rewritten on a terminal, a line a minute elsewhere. Silent with `-q` and in xdist's workers.

    Args:
        config: pytest's.
        in_logs: tell where no terminal is, too.
    """

    def __init__(self, config: pytest.Config, *, in_logs: bool = True) -> None:
        self._config = config
        self._in_logs = in_logs
        self._outlook = Outlook(time.monotonic)
        self._progress: Progress | None = None
        self._log: LogLines | None = None

    def expect(self, tests: int) -> None:
        """So many benchmarks will run."""
        self._outlook.total = tests

    def start(self, name: str, label: str, test: str = "") -> Callable[[str, int, int], None]:
        """Begin a case, by its name, what it runs on and its test's id; returns what is told `phase, done, total`."""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None or self._config.get_verbosity() < 0 or not (reporter.isatty or self._in_logs):
            return lambda _phase, _done, _total: None
        if test:
            self._outlook.begin(test)

        def write(text: str) -> None:
            with self._uncaptured():
                reporter.write(text, flush=True)

        def write_line(text: str) -> None:
            with self._uncaptured():
                reporter.ensure_newline()  # and the next test's dot comes behind its file's name again
                reporter.write_line(text)
                reporter.flush()

        if reporter.isatty:
            if self._progress is None:
                width = terminal_width(reporter)
                self._progress = Progress(write, width, time.monotonic, outlook=self._outlook)
            self._progress.start(name, label)
            return self._progress.advance
        if self._log is None:
            self._log = LogLines(write_line, time.monotonic, self._outlook, progress.LOG_EVERY_S)
        log = self._log
        log.start(name)
        return lambda phase, done, total: log.advance(phase, done, total, at_once=phase.startswith(_LONG))

    def finish(self) -> None:
        """Erase the line."""
        if self._progress is not None:
            self._progress.finish()

    def _uncaptured(self) -> contextlib.AbstractContextManager[None]:
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        if capture is None:
            return contextlib.nullcontext()
        suspended: contextlib.AbstractContextManager[None] = capture.global_and_fixture_disabled()
        return suspended
