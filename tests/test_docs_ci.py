"""The page on continuous integration shows recipes that are files; `test_docs_commands.py` runs their steps."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from test_docs_commands import steps

DOCS = Path(__file__).parent.parent / "docs"
WORKFLOW = DOCS / "examples" / "ci" / "pull-request.yml"


def test_the_page_shows_the_files_unchanged() -> None:
    shown = re.findall(r"```yaml\n(.*?)```", (DOCS / "ci.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert shown == [recipe.read_text(encoding="utf-8") for recipe in (WORKFLOW, WORKFLOW.with_name("gitlab.yml"))]


def test_a_failure_to_create_the_base_fails_the_step(tmp_path: Path) -> None:
    (step,) = [step for step in steps(WORKFLOW) if "diffbench env" in step]
    program = tmp_path / "diffbench"
    program.write_text("#!/bin/sh\nexit 2\n")
    program.chmod(0o700)
    github_env = tmp_path / "variables"
    variables = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "GITHUB_ENV": str(github_env),
        "GITHUB_BASE_REF": "x",
    }
    # as GitHub's runners call it
    assert subprocess.run(["bash", "-e", "-c", step], env=variables, check=False).returncode == 2
    assert not github_env.exists()
