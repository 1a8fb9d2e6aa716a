"""What got worse is explained once: under pytest's failures, and not again in what sums them up."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

pytestmark = pytest.mark.usefixtures("real_libraries", "quick_processes")

TEST = """
import os

import numpy as np

PICTURE = np.tile(np.arange(32, dtype=np.uint8)[:, None, None] * 5, (1, 32, 3))

def paint():
    return PICTURE // 2 if os.environ.get("FAULT") else PICTURE

def test_paint(diffbench):
    diffbench(paint)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    for name in ("CI", "BUILD_NUMBER", "FAULT"):
        monkeypatch.delenv(name, raising=False)
    pytester.makepyfile(test_paint=TEST)
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess("--diffbench-rounds=1", *arguments)


@pytest.mark.parametrize("ci", ["", "true"], ids=["by hand", "in CI"])
@pytest.mark.parametrize(
    ("options", "times", "named"),
    [((), 1, True), (("--tb=no",), 1, False), (("--tb=line",), 1, True), (("-v",), 2, False)],
    ids=["as it is", "--tb=no", "--tb=line", "-v"],
)
def test_what_got_worse_is_explained_once(
    project: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    times: int,
    named: bool,
    ci: str,
) -> None:
    """In CI too, where pytest shortens nothing of the messages that it sums up."""
    monkeypatch.setenv("CI", ci)
    run(project, "--diffbench-save", "--diffbench-gates=output").assert_outcomes(passed=1)
    monkeypatch.setenv("FAULT", "1")
    result = run(project, "--diffbench", "--diffbench-gates=output", "--junitxml=junit.xml", *options)
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert text.count("Image 0 differs from the baseline") == times
    assert ("(explained above)" in text) == named
    summed_up = text.partition("short test summary info")[2].splitlines()[1:-1]
    assert len(summed_up) == 1
    assert summed_up[0].startswith("FAILED test_paint.py::test_paint")
    (failure,) = ET.parse(project.path / "junit.xml").iter("failure")
    assert failure.get("message") == "Failed: diffbench: worse in output"
    assert "Image 0 differs from the baseline" in (failure.text or "")


def test_only_what_the_failure_tells_is_not_told_again(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another case of the same test that is only undecided, and a test that fails by itself, are told in full."""
    two = TEST + "    diffbench(paint, label='second')\n"
    project.makepyfile(test_paint=two)
    run(project, "--diffbench-save", "--diffbench-gates=output").assert_outcomes(passed=1)
    monkeypatch.setenv("FAULT", "1")
    both = run(project, "--diffbench", "--diffbench-gates=work,output")
    both.assert_outcomes(failed=1)
    text = both.stdout.str()
    assert text.count("output.differs  (explained above)") == 2
    assert "work.not_seen  (explained above)" not in text
    assert "work.not_seen  Not judged" in text

    project.makepyfile(test_paint=two + "    assert False\n")
    failing = run(project, "--diffbench", "--diffbench-gates=work,output")
    failing.assert_outcomes(failed=1)
    assert "(explained above)" not in failing.stdout.str()
