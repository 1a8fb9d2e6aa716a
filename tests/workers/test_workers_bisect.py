"""What `diffbench bisect` refuses before it runs anything, and what it makes of versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from planted_history import write_history

from pytest_diffbench.commands.bisect import PackageHistory
from pytest_diffbench.commands.bisecting import Bisected
from pytest_diffbench.commands.main import main
from pytest_diffbench.errors import DiffbenchError

if TYPE_CHECKING:
    from pathlib import Path


def test_the_wrong_order_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commits = write_history(tmp_path, 2, 1, "work")
    project = f"--project={tmp_path / 'project'}"
    assert main(["bisect", commits[1], commits[0], project, "--in-place", "--", "test_paint.py"]) == 2
    assert "isn't an ancestor of" in capsys.readouterr().err
    assert main(["bisect", "no-such", "main", project, "--", "test_paint.py"]) == 2
    assert "git rev-parse failed" in capsys.readouterr().err


def test_versions_are_those_between_the_two(tmp_path: Path) -> None:
    history = PackageHistory("some", ["1.0", "1.1", "1.10", "2.0"], scratch=tmp_path, pip_arguments=())
    assert history.revisions("1.1", "2.0") == ["1.1", "1.10", "2.0"]
    with pytest.raises(DiffbenchError, match=r"some 3\.0: there is no such version"):
        history.revisions("1.0", "3.0")
    found = Bisected("1.10", "1.1", (), (), 3)
    assert history.reproduce(found, ["a b.py"]) == (
        "echo some==1.1 > good.txt && pip install some==1.10 && "
        "pytest --diffbench-against=\"$(diffbench env good.txt)\" 'a b.py'"
    )
