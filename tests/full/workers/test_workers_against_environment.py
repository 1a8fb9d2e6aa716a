"""The same tests under two interpreters: what differs is found, and told where it belongs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from environments_project import HEAD, cases, check_what_differs, run, write

from pytest_diffbench.report import session_json
from pytest_diffbench.workers import turns

if TYPE_CHECKING:
    from pathlib import Path

    from warm_python import WarmPython

pytestmark = pytest.mark.usefixtures("real_libraries", "quick_processes")


@pytest.fixture(params=["processes", "rounds"])
def by(request: pytest.FixtureRequest) -> str:
    """What goes by turns, as an option."""
    if request.param == "rounds" and not turns.SUPPORTED:
        pytest.skip("a process can't be handed a socket here")
    return f"--diffbench-turns={request.param}"


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, warm_python: WarmPython
) -> Path:
    """A project whose package differs between this environment and another; returns the other's interpreter."""
    return warm_python.environment(tmp_path / "base", write(pytester, monkeypatch, tmp_path))


def test_differences_between_two_environments_are_located(pytester: pytest.Pytester, project: Path, by: str) -> None:
    check_what_differs(pytester, project, by, pairs=4)


LOGGED = """
import os
from pathlib import Path
from PIL import Image
import engine

LOG = Path(__file__).with_name("calls.txt")

def paint(shade=200):
    with LOG.open("a") as file:
        file.write("h" if engine.NEW else "b")
    return [Image.new("RGB", (32, 32), (shade, 0, 0))]

def test_first(diffbench):
    diffbench(paint)

def test_second(diffbench):
    diffbench(paint, shade=100)
"""


def test_rounds_of_both_sides_lie_side_by_side(pytester: pytest.Pytester, project: Path) -> None:
    (pytester.path / "test_project.py").write_text(LOGGED)
    (pytester.path / "test_project_new.py").unlink()
    if not turns.SUPPORTED:
        pytest.skip("a process can't be handed a socket here")
    arguments = ("--diffbench-turns=rounds", "--diffbench-pairs=2", "--diffbench-gates=work")
    run(pytester, f"--diffbench-against={project}", *arguments)
    calls = (pytester.path / "calls.txt").read_text()
    # A call of microseconds has to be warmed up for longer on one side now and then.
    halves = [set(calls[i : i + 2]) for i in range(0, 40, 2)]
    assert sum(half == {"b", "h"} for half in halves) > 15, calls
    assert "bbb" not in calls[:40], calls


INTERRUPTING = """
from pytest_diffbench.workers.launch import Launcher

STARTED = []

def interrupt(name, after):
    made = getattr(Launcher, name)

    def launch(self, *args, **kwargs):
        STARTED.append(args)
        if len(STARTED) > after:
            raise KeyboardInterrupt
        return made(self, *args, **kwargs)

    setattr(Launcher, name, launch)

interrupt("launch", 8)
interrupt("launch_interleaved", 4)
"""


def test_an_interruption_keeps_the_finished_pairs(pytester: pytest.Pytester, project: Path, by: str) -> None:
    pytester.makeconftest(INTERRUPTING)
    tests = ("-k", "test_steady or test_slower", by)
    result = run(pytester, f"--diffbench-against={project}", "--diffbench-pairs=5", *tests)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    cases_by_name = cases(pytester)
    assert session_json.load(pytester.path / "session.json").interrupted
    assert {name: [verdict.reason for verdict in case.verdicts] for name, case in cases_by_name.items()} == {
        "test_steady": ["time.same"],
        "test_slower[a::b [c]]": ["time.slower"],
        "test_slower[a::b [c]]#steady": ["time.same"],
    }
    assert {len(case.pairs) for case in cases_by_name.values()} == {4}
    result.stdout.fnmatch_lines(["*test_slower*", "*interrupted*the session ended early*"])


def test_a_side_without_measurements_is_an_error_and_so_is_the_same_code_on_both(
    pytester: pytest.Pytester, project: Path, by: str
) -> None:
    result = run(pytester, f"--diffbench-against={project}", by, "test_project_new.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*the other environment (*python) measured no test*cannot import name 'added'*"])

    # A package beside the tests is found by both sides: nothing that happens to it can be seen.
    (pytester.path / "engine.py").write_text(HEAD)
    result = run(
        pytester,
        f"--diffbench-against={project}",
        "--diffbench-turns=processes",
        "--diffbench-pairs=1",
        "--diffbench-max-time=600",
        "-k",
        "steady",
        "--diffbench-gates=work,output",
    )
    result.stdout.fnmatch_lines(["*both environments import engine from *differences in it have no effect*"])
