"""A night on which nothing was judged is not green: skipped benchmarks, other definitions, how strict is strict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_diffbench.judge.reasons import INHERENT, REASONS
from pytest_diffbench.report import comment, session_json
from pytest_diffbench.report.lines import plain
from pytest_diffbench.report.terminal import summary_lines

if TYPE_CHECKING:
    from pytest_diffbench.records import SessionReport

pytestmark = pytest.mark.usefixtures("real_libraries", "quick_processes")

TESTS = """
import numpy as np
import pytest

SOUND = np.tile(np.arange(32, dtype=np.uint8)[:, None, None] * 5, (1, 32, 3))

def paint(size=32, **kwargs):
    return [SOUND]

@pytest.mark.diffbench(model="folder", weights="pretrained")
def test_missing(diffbench, diffbench_pipeline):
    diffbench(diffbench_pipeline, "a red circle")

@pytest.mark.skip(reason="not today")
def test_own_skip(diffbench): ...

def test_paint(diffbench):
    diffbench(paint)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makepyfile(test_it=TESTS)
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess("--diffbench-rounds=1", "--diffbench-json=session.json", *arguments)


def session(project: pytest.Pytester) -> SessionReport:
    return session_json.load(project.path / "session.json")


def test_a_session_without_measurements_for_want_of_a_model_fails(project: pytest.Pytester) -> None:
    result = run(project, "--diffbench", "-k", "missing or own")
    result.assert_outcomes(skipped=2, deselected=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["nothing was measured: 1 benchmark was skipped because a pipeline is missing"])
    report = session(project)
    assert [(skipped.test, skipped.missing) for skipped in report.skipped] == [
        ("test_it.py::test_missing", True),
        ("test_it.py::test_own_skip", False),
    ]
    assert report.skipped[1].reason == "not today"
    summary = plain(summary_lines(report, 100, False)).splitlines()
    assert summary[0].startswith("skipped       test_it.py::test_missing: model='folder'"), "the first line of all"
    text = comment.page(report, comment.Links())
    assert "2 skipped" in text
    assert "not today" in text


def test_a_skip_by_the_author_is_left_alone(project: pytest.Pytester) -> None:
    assert run(project, "--diffbench", "-k", "own").ret == pytest.ExitCode.OK


def test_what_is_required_may_not_be_skipped(project: pytest.Pytester) -> None:
    run(project, "--diffbench-save").assert_outcomes(passed=1, skipped=2)
    assert run(project, "--diffbench").ret == pytest.ExitCode.OK
    result = run(project, "--diffbench", "--diffbench-require")
    result.assert_outcomes(passed=1, skipped=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["2 benchmarks were skipped, and --diffbench-require allows none"])
    assert run(project, "--diffbench", "--diffbench-require", "-k", "paint").ret == pytest.ExitCode.OK


def test_what_workers_skipped_is_known_to_the_session(project: pytest.Pytester) -> None:
    result = run(project, "--diffbench", "--diffbench-require", "-k", "own", "-n1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["1 benchmark was skipped, and --diffbench-require allows none"])


def test_tests_without_benchmarks_may_be_skipped(project: pytest.Pytester) -> None:
    project.makepyfile(test_it="import pytest\n@pytest.mark.skip\ndef test_other(): ...\n")
    assert run(project, "--diffbench", "--diffbench-require").ret == pytest.ExitCode.OK
    assert session(project).skipped == ()


@pytest.mark.full
def test_a_different_definition_fails_as_a_missing_baseline_does(project: pytest.Pytester) -> None:
    run(project, "--diffbench-save", "-k", "paint").assert_outcomes(passed=1, deselected=2)
    project.makepyfile(test_it=TESTS.replace("diffbench(paint)", "diffbench(paint, steps=12)"))
    result = run(project, "--diffbench", "-k", "paint")
    result.assert_outcomes(failed=1, deselected=2)
    result.stdout.fnmatch_lines(
        ["*defined differently from its baseline*", "*arguments.steps*12*", "*If the change is intended, accept it:*"]
    )
    run(project, "--diffbench-save", "-k", "paint").assert_outcomes(passed=1, deselected=2)
    run(project, "--diffbench", "-k", "paint").assert_outcomes(passed=1, deselected=2)


HANDING_ON = """
def handing_on(function):
    def inner(*args, **kwargs):
        return function(*args, **kwargs)
    return inner
"""


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [
        ("diffbench(paint, 16)", "diffbench(paint, size=16)", "passed"),
        ("diffbench(paint, 16)", "diffbench(handing_on(paint), 16)", "passed"),
        ("diffbench(handing_on(paint), 16)", "diffbench(handing_on(paint), size=16)", "passed"),
        ("diffbench(handing_on(paint), 16)", "diffbench(handing_on(paint), 8)", "failed"),
    ],
)
def test_what_the_test_passes_is_the_definition(
    project: pytest.Pytester, before: str, after: str, outcome: str
) -> None:
    tests = TESTS.replace("**kwargs", "name='paint'") + HANDING_ON
    tests = tests.replace("def inner", "def paint_inner").replace("return inner", "return named(paint_inner)")
    tests += "def named(function):\n    function.__qualname__ = 'paint'\n    return function\n"
    project.makepyfile(test_it=tests.replace("diffbench(paint)", before))
    run(project, "--diffbench-save", "-k", "test_paint").assert_outcomes(passed=1, deselected=2)
    project.makepyfile(test_it=tests.replace("diffbench(paint)", after))
    run(project, "--diffbench", "-k", "test_paint").assert_outcomes(deselected=2, **{outcome: 1})


def test_strict_is_usable_for_a_plain_callable(project: pytest.Pytester) -> None:
    run(project, "--diffbench-save", "-k", "paint").assert_outcomes(passed=1, deselected=2)
    result = run(
        project, "--diffbench", "--diffbench-strict", "-k", "paint", "--diffbench-gates=work,guidance,output"
    )
    result.assert_outcomes(passed=1, deselected=2)
    (case,) = session(project).cases
    assert {verdict.reason for verdict in case.verdicts} == {"work.not_seen", "guidance.not_seen", "output.same_bits"}
    result.stdout.fnmatch_lines(
        ["*work, guidance: not_seen  Not judged: *", "*nothing of it: the target has no comp*"]
    )


def test_what_strict_lets_through_is_short_of_same_by_nature_or_youth() -> None:
    assert set(REASONS) >= INHERENT
    assert {REASONS[code].decision for code in INHERENT} <= {"incomparable", "unbaselined", "unsure"}
    assert not {code for code in INHERENT if code.startswith("output.")}
