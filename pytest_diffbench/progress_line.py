"""The line that tells a person at a terminal how far a case is."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from pytest_diffbench.report.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


class ProgressLine:
    """Silent where nobody watches: without a terminal, and with `-q`.

    Args:
        config: pytest's.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._progress: Progress | None = None

    def start(self, name: str, label: str) -> Callable[[str, int, int], None]:
        """Begin a case, by its name and what it runs on; returns what is told `phase, done, total`."""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        if reporter is None or not reporter.isatty or self._config.get_verbosity() < 0:
            return lambda _phase, _done, _total: None

        def write(text: str) -> None:
            with capture.global_and_fixture_disabled() if capture is not None else contextlib.nullcontext():
                reporter.write(text, flush=True)

        if self._progress is None:
            self._progress = Progress(write, reporter._tw.fullwidth, time.monotonic)
        self._progress.start(name, label)
        return self._progress.advance

    def finish(self) -> None:
        """Erase the line."""
        if self._progress is not None:
            self._progress.finish()
