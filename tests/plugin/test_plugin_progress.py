"""What a log shows of a session that measures, beside what pytest writes there."""

from __future__ import annotations

import re

import pytest

TESTS = """
import numpy as np
import pytest


@pytest.mark.diffbench(rounds=2)
@pytest.mark.parametrize("shade", [1, 2])
def test_paint(diffbench, shade):
    print("captured")
    diffbench(lambda: np.full((8, 8, 3), shade, dtype=np.uint8))


def test_other(): ...
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, real_libraries: None) -> pytest.Pytester:
    monkeypatch.setattr("pytest_diffbench.report.progress.LOG_EVERY_S", 0.0)
    pytester.makepyfile(test_paint=TESTS)
    return pytester


def progress(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if line.startswith("diffbench: ") and "tests, " in line]


@pytest.mark.parametrize("options", [(), ("-v",), ("-s",)], ids=" ".join)
def test_a_log_shows_what_is_measured(project: pytest.Pytester, options: tuple[str, ...]) -> None:
    result = project.runpytest_inprocess("--diffbench", "--diffbench-gates=guidance", *options)
    result.assert_outcomes(passed=3)
    lines = [re.sub(r", about \d+ s left$", "", line) for line in progress(result)]
    assert lines[0] == "diffbench: 1 of 2 tests, test_paint[1]: survey"
    assert lines[-1] == "diffbench: 2 of 2 tests, test_paint[2]: round 2 of 2"
    assert ("captured" in result.stdout.str()) == (options == ("-s",))
    if not options:
        result.stdout.fnmatch_lines(["test_paint.py .*100%*"])


def test_a_quiet_session_tells_nothing(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess("--diffbench", "--diffbench-gates=guidance", "-q")
    result.assert_outcomes(passed=3)
    assert progress(result) == []


def test_a_session_of_under_a_minute_tells_nothing(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_diffbench.report.progress.LOG_EVERY_S", 60.0)
    assert progress(project.runpytest_inprocess("--diffbench", "--diffbench-gates=guidance")) == []


def expectations(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if "by earlier sessions" in line]


def test_how_long_it_takes_is_said_once_a_baseline_knows(project: pytest.Pytester) -> None:
    saving = project.runpytest_inprocess("--diffbench-save", "--diffbench-gates=time")
    saving.assert_outcomes(passed=3)
    assert expectations(saving) == [], "nobody knows yet"
    result = project.runpytest_inprocess("--diffbench", "--diffbench-gates=time", "--diffbench-confirm=0")
    (line,) = expectations(result)
    assert re.fullmatch(
        r"diffbench: 2 benchmarks, about \d+ s by earlier sessions on this class of machine", line.strip()
    )
    assert expectations(project.runpytest_inprocess("--diffbench", "--collect-only")) == [], "nothing is measured"
