"""Every command line that README, the pages and the recipes print runs as it is printed, in a small project.

A new one runs, too, without a word here: it needs an entry only if it ends with another status, takes long, or
can't run on two cores without a network.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own
from planted_history import git
from suite_budget import shared

from pytest_diffbench.settings import options

if TYPE_CHECKING:
    from warm_python import WarmPython

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
RECIPES = sorted((ROOT / "docs" / "examples" / "ci").glob("*.yml"))
COMMAND = re.compile(r'(?:[A-Z_]+=\S+ )*(?:[A-Z]+="\$\(diffbench |(?:make|pip|pytest|diffbench|python)(?: |$))')

PLACEHOLDERS = {
    "CASE": "test_cfg_trunc[8]",
    "-k TEST": "-k test_paint",
    "TEST ...": "tests/benchmarks/test_paint.py",
    "TEST": "tests/benchmarks/test_paint.py",
    "RESULT": "session.json",
    "FILE...": "session.json",
    "SESSION.json": "session.json",
    "NEW.json": "new.json",
    "OLD.json": "old.json",
    "BASELINES": "baselines",
    "FOLDER": "baselines",
    "MODEL": "lumina2",
    "PATH/OF/A/CLONE": ".",
}
"""What a reader puts in their place."""

STATUSES = {
    "diffbench answer result.json": 13,  # the project's variant paints another picture
    "diffbench verify lumina2": 1,  # a fault of diffusers, as the page says
}
"""Of commands that rightly don't end with 0."""

SLOW = re.compile(r"diffbench (?:plan|verify|env|bisect|calibrate)|.*\$\(diffbench env|pytest .* benchmarks/")
"""Full-size plans, minis, environments, processes, comparisons."""

COLD = 'pytest --diffbench --diffbench-against="$(diffbench env main)"'
"""Whose processes are all started anew, as a reader's are. What other lines measure is forked from a warm Python."""

ELSEWHERE = {
    r"make .*": "hours, a GPU, or this very test; `make -n` has to know it",
    r"(?:[A-Z_]+=1 )?python (?:benchmarks|tools|tests)/.*": "minutes to hours, or a GPU; it has to have the options",
    r"(?:python -m )?pip install .*": "the package index; the distribution and its extras have to be this project's",
    r"pytest --diffbench-selftest.*": "ten minutes to a night; pytest has to take the options",
    r"pytest .*pytest_diffbench\.suite.*": "minutes each, the weights or a GPU; tests/full/test_docs_readme.py, "
    "tests/full/plugin and tests/full/package run the suite; pytest has to take the options",
    r"pytest .*--diffbench-baselines=build/baselines docs/examples": "tests/full/test_docs_examples.py runs them",
    r"DIFFBENCH_REGENERATE_GOLDEN=1 .*": "would write this project's own files",
}
"""What no run here proves, by the whole line: why, and what is looked at instead."""


def commands(page: Path) -> list[str]:
    """Command lines of a page: scripts, lines of blocks without the remarks behind them, and those in sentences."""
    whole, blocks = page.read_text(encoding="utf-8"), r"^```(\w*)\n(.*?)^```"
    blocks_of_page = re.findall(blocks, whole, flags=re.DOTALL | re.MULTILINE)
    lines = [
        line.strip().removeprefix("$ ")
        for kind, block in blocks_of_page
        if kind in ("", "console")
        for line in block.splitlines()
    ]
    spans = re.findall(r"(?<!`)`([^`]+)`", re.sub(blocks, "", whole, flags=re.DOTALL | re.MULTILINE))
    # Within a sentence `diffbench show` and `pytest -n` are names of things.
    lines += [
        text
        for text in (" ".join(span.split()) for span in spans)
        if re.search(r"\.py|\.json|[A-Z]{4}|--\w+[= ]\S|\.suite|^make \w|^pip ", text)
    ]
    lines = [re.split(r" {2,}|\s+#", line)[0] for line in lines]
    return [
        line for line in (*lines, *(block for kind, block in blocks_of_page if kind == "sh")) if COMMAND.match(line)
    ]


def steps(recipe: Path) -> list[str]:
    """What a recipe runs: steps of a workflow of GitHub, or scripts of GitLab's jobs."""
    read: Any = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    if "jobs" in read:
        return [step["run"].strip() for job in read["jobs"].values() for step in job["steps"] if "run" in step]
    jobs = [job for job in read.values() if isinstance(job, dict)]
    return [
        line.strip()
        for job in jobs
        for part in ("before_script", "script", "after_script")
        for line in job.get(part, [])
    ]


