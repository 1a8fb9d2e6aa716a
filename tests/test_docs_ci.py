"""The page on continuous integration shows a workflow that is a file, whose commands exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from pytest_diffbench.commands import main as cli
from pytest_diffbench.settings import options

DOCS = Path(__file__).parent.parent / "docs"
WORKFLOW = DOCS / "examples" / "ci" / "pull-request.yml"


@pytest.fixture(scope="module")
def commands() -> list[str]:
    """What the workflow runs."""
    workflow: Any = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    return [step["run"] for step in job["steps"] if "run" in step]


def test_the_page_shows_the_file_as_it_is() -> None:
    shown = re.findall(r"```yaml\n(.*?)```", (DOCS / "ci.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert shown == [WORKFLOW.read_text(encoding="utf-8")]


def test_what_it_runs_is_a_command_line_that_pytest_takes(commands: list[str], pytester: pytest.Pytester) -> None:
    (line,) = [one for one in commands if one.startswith("pytest ")]
    words = [word for word in shlex.split(line)[1:] if word != "tests/benchmarks"]
    settings = options.resolve(pytester.parseconfig(*words), {}, "test")
    assert (settings.against, settings.max_time, settings.save) == ("$BASE", 2400.0, False)
    assert settings.json is not None
    assert settings.json.endswith("session.json")


def test_its_other_commands_are_ours(commands: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [match for one in commands for match in re.findall(r"diffbench (?:env|show) [^>)]*", one)]
    assert len(lines) == 2
    parser = cli._parser()
    for line in lines:
        assert parser.parse_args(shlex.split(line)[1:]).run in (cli._env, cli._show)


def test_a_base_that_cannot_be_made_fails_the_step(commands: list[str], tmp_path: Path) -> None:
    (step,) = [one for one in commands if "diffbench env" in one]
    program = tmp_path / "diffbench"
    program.write_text("#!/bin/sh\nexit 2\n")
    program.chmod(0o700)
    told = tmp_path / "variables"
    variables = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "GITHUB_ENV": str(told),
        "GITHUB_BASE_REF": "x",
    }
    # as GitHub's runners call it
    assert subprocess.run(["bash", "-e", "-c", step], env=variables, check=False).returncode == 2
    assert not told.exists()
