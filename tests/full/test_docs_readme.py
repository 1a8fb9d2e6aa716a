"""What README and quickstart print runs in its order, on minis, in a folder that holds nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_docs_commands import commands, shell, typed

if TYPE_CHECKING:
    from warm_python import WarmPython

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/quickstart.md", "docs/suite.md")
TEXT = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)
TYPED = list(dict.fromkeys(line for page in PAGES for line in commands(ROOT / page)))
"""All command lines, in their order and once each, without the comments behind them."""

PYPROJECT = '[project]\nname = "newcomer"\nversion = "1"\n\n[tool.setuptools]\npackages = []\n'

FEW = "--diffbench-rounds=1 --diffbench-pairs=1 --diffbench-max-time=90 --diffbench-gates=work,guidance,output"
"""What keeps it short, and off how busy the machine is. It changes no line that is typed."""


def is_for_other_folder(line: str) -> bool:
    """A line that needs a clone or the network, memory for twelve thousand million weights, or minutes.

    What takes minutes has tests of its own: tests/full/workers makes other environments, tests/full/plugin plans,
    and tests/full/package runs the suite.
    """
    whole_suite = "pytest_diffbench.suite" in line and "weights=pretrained" not in line
    return whole_suite or line.startswith(("make ", "pip ", "OTHER="))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A newcomer's project under version control: each block of Python is a file of tests."""
    newcomer = tmp_path_factory.mktemp("newcomer")
    (newcomer / "pyproject.toml").write_text(PYPROJECT)
    blocks = [block for kind, block in BLOCKS if kind == "python"]
    assert len(blocks) >= 2
    for number, block in enumerate(blocks):
        (newcomer / f"test_snippet_{number}.py").write_text(
            block, encoding="utf-8"
        )  # whatever name the page gives it
    for arguments in ("init -q -b main", "add .", "-c user.name=n -c user.email=n@n commit -qm begin"):
        subprocess.run(["git", *arguments.split()], cwd=newcomer, check=True)
    return newcomer


@pytest.fixture(scope="module")
def variables(folder: Path, warm_python: WarmPython) -> dict[str, str]:
    """Of a shell in which the package is installed, without weights, index or network."""
    return shell(warm_python.executable, folder.parent / "tools") | {
        "PYTEST_ADDOPTS": FEW,
        "HF_HOME": str(folder / ".hub"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
    }


@pytest.mark.pipeline
def test_every_line_runs_as_printed(folder: Path, variables: dict[str, str]) -> None:
    run = [line for line in TYPED if not is_for_other_folder(line)]
    assert len(run) >= 6
    for line in run:
        done = typed(line, folder, variables)
        printed = f"{line}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        if "weights=pretrained" in line:  # there are none
            assert done.returncode == pytest.ExitCode.TESTS_FAILED, printed
            assert "Tests download nothing. On a machine with access to the hub" in " ".join(done.stdout.split()), (
                printed
            )
            continue
        assert done.returncode == 0, printed
        assert "warning" not in done.stdout.rpartition("=====")[2], printed
        if line == "pytest --diffbench-save":
            assert "2 passed" in done.stdout, printed
            assert (folder / "baselines").is_dir()
    assert "diffbench" in (folder / "summary.md").read_text(encoding="utf-8")
