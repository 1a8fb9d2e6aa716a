"""The same tests under two interpreters, for real: what differs is found, and told where it belongs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from paced_project import PACED
from two_environments import make_environment

from pytest_diffbench.measure import clock
from pytest_diffbench.processes import turns
from pytest_diffbench.report import session_json

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_diffbench.records import CaseReport, Verdict

pytestmark = pytest.mark.usefixtures("real_libraries")

TESTS = (
    PACED.replace('round(0.1e9 * STATE["pace"])', "round(0.1e9 * engine.pace(shade))").replace(
        "import pytest\n", "import engine\nimport pytest\n", 1
    )
    + """
def test_steady(diffbench):
    diffbench(paint)

@pytest.mark.parametrize("name", ["a::b [c]"])
def test_slower(diffbench, name):
    diffbench(paint, shade=100)
    diffbench(paint, shade=200, label="steady")

def test_other_picture(diffbench):
    diffbench(lambda: paint(engine.SHADE))

def test_broken_before(diffbench):
    assert engine.NEW
    diffbench(paint)
"""
)
NEW_TESTS = (
    "from engine import added\ndef test_new(diffbench):\n    from test_project import paint\n    diffbench(paint)\n"
)

BASE = "NEW = False\nSHADE = 150\ndef pace(shade):\n    return 1.0\n"
HEAD = "NEW = True\nSHADE = 90\nadded = 1\ndef pace(shade):\n    return 1.5 if shade == 100 else 1.0\n"


def source(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "engine.py").write_text(text, encoding="utf-8")
    return folder


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    (pytester.path / "paces.json").write_text(str([1.0] * 100))
    return pytester.runpytest_subprocess(
        "--diffbench", "--diffbench-rounds=3", "--diffbench-json=session.json", *arguments
    )


@pytest.fixture(params=["processes", "rounds"])
def by(request: pytest.FixtureRequest) -> str:
    """What goes by turns, as an option."""
    if request.param == "rounds" and not turns.SUPPORTED:
        pytest.skip("a process can't be handed a socket here")
    return f"--diffbench-turns={request.param}"


def cases(pytester: pytest.Pytester) -> dict[str, CaseReport]:
    return {
        one.observation.case.id.partition("::")[2]: one
        for one in session_json.load(pytester.path / "session.json").cases
    }


def verdict(case: CaseReport, gate: str) -> Verdict:
    return next(one for one in case.verdicts if one.gate == gate)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A project whose package differs between this environment and another; returns the other's interpreter."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.setattr(clock, "now_ns", clock.now_ns)
    pytester.makepyfile(test_project=TESTS, test_project_new=NEW_TESTS)
    base = make_environment(tmp_path / "base", source(tmp_path / "base_source", BASE))
    # This environment finds its own by a variable, which the other one must not follow.
    monkeypatch.setenv("PYTHONPATH", str(source(tmp_path / "head_source", HEAD)), prepend=":")
    return base


def test_what_differs_between_two_environments_is_found_where_it_is(
    pytester: pytest.Pytester, project: Path, by: str
) -> None:
    result = run(pytester, f"--diffbench-against={project}", by, "--diffbench-pairs=4", "--junitxml=junit.xml")
    result.assert_outcomes(passed=3, failed=2)
    found = cases(pytester)
    slower, steady = found["test_slower[a::b [c]]"], found["test_slower[a::b [c]]#steady"]
    assert verdict(slower, "time").reason == "time.slower", verdict(slower, "time")
    assert verdict(slower, "time").details["ratio"] == pytest.approx(1.5, rel=0.01)
    assert verdict(slower, "time").details["by_turns"] is by.endswith("rounds")
    assert verdict(slower, "output").reason == "output.same_bits"
    assert (len(slower.pairs), slower.against, slower.baseline_path) == (4, str(project), str(project))
    assert [verdict(one, "time").reason for one in (steady, found["test_steady"])] == ["time.same"] * 2

    other_picture = found["test_other_picture"]
    assert (verdict(other_picture, "output").reason, verdict(other_picture, "time").reason) == (
        "output.differs",
        "time.same",
    )
    broken, new = found["test_broken_before"], found["test_new"]
    for case, why in ((broken, "the test failed (call): *assert *"), (new, "*wasn't found there: *added*")):
        assert {one.decision for one in case.verdicts} <= {"unbaselined", "incomparable", "same"}
        assert verdict(case, "time").reason == "time.no_baseline"
        pytest.LineMatcher([verdict(case, "time").message]).fnmatch_lines([f"*{why}*"])
    assert not (pytester.path / "baselines").exists()
    assert session_json.load(pytester.path / "session.json").missing_baselines == ()
    result.stdout.fnmatch_lines(["diffbench: pair 1*", "diffbench: pair 4*"])
    result.stdout.no_fnmatch_line("*both environments import*")
    result.stdout.no_fnmatch_line("*--diffbench-save*")


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
    assert sum(one == {"b", "h"} for one in halves) > 15, calls
    assert "bbb" not in calls[:40], calls


INTERRUPTING = """
from pytest_diffbench.processes.launch import Launcher

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
interrupt("launch_by_turns", 4)
"""


def test_an_interruption_keeps_the_pairs_that_are_there(pytester: pytest.Pytester, project: Path, by: str) -> None:
    pytester.makeconftest(INTERRUPTING)
    tests = ("-k", "test_steady or test_slower", by)
    result = run(pytester, f"--diffbench-against={project}", "--diffbench-pairs=5", *tests)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    found = cases(pytester)
    assert session_json.load(pytester.path / "session.json").interrupted
    assert {name: [one.reason for one in case.verdicts] for name, case in found.items()} == {
        "test_steady": ["time.same"],
        "test_slower[a::b [c]]": ["time.slower"],
        "test_slower[a::b [c]]#steady": ["time.same"],
    }
    assert {len(case.pairs) for case in found.values()} == {4}
    result.stdout.fnmatch_lines(["*test_slower*", "*interrupted*the session ended early*"])


def test_a_side_that_measures_nothing_is_an_error_and_so_is_the_same_code_on_both(
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
    result.stdout.fnmatch_lines(["*both environments import engine from *no difference in it can be seen*"])
