"""Another environment is made offline, from a revision or a file, over this one's packages."""

from __future__ import annotations

import re
import subprocess
import sysconfig
from pathlib import Path

import pytest
from two_environments import ROOT

from pytest_diffbench.commands import main as cli
from pytest_diffbench.errors import DiffbenchError
from pytest_diffbench.workers import environment

OFFLINE = "--pip=--no-index --no-build-isolation"
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "engine-of-a-test"
version = "{version}"
[tool.setuptools]
py-modules = ["engine"]
"""


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def package(folder: Path, version: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text(PROJECT.format(version=version))
    (folder / "engine.py").write_text(f"PACE = {version!r}\n")


@pytest.fixture(autouse=True)
def _working_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take for this environment's plugin what is tested, wherever another state of it may be installed."""
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "all.pth").write_text(f"{ROOT}\n{sysconfig.get_path('purelib')}\n")
    monkeypatch.setattr(environment, "_own_packages", lambda: [str(folder)])


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with versions 1 and 2 of a package in a folder of it, which is the current one."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "nothing")
    for version in ("1", "2"):
        package(folder / "inner", version)
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", version)
    monkeypatch.chdir(folder / "inner")
    return folder


def says(python: str, code: str) -> str:
    return subprocess.run([python, "-P", "-c", code], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (
            "# two\nengine == 1.0 ; python_version > '3'\nother[extra]==2.1+cu128 \\\n    --hash=sha256:00  # why\n",
            None,
        ),
        ("engine\n", "'engine'"),
        ("engine>=1\n", "'engine>=1'"),
        ("engine==1.*\n", "'engine==1.*'"),
        ("./package\n", "'./package'"),
        ("-r more.txt\n", "'-r more.txt'"),
        ("engine @ git+https://example.com/engine\n", "'engine @ git"),
    ],
)
def test_requirements_with_versions_are_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, problem: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(environment, "_install", lambda *_: None)
    monkeypatch.setattr(environment, "checked_interpreter", lambda python, _: python)
    Path("requirements.txt").write_text(lines)
    first = environment.make_environment("requirements.txt", None)
    if problem is None:
        assert Path(environment.make_environment("requirements.txt", None)).samefile(first)
        Path("requirements.txt").write_text("engine==2.0\n")
        problem = "made with requirements engine == 1.0.*, not engine==2.0"
    with pytest.raises(
        DiffbenchError, match=f"exists already, .*{re.escape(problem).replace(re.escape('.*'), '.*')}"
    ):
        environment.make_environment("requirements.txt", None)


def test_packages_below_any_path_are_located_in_any_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = tmp_path / "Pakete für Übergröße 日本"
    packages.mkdir()
    (packages / "engine.py").write_text("PACE = 4\n")
    monkeypatch.setattr(environment, "_own_packages", lambda: [str(packages)])
    python = environment._empty(tmp_path / "made")
    (pth,) = tmp_path.glob("made/[Ll]ib/**/behind-its-own-packages.pth")
    assert pth.read_bytes().isascii()
    assert says(str(python), "import engine; print(engine.PACE)") == "4"


@pytest.mark.full
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("nowhere", "nowhere: is neither a requirements file nor a revision of the git repository"),
        ("--upload-pack=x", "See diffbench"),
        ("HEAD~2", "has neither pyproject.toml nor setup.py in inner/"),
        ("broken.txt", "pip can't install it there: .*no-such-package-here"),
    ],
)
def test_a_failure_to_create_leaves_nothing(
    repository: Path, capsys: pytest.CaptureFixture[str], what: str, message: str
) -> None:
    Path("broken.txt").write_text("no-such-package-here==1\n")
    assert cli.main(["env", what, "--into", "made", OFFLINE]) == 2
    captured = capsys.readouterr()
    assert (captured.out, Path("made").exists()) == ("", False)
    assert len(captured.err.splitlines()) == 1
    assert re.search(message, captured.err), captured.err


def test_outside_of_a_repository_a_revision_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert cli.main(["env", "main"]) == 2
    assert "not a git repository" in capsys.readouterr().err
