"""Bisection over what is installed for it: versions of a package from a folder of wheels, commits of a project."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from planted_history import git

from pytest_diffbench.commands.main import main
from pytest_diffbench.workers import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from warm_python import WarmPython

ROOT = Path(__file__).parents[3]

MODULE = '''"""Paints, in version {version}."""
from PIL import Image

def paint():
    image = Image.new("RGB", (32, 32), ({shade}, 0, 0))
    image.putpixel((0, 0), (0, 255, 0))
    return [image]
'''

TEST = "from tiny_paint import paint\n\ndef test_paint(diffbench):\n    diffbench(paint)\n"

BACKEND = '''"""Builds the wheel without anything that would have to be fetched."""
import pathlib, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "tiny_paint-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder, name), "w") as wheel:
        wheel.writestr("tiny_paint.py", pathlib.Path("tiny_paint.py").read_text())
        info = "tiny_paint-1.0.dist-info/"
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: tiny-paint\\nVersion: 1.0\\n")
        kind = "Wheel-Version: 1.0\\nGenerator: own\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
        wheel.writestr(info + "WHEEL", kind)
        wheel.writestr(info + "RECORD", "")
    return name
'''

PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def write_wheel(folder: Path, version: str, text: str) -> None:
    info = f"tiny_paint-{version}.dist-info/"
    with zipfile.ZipFile(folder / f"tiny_paint-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_paint.py", text)
        wheel.writestr(f"{info}METADATA", f"Metadata-Version: 2.1\nName: tiny-paint\nVersion: {version}\n")
        wheel.writestr(
            f"{info}WHEEL", "Wheel-Version: 1.0\nGenerator: own\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}RECORD", "")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm_python: WarmPython) -> Iterator[None]:
    """Environments are kept in the folder that the command is typed in, and the plugin is this working tree's.

    They are made and installed into for real; their measuring processes are forked from a warm one.
    """
    monkeypatch.setattr(environment, "_empty", warm_python.taking_over(environment._empty))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("test_paint.py").write_text(TEST, encoding="utf-8")
    yield
    assert not Path("baselines").exists(), "what was saved lies in a folder of its own"


def test_the_version_of_a_package_is_located(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    versions = ["1.0", "1.1", "1.2", "1.9", "1.10", "2.0"]
    for version in versions:
        shade = 200 if versions.index(version) < 4 else 90
        text = "import nothing_of_that_name\n" if version == "1.2" else ""
        write_wheel(wheels, version, text + MODULE.format(version=version, shade=shade))
    pip = f"--pip=--no-index --find-links {wheels}"
    status = main(["bisect", "1.0", "2.0", "--package=tiny-paint", pip, "--", "test_paint.py"])
    printed = capfd.readouterr().out
    assert status == 0, printed
    assert "first bad  tiny-paint 1.10" in printed
    assert "last good  tiny-paint 1.9" in printed, "versions are in pip's order, not in that of their letters"
    assert "output     test_paint.py::test_paint: output." in printed
    assert (tmp_path / ".diffbench").is_dir(), "environments stay for the next time"
    assert main(["bisect", "1.0", "1.9", "--package=tiny-paint", pip, "--", "test_paint.py"]) == 2
    assert "nothing is worse than at 1.0" in capfd.readouterr().err
    assert main(["bisect", "1.0", "2.0", "--package=no-such-thing", pip, "--", "test_paint.py"]) == 2
    assert "pip can't list its versions" in capfd.readouterr().err


def test_the_commit_of_an_installed_project_is_located(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    project = tmp_path / "project"
    project.mkdir()
    git(project, "init", "--quiet", "--initial-branch=main")
    project.joinpath("backend.py").write_text(BACKEND, encoding="utf-8")
    commits = []
    for number in range(6):
        text = MODULE.format(version=number, shade=200 if number < 3 else 90)
        project.joinpath("tiny_paint.py").write_text(text, encoding="utf-8")
        # of a commit that can't be installed the neighbours are asked
        project.joinpath("pyproject.toml").write_text("" if number == 2 else PYPROJECT, encoding="utf-8")
        git(project, "add", "-A")
        git(project, "commit", "--quiet", "-m", f"change {number}")
        commits.append(git(project, "rev-parse", "HEAD"))
    arguments = ["bisect", commits[0], "main", "--project=project", "--pip=--no-index", "--", "test_paint.py"]
    status = main(arguments)
    printed = capfd.readouterr().out
    assert status == 0, printed
    assert f"first bad  {commits[3][:7]} change 3" in printed
    assert f"last good  {commits[1][:7]} change 1" in printed
    assert "change 2" in printed, "it may be that one as well"
    assert git(project, "status", "--porcelain", "--untracked-files=no") == ""
