"""Tests that a plugin runs several times: one record a test, of the last attempt, and one run a session."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from pytest_diffbench.report import comment, session_json
from pytest_diffbench.report.sentences.saving import saved_text
from pytest_diffbench.workers import exchange

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_diffbench.records import SessionReport

pytestmark = pytest.mark.usefixtures("real_libraries")

TARGET = """
import numpy as np
import pytest

SOUND = np.tile(np.arange(32, dtype=np.uint8)[:, None, None] * 5, (1, 32, 3))
calls = []

def paint(size=32):
    return [SOUND]
"""

FAILS_FIRST = """
@pytest.mark.usefixtures("benchmark")
def test_paint(diffbench):
    calls.append(1)
    diffbench(paint, size=len(calls))
    assert len(calls) > 1

def test_other(diffbench):
    diffbench(paint)
"""

# What each plugin does, without its options: their mechanisms differ, and all three are in use.
RERUNS_THE_PROTOCOL = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):  # as pytest-rerunfailures: each attempt is logged
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    while any(one.failed for one in reports):
        for one in reports:
            one.outcome = "rerun" if one.failed else one.outcome
            item.ihook.pytest_runtest_logreport(report=one)
        item._initrequest()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for one in reports:
        item.ihook.pytest_runtest_logreport(report=one)
    return True

def pytest_report_teststatus(report):
    return ("rerun", "R", "RERUN") if report.outcome == "rerun" else None
"""
RETRIES_WITHIN_THE_REPORT = """
import pytest

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):  # as pytest-retry: the first report stands for all, and is logged twice
    report = yield
    if call.when == "call" and report.failed:
        item.ihook.pytest_runtest_teardown(item=item, nextitem=pytest.Class.from_parent(item.session, name="none"))
        report.outcome = "retried"
        item.ihook.pytest_runtest_logreport(report=report)
        item._initrequest()
        item.ihook.pytest_runtest_setup(item=item)
        call = pytest.CallInfo.from_call(lambda: item.ihook.pytest_runtest_call(item=item), when="call")
        again = pytest.TestReport.from_item_and_call(item, call)
        report.outcome, report.longrepr = again.outcome, again.longrepr
    return report

def pytest_report_teststatus(report):
    return ("retried", "R", "RETRY") if report.outcome == "retried" else None
"""
LOGS_THE_LAST_ALONE = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):  # as flaky: nobody hears of the attempts before
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    while any(one.failed for one in reports):
        item._initrequest()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for one in reports:
        item.ihook.pytest_runtest_logreport(report=one)
    return True
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess(
        *("--diffbench-rounds=1", "--diffbench-gates=output", "--diffbench-json=session.json", *arguments)
    )


def session(project: pytest.Pytester) -> SessionReport:
    return session_json.load(project.path / "session.json")


def ids(project: pytest.Pytester) -> list[str]:
    return [case.observation.case.id for case in session(project).cases]


@pytest.mark.parametrize(
    "plugin",
    [RERUNS_THE_PROTOCOL, RETRIES_WITHIN_THE_REPORT, LOGS_THE_LAST_ALONE],
    ids=["protocol", "report", "last alone"],
)
def test_the_last_attempt_at_a_test_is_the_record(project: pytest.Pytester, plugin: str) -> None:
    project.makeconftest(plugin)
    project.makepyfile(test_paint=TARGET + FAILS_FIRST)
    result = run(project, "--diffbench-save", "--junitxml=junit.xml")
    assert result.parseoutcomes()["passed"] == 2
    paint, other = session(project).cases
    assert [paint.observation.case.id, other.observation.case.id] == [
        "test_paint.py::test_paint",
        "test_paint.py::test_other",
    ]
    assert (paint.attempts, other.attempts) == (2, 1)
    assert paint.observation.case.definition.arguments["size"] == 2, "of the first attempt"
    assert (saved_text(paint.saved), saved_text(other.saved)) == ("created", "created")
    assert session(project).counts["unbaselined"] == 2
    result.stdout.fnmatch_lines(["run again     test_paint.py::test_paint: 2 attempts, of which the last counts"])
    assert "- `test_paint.py::test_paint`: 2 attempts" in comment.page(session(project), comment.Links())
    *_, last = ET.parse(project.path / "junit.xml").getroot().findall(".//testcase[@name='test_paint']")
    properties = [(element.get("name"), element.get("value")) for element in last.iter("property")]
    assert ("diffbench.attempts", "2") in properties
    assert ("diffbench.saved", "created") in properties
    assert len({name for name, _ in properties}) == len(properties), "of both attempts"


