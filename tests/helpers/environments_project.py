"""Tests that two environments run, of which one is slower, paints another picture, and lacks what the other has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from paced_project import PACED

from pytest_diffbench.report import session_json

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_diffbench.records import CaseReport

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


def cases(pytester: pytest.Pytester) -> dict[str, CaseReport]:
    return {
        case.observation.case.id.partition("::")[2]: case
        for case in session_json.load(pytester.path / "session.json").cases
    }


def verdict(case: CaseReport, gate: str) -> Any:
    return next(verdict for verdict in case.verdicts if verdict.gate == gate)


def write(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Write the tests, and the package that differs; returns the other environment's source of it.

    Args:
        pytester: of the project.
        monkeypatch: lets this environment find its own package by a variable, which the other one must not follow.
        folder: of the sources.
    """
    from pytest_diffbench.measure import clock, telemetry
    from pytest_diffbench.measure import pace as machine_pace

    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.setattr(clock, "now_ns", clock.now_ns)
    monkeypatch.setattr(machine_pace, "_prepared", machine_pace._prepared)
    monkeypatch.setattr(telemetry, "Waiting", vars(telemetry)["Waiting"])
    pytester.makepyfile(test_project=TESTS, test_project_new=NEW_TESTS)
    monkeypatch.setenv("PYTHONPATH", str(source(folder / "head_source", HEAD)), prepend=":")
    return source(folder / "base_source", BASE)


def check_what_differs(pytester: pytest.Pytester, project: Path, by: str, pairs: int) -> None:
    """Hold that each difference is found where it is.

    Args:
        pytester: of the project.
        project: the other environment's interpreter.
        by: what goes by turns, as an option.
        pairs: to be made.
    """
    result = run(pytester, f"--diffbench-against={project}", by, f"--diffbench-pairs={pairs}", "--junitxml=junit.xml")
    result.assert_outcomes(passed=3, failed=2)
    cases_by_name = cases(pytester)
    slower, steady = cases_by_name["test_slower[a::b [c]]"], cases_by_name["test_slower[a::b [c]]#steady"]
    assert verdict(slower, "time").reason == "time.slower", verdict(slower, "time")
    assert verdict(slower, "time").details.ratio == pytest.approx(1.5, rel=0.01)
    assert verdict(slower, "time").details.by_turns is by.endswith("rounds")
    assert verdict(slower, "output").reason == "output.same_bits"
    assert (len(slower.pairs), slower.against, slower.baseline_path) == (pairs, str(project), str(project))
    assert [verdict(case, "time").reason for case in (steady, cases_by_name["test_steady"])] == ["time.same"] * 2

    other_picture = cases_by_name["test_other_picture"]
    assert (verdict(other_picture, "output").reason, verdict(other_picture, "time").reason) == (
        "output.differs",
        "time.same",
    )
    broken, new = cases_by_name["test_broken_before"], cases_by_name["test_new"]
    for case, why in ((broken, "the test failed (call): *assert *"), (new, "*wasn't found there: *added*")):
        assert {verdict_of_gate.decision for verdict_of_gate in case.verdicts} <= {
            "unbaselined",
            "incomparable",
            "same",
        }
        assert verdict(case, "time").reason == "time.no_baseline"
        pytest.LineMatcher([verdict(case, "time").message]).fnmatch_lines([f"*{why}*"])
    assert not (pytester.path / "baselines").exists()
    assert session_json.load(pytester.path / "session.json").missing_baselines == ()
    result.stdout.fnmatch_lines(["diffbench: pair 1*", f"diffbench: pair {pairs}*"])
    result.stdout.no_fnmatch_line("*both environments import*")
    result.stdout.no_fnmatch_line("*--diffbench-save*")
