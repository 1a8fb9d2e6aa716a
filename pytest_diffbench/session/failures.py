"""Failures of several lines, of which the first says it all in short."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from typing import Any


class Failed(pytest.fail.Exception):  # type: ignore[misc, name-defined]  # pytest types it as a value
    """Fails a test without a traceback, which would only show this plugin.

    Args:
        lines: what is wrong; the first one stands alone where pytest sums failures up.
    """

    __module__ = "builtins"  # as pytest's own, so that it is printed as `Failed`

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines), pytrace=False)
        self.headline = lines[0]


def fail(text: str) -> NoReturn:
    """Fail the test; the first line of the text stands alone where pytest sums failures up."""
    raise Failed(text.splitlines())


def shorten(report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
    """Keep what pytest sums up to one line.

    In continuous integration it prints the message whole there, after it has printed it under the failures.
    """
    if call.excinfo is not None and isinstance(call.excinfo.value, Failed):
        crash: Any = getattr(report.longrepr, "reprcrash", None)
        if crash is not None:
            crash.message = f"Failed: {call.excinfo.value.headline}"
