"""Environments that are really made, with pip, and looked into."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from test_workers_environment import (
    OFFLINE,
    _working_tree,  # noqa: F401 - a fixture
    git,
    package,
    repository,  # noqa: F401 - a fixture
    says,
)

from pytest_diffbench.commands import main as cli

if TYPE_CHECKING:
    import pytest


def test_a_revision_is_installed_over_the_current_environments_packages(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["env", "HEAD~1", OFFLINE]) == 0
    python = capsys.readouterr().out.strip()
    assert Path(python).is_relative_to(repository / "inner" / ".diffbench")
    assert says(python, "import engine; print(engine.PACE)") == "1"
    # Not copied: the very package that is imported here.
    assert says(python, "import msgspec; print(msgspec.__file__)") == msgspec.__file__
    # The repository is as it was: no worktree, nothing that git would want to add.
    assert git(repository, "status", "--porcelain") == ""
    assert len(git(repository, "worktree", "list").splitlines()) == 1


def test_a_project_is_built_once_and_what_it_needs_is_installed(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package(tmp_path / "gear", "7")
    renamed = (tmp_path / "gear" / "pyproject.toml").read_text().replace("engine", "gear")
    (tmp_path / "gear" / "pyproject.toml").write_text(renamed)
    (tmp_path / "gear" / "engine.py").rename(tmp_path / "gear" / "gear.py")
    needs = f"""[project]
dependencies = ["gear-of-a-test @ {(tmp_path / "gear").as_uri()}"]
optional-dependencies = {{more = ["no-such-package-here"]}}"""
    project = Path("pyproject.toml")
    project.write_text(project.read_text().replace("[project]", needs))
    Path("setup.py").write_text(
        "import os, sys\nfrom setuptools import setup\n"
        "if 'bdist_wheel' in sys.argv:\n    print('built', file=open(os.environ['BUILDS'], 'a'))\nsetup()\n"
    )
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "needs something")
    monkeypatch.setenv("BUILDS", str(tmp_path / "builds.txt"))
    assert cli.main(["env", "HEAD", OFFLINE]) == 0
    python = capsys.readouterr().out.strip()
    assert says(python, "import engine, gear; print(engine.PACE, gear.PACE)") == "2 7"
    assert (tmp_path / "builds.txt").read_text() == "built\n"


def test_an_existing_environment_for_the_same_is_handed_back(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["env", "HEAD~1", "--into", "made", OFFLINE]
    assert cli.main(command) == 0
    first = capsys.readouterr().out
    Path("made", "mark").touch()
    assert cli.main(command) == 0
    assert capsys.readouterr() == (first, "")
    assert Path("made", "mark").exists(), "it was made anew"

    commit, other = (git(repository, "rev-parse", revision) for revision in ("HEAD~1", "HEAD"))
    for asked, why in (
        (["HEAD", OFFLINE], f"made with commit {commit}, not {other}"),
        (["HEAD~1"], "made with pip arguments --no-index, --no-build-isolation, not none"),
    ):
        assert cli.main(["env", *asked, "--into", "made"]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert f"made: exists already, {why}. Remove it, or name another folder with --into." in printed.err

    Path("made", "diffbench-env.json").unlink()
    assert cli.main(command) == 2
    assert "exists already, and doesn't say what it was made from." in capsys.readouterr().err


def test_requirements_stand_before_the_current_environments_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package(tmp_path / "package", "3")
    (tmp_path / "requirements.txt").write_text("./package\n")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["env", "requirements.txt", "--into", "other", OFFLINE]) == 0
    python = capsys.readouterr().out.strip()
    assert Path(python).is_relative_to(tmp_path / "other")
    assert says(python, "import engine; print(engine.PACE)") == "3"
    assert not (tmp_path / ".diffbench").exists()
