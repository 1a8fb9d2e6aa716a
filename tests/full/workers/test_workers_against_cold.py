"""Another environment for real: an interpreter of its own, started anew for every run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from environments_project import check_what_differs, write
from two_environments import make_environment

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_differences_between_two_environments_are_located(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quick_processes: None
) -> None:
    # This side is forked: tests/test_docs_commands.py has a line of which both sides are started anew.
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")  # which imports hypothesis at each session's end
    base = make_environment(tmp_path / "base", write(pytester, monkeypatch, tmp_path))
    check_what_differs(pytester, base, "--diffbench-turns=processes", pairs=4)
