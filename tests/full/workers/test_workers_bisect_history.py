"""`diffbench bisect` over a planted history in git, with real pipelines in processes of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from planted_history import git, write_history

from pytest_diffbench.commands.main import main

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("real_libraries", "quick_processes")]


def bisect(folder: Path, good: str, bad: str, *options: str) -> int:
    return main(
        [
            "bisect",
            good,
            bad,
            f"--project={folder / 'project'}",
            "--in-place",
            *options,
            "--",
            str(folder / "test_paint.py"),
        ]
    )


def test_the_planted_commit_is_named_with_gate_reason_and_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = write_history(tmp_path, 6, 3, "guidance", broken=(2,))
    monkeypatch.chdir(tmp_path)
    helpers = Path(__file__).parents[2] / "helpers"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (helpers, helpers.parents[1]))))
    monkeypatch.setenv("COLUMNS", "400")
    assert bisect(tmp_path, commits[0], "main") == 0
    printed = capsys.readouterr()
    assert f"first bad  {commits[3][:7]}" in printed.out
    assert f"last good  {commits[1][:7]}" in printed.out
    assert "guidance   test_paint.py::test_paint: guidance.missing_steps: " in printed.out
    assert f"or         {commits[2][:7]} change 2, which couldn't be judged" in printed.out
    assert (
        f'git checkout {commits[3][:12]} && pytest --diffbench-against="$(diffbench env {commits[1][:12]})"'
        in printed.out
    )
    assert "skipped" in printed.err
    assert git(tmp_path / "project", "status", "--porcelain") == ""
    assert git(tmp_path / "project", "rev-parse", "HEAD") == commits[-1]
