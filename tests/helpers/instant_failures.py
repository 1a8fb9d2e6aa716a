"""A plugin that prints a failure when it happens, so that a run that is cut off has told what it found.

pytest -p instant_failures
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Print why a test failed."""
    if report.failed:
        print(f"\nFAILED {report.nodeid} ({report.when})\n{report.longreprtext}\n", flush=True)