PRINTED = list(dict.fromkeys(line for lines in (*map(commands, PAGES), *map(steps, RECIPES)) for line in lines))


def elsewhere(line: str) -> str | None:
    """Why a line doesn't run here; None where it does."""
    return next((why for pattern, why in ELSEWHERE.items() if re.fullmatch(pattern, line)), None)


RUN = [line for line in PRINTED if elsewhere(line) is None]
OTHERS = [line for line in PRINTED if elsewhere(line) is not None]

PAINT = """
import numpy as np
import pytest

@pytest.mark.parametrize("size", [8, 32])
def test_cfg_trunc(diffbench, size):
    rows = np.arange(size, dtype=np.uint8)[:, None, None]
    diffbench(lambda size: [np.tile(rows, (1, size, 3))], size=size)
"""
OWN_TESTS = """
import importlib.util
from tiny_pipelines import build_tiny

def test_truncation(diffbench):
    pipeline = build_tiny("lumina2")
    call = dict(num_inference_steps=2, height=32, width=32)
    if importlib.util.find_spec("engine") is not None:  # where a revision is installed
        import engine
        pipeline.vae.decoder.conv_out.weight.data.mul_(engine.SCALE)
        diffbench(pipeline, "a red circle", **call)
        return
    diffbench.compare(pipeline, "a red circle", variants={"full": {}, "half": {"cfg_trunc_ratio": 0.5}}, **call)
"""
FILES = {
    "tests/benchmarks/test_paint.py": PAINT,
    "benchmarks/test_mine.py": OWN_TESTS,
    "engine/__init__.py": "SCALE = 4.0\n",
    "pyproject.toml": "[project]\nname = 'painter'\nversion = '1'\n[tool.setuptools]\npackages = ['engine']\n"
    "[tool.pytest.ini_options]\ntestpaths = ['tests']\naddopts = '--import-mode=importlib'\n"
    "diffbench_warmup_rounds = '0'\n",
    "requirements.txt": "",
    ".gitignore": ".diffbench\nbuild\n*.egg-info\n__pycache__\n",
}


GH = """#!/bin/sh
echo "$@" >> gh.log
case "$*" in *--paginate*) [ -z "$OLD_COMMENT" ] || echo "$OLD_COMMENT";; esac
"""


WARM = """
from pathlib import PosixPath
from pytest_diffbench.workers import environment
from warm_python import WarmPython
environment._empty = {warm}.taking_over(environment._empty)
"""


def shell(python: Path, tools: Path, warm: WarmPython | None = None) -> dict[str, str]:
    """Variables of a shell in which the package is installed, with that interpreter, and there is no network.

    Args:
        python: the interpreter.
        tools: folder to be made, for programs.
        warm: what pytest in environments that are made there is forked from.
    """
    tools.mkdir()
    lent = WARM.format(warm=dataclasses.replace(warm, process=None)) if warm is not None else ""
    programs = {
        "pytest": f'#!/bin/sh\nexec {python} -P -m pytest "$@"\n',
        "diffbench": f'#!/bin/sh\nexec {python} -P {tools}/entry.py "$@"\n',
        "entry.py": f"import sys\n{lent}from pytest_diffbench.commands.main import main\nsys.exit(main())\n",
        "gh": GH,
    }
    for name, text in programs.items():
        (tools / name).write_text(text, encoding="utf-8")
        (tools / name).chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "HF_"))}
    return kept | {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")]),
        "PYTEST_ADDOPTS": "--diffbench-rounds=1 --diffbench-gates=work,guidance,output --diffbench-pairs=1",
        "OMP_NUM_THREADS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it the other way round
        "GITHUB_STEP_SUMMARY": "summary.md",
        "REPORT_URL": "https://example.org/report/",
        "GITHUB_ENV": "variables",
        "GITHUB_BASE_REF": "main",
        "CI_MERGE_REQUEST_DIFF_BASE_SHA": "main",
        "GITHUB_REPOSITORY": "painters/painter",
        "NUMBER": "7",
        "BASE": ".diffbench/env-main/bin/python",
        "COLUMNS": "200",
    }


