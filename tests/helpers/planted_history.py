"""A project with a history of its own in git: one of its commits makes a pipeline worse, the others don't."""

from __future__ import annotations

import random
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ENGINE = """GUIDED = True
REPEATS = 0
OFFSET = 0.0


def prepare(pipeline):
    \"\"\"Set a pipeline up the way this project does.\"\"\"
    sound, decode = type(pipeline), pipeline.vae.decode

    def forward(*args, **kwargs):
        for _ in range(REPEATS):
            computed(*args, **kwargs)
        return computed(*args, **kwargs)

    def decoded(*args, **kwargs):
        return tuple(part + OFFSET for part in decode(*args, **kwargs))

    if REPEATS:
        computed = pipeline.transformer.forward
        pipeline.transformer.forward = forward
    if OFFSET:
        pipeline.vae.decode = decoded
    if not GUIDED:
        changed = {"do_classifier_free_guidance": property(lambda _: False), "__module__": sound.__module__}
        pipeline.__class__ = type(sound.__name__, (sound,), changed)
    return pipeline
"""

TEST = """
import pytest
from planted_engine import prepare
from tiny_pipelines import build_tiny

def test_paint(diffbench):
    diffbench(prepare(build_tiny("lumina2")), "a red circle", num_inference_steps=2, height=32, width=32)
"""

FAULTS = {
    "guidance": ("GUIDED = True", "GUIDED = False"),
    "work": ("REPEATS = 0", "REPEATS = 1"),
    "output": ("OFFSET = 0.0", "OFFSET = 0.4"),
}
"""By the gate that names it: a line, and what becomes of it."""


def git(folder: Path, *arguments: str) -> str:
    """Run git there; returns what it says."""
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def write_history(folder: Path, commits: int, bad_at: int, fault: str, *, broken: tuple[int, ...] = ()) -> list[str]:
    """Make a repository with one module, and a test beside it.

    Args:
        folder: to be made; `project` in it is the repository, and `test_paint.py` the test.
        commits: how many.
        bad_at: number of the commit that brings the fault, from 1.
        fault: one of `FAULTS`.
        broken: numbers of commits at which the module can't be imported.

    Returns:
        The commits, oldest first.
    """
    project = folder / "project"
    project.mkdir(parents=True)
    git(project, "init", "--quiet", "--initial-branch=main")
    folder.joinpath("test_paint.py").write_text(TEST, encoding="utf-8")
    chance = random.Random(f"{commits}/{bad_at}/{fault}")
    lines = ENGINE
    hashes = []
    for number in range(commits):
        if number == bad_at:
            lines = lines.replace(*FAULTS[fault])
        lines = (
            f"# change {number}: {chance.random()}\n" + lines.partition("\n")[2] if number else "# begun\n" + lines
        )
        text = "import nothing_of_that_name\n" + lines if number in broken else lines
        project.joinpath("planted_engine.py").write_text(text, encoding="utf-8")
        git(project, "add", "-A")
        git(project, "commit", "--quiet", "-m", f"change {number}")
        hashes.append(git(project, "rev-parse", "HEAD"))
    return hashes