def test_a_session_adds_a_single_run_to_a_baseline_however_often_a_test_is_run(project: pytest.Pytester) -> None:
    project.makeconftest(RERUNS_THE_PROTOCOL)
    project.makepyfile(
        test_paint=TARGET
        + "@pytest.fixture\ndef ends_badly():\n    yield\n    calls.append(1)\n    assert len(calls) > 1\n"
        + "def test_paint(ends_badly, diffbench):\n    diffbench(paint)\n"
    )
    run(project, "--diffbench-save")
    (case,) = session(project).cases
    assert (case.attempts, saved_text(case.saved)) == (2, "kept: this session has already saved a run of it")
    (file,) = project.path.glob("baselines/*/*/baseline.json")
    assert file.read_text().count('"warmup_s"') == 1


# As pytest-repeat makes them.
REPEATS = """
import pytest

@pytest.fixture
def __pytest_repeat_step_number(request):
    return request.param

@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc):
    metafunc.fixturenames.append("__pytest_repeat_step_number")
    metafunc.parametrize(
        "__pytest_repeat_step_number", range(2), indirect=True, ids=lambda number: f"{number + 1}-2"
    )
"""
PARAMETRISED = """
@pytest.mark.parametrize("size", [1, 2], ids=["1-2", "2-2"])
@pytest.mark.diffbench()
def test_paint(diffbench, size):
    diffbench(paint, size=size)

def test_other(diffbench):
    diffbench(paint)
"""


@pytest.mark.full
def test_repeats_of_a_test_are_a_single_case(project: pytest.Pytester) -> None:
    project.makepyfile(test_paint=TARGET + PARAMETRISED)
    names = [f"test_paint.py::{name}" for name in ("test_paint[1-2]", "test_paint[2-2]", "test_other")]
    run(project, "--diffbench-save").assert_outcomes(passed=3)
    assert ids(project) == names
    project.makeconftest(REPEATS)
    run(project, "--diffbench").assert_outcomes(passed=6)
    assert sorted(ids(project)) == sorted([*names, *names]), "each repeat is judged, and told of"


def test_repeats_of_a_test_add_a_single_run_to_the_baseline(project: pytest.Pytester) -> None:
    project.makepyfile(test_paint=TARGET + "def test_paint(diffbench):\n    diffbench(paint)\n")
    project.makeconftest(REPEATS)
    run(project, "--diffbench-save").assert_outcomes(passed=2)
    assert [saved_text(case.saved) for case in session(project).cases] == [
        "created",
        "kept: this session has already saved a run of it",
    ]


def test_a_further_process_measures_a_repeated_test_once(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project.makeconftest(REPEATS)
    project.makepyfile(test_paint=TARGET + "def test_paint(diffbench):\n    diffbench(paint)\n")
    exchange.give(tmp_path, exchange.Task(tests=("test_paint.py::test_paint",)))
    monkeypatch.setenv(exchange.VARIABLE, str(tmp_path))
    project.runpytest_inprocess("--diffbench", "--diffbench-rounds=1")
    assert [type(message).__name__ for message in exchange.read_lines(tmp_path)] == ["Measured", "Done"]


def test_an_attempt_in_disagreement_with_the_sessions_save_is_refused(project: pytest.Pytester) -> None:
    project.makeconftest(RERUNS_THE_PROTOCOL.replace("while any(one.failed for one in reports)", "if True"))
    project.makepyfile(
        test_paint=TARGET + "def test_paint(diffbench):\n"
        "    calls.append(1)\n    number = len(calls)\n    diffbench(lambda: [SOUND // number])\n"
    )
    run(project, "--diffbench-save").assert_outcomes(passed=1, failed=1)
    (case,) = session(project).cases
    assert saved_text(case.saved).startswith(
        "refused: it differs from what this session saved for it before. Image 0 differs from the baseline: "
    )