def typed(line: str, folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="session")
def project(warm_python: WarmPython, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A project under version control, with baselines and with results of all kinds; variables of a quick shell."""
    with shared():
        painter = tmp_path_factory.mktemp("painter")
        variables = shell(warm_python.executable, painter / "tools", warm_python)
        folder = painter / "project"
        for name, text in FILES.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        for line in (
            "pytest --diffbench-save --diffbench-json=ci/session.json --diffbench-images=ci/images tests benchmarks",
            "pytest --diffbench --diffbench-json=ci/session.json --diffbench-images=ci/images",
            "pytest --diffbench --diffbench-json=result.json benchmarks",
            "diffbench history add ci/session.json && mkdir nightly diffbench perf && cp -r ci new && cp -r ci old",
            "cp .diffbench/history.sqlite . && cp -r baselines perf && cp -r baselines old && cp -r baselines new",
            "cp -r ci/images . && for name in session new old nightly/session diffbench/session; do "
            "cp ci/session.json $name.json; done",
        ):
            done = typed(line, folder, variables)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        (folder / ".diffbench" / "env-main").mkdir()
        warm_python.environment(folder / ".diffbench" / "env-main" / "bin")
        git(folder, "init", "-q", "-b", "main")
        git(folder, "add", ".")
        git(folder, "commit", "-qm", "begin")
        for tag in ("v1.2", "v1.4"):
            git(folder, "tag", tag)
        (folder / "engine" / "__init__.py").write_text("SCALE = 1.0\n")
        git(folder, "commit", "-qam", "guide no more")
        git(folder, "update-ref", "refs/remotes/origin/main", "main")
    return folder, variables


def filled(line: str) -> str:
    """A line as a reader types it: optional parts stay, words in capitals get a value."""
    words = re.sub(r"(?<![\w'\"])\[([^\]]+)\]", r"\1", line)
    for name, value in PLACEHOLDERS.items():
        words = re.sub(rf"(?<![\w/.=-]){re.escape(name)}(?![\w./])", lambda _, value=value: value, words)  # type: ignore[misc]
    words = re.sub(r"(=|-o |--publish )FILE\b", r"\1further.sqlite" if "history" in words else r"\1written", words)
    return re.sub(r"(?<= )FILE\b", "history.sqlite" if "--history" in words else "session.json", words)


def ran(line: str, project: tuple[Path, dict[str, str]], tmp_path: Path) -> Path:
    """Run a line in a copy of the project, and look at its status; returns the copy."""
    prepared, variables = project
    folder = tmp_path / "project"
    shutil.copytree(prepared, folder, symlinks=True)
    done = typed(filled(line), folder, variables)
    assert done.returncode == STATUSES.get(line, 0), f"{filled(line)}\n{done.stdout[-4000:]}\n{done.stderr[-3000:]}"
    return folder


@pytest.mark.parametrize("line", [line for line in RUN if not SLOW.match(line)])
def test_a_printed_line_runs(line: str, project: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    folder = ran(line, project, tmp_path)
    if "gh api" in line:
        assert (folder / "gh.log").read_text().splitlines()[1:] == [
            "api repos/painters/painter/issues/7/comments --field body=@comment.md"
        ]


@pytest.mark.full
@pytest.mark.parametrize("line", [line for line in RUN if SLOW.match(line)])
def test_a_long_running_printed_line(line: str, project: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    prepared, variables = project
    if line == COLD:
        variables = shell(Path(sys.executable), tmp_path / "tools")
    ran(line, (prepared, variables), tmp_path)


@pytest.mark.parametrize("line", OTHERS)
def test_a_line_for_a_different_folder_names_existing_files(line: str, pytester: pytest.Pytester) -> None:
    words = shlex.split(line.partition("DIFFBENCH_REGENERATE_GOLDEN=1 ")[2] or line)
    if words[0] == "make":
        subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True)
    elif words[0] == "pytest":
        own = [word for word in words[1:] if word not in ("tests/benchmarks", "tests/report", "docs/examples")]
        options.resolve(pytester.parseconfig(*own), {}, "test")
    elif "pip" in words:
        names = [
            word.partition("[") for word in words[words.index("install") + 1 :] if not word.startswith((".", "-"))
        ]
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        for name, _, extra in names:
            assert name == project["name"]
            assert not extra or extra.rstrip("]") in project["optional-dependencies"]
    else:
        script = next(word for word in words if word.endswith(".py"))
        source = (ROOT / script).read_text(encoding="utf-8")
        for option in [word for word in words if word.startswith("--")]:
            assert f'"{option}"' in source, f"{script} has no {option}"


def test_every_exception_is_needed() -> None:
    assert len(RUN) >= 70
    assert [pattern for pattern in ELSEWHERE if not any(re.fullmatch(pattern, line) for line in PRINTED)] == []
    assert STATUSES.keys() | {COLD} <= set(RUN)
