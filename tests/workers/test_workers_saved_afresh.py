"""What a session saves is returned by a fresh process too, or is told not to hold."""

from __future__ import annotations

import collections

import msgspec
import pytest

from pytest_diffbench.records import SessionReport
from pytest_diffbench.report.sentences.saving import saved_text

pytestmark = [pytest.mark.usefixtures("real_libraries", "quick_processes"), pytest.mark.saved_afresh]

PROJECT = """
import os

import numpy as np
import pytest
from PIL import Image

ONCE = np.random.default_rng().integers(0, 255, (64, 64, 3)).astype("uint8")
CALLS = []


@pytest.mark.diffbench()
def test_sound(diffbench):
    diffbench(lambda: Image.fromarray((np.arange(64 * 64 * 3) % 251).astype("uint8").reshape(64, 64, 3)))


@pytest.mark.diffbench()
def test_drawn_once(diffbench):
    diffbench(lambda: Image.fromarray(ONCE))


@pytest.mark.diffbench()
def test_nothing_returned(diffbench):
    with open("calls", "a") as file:
        file.write("x")
    diffbench(lambda: None)
"""


def session(pytester: pytest.Pytester, *options: str) -> tuple[pytest.RunResult, SessionReport]:
    result = pytester.runpytest(*options, "-p", "no:cacheprovider", "--diffbench-json=report.json")
    return result, msgspec.json.decode((pytester.path / "report.json").read_bytes(), type=SessionReport)


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(PROJECT)
    return pytester


def saved(report: SessionReport) -> dict[str, str | None]:
    return {case.observation.case.id.rpartition("::")[2]: saved_text(case.saved) for case in report.cases}


def test_what_a_different_process_does_not_return_is_red_and_named(project: pytest.Pytester) -> None:
    result, report = session(project, "--diffbench-save")
    result.assert_outcomes(passed=3)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert saved(report) == {
        "test_sound": "created",
        "test_drawn_once": "created; refuted by a fresh process",
        "test_nothing_returned": "created",
    }
    result.stdout.fnmatch_lines(
        ["*::test_drawn_once: a fresh process returned something else (output.differs). Image 0 differs*"]
    )
    result.stdout.no_fnmatch_line("*::test_sound: *fresh process*")
    assert (project.path / "calls").read_text() == "x", "a test that returned nothing isn't run once more"


@pytest.mark.full
def test_a_test_needing_the_whole_process_is_run_as_a_whole(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_rounds="""
import numpy as np
import pytest
from PIL import Image


@pytest.mark.diffbench(rounds="auto")
def test_needs_rounds(diffbench):
    result = diffbench(lambda: Image.fromarray((np.arange(192) % 251).astype("uint8").reshape(8, 8, 3)))
    assert len(result.observation.run.rounds) > 1
"""
    )
    result, report = session(project, "--diffbench-save", "-k", "sound or rounds")
    assert result.ret == 0
    assert saved(report) == {"test_sound": "created", "test_needs_rounds": "created"}
    result.stdout.no_fnmatch_line("*fresh process confirmed*")
    result.stdout.fnmatch_lines(
        ["diffbench: 2 of 2 tests, 2 saved tests: fresh process to check that they return the same*"]
    )


@pytest.mark.full
def test_a_fresh_process_calls_no_more_than_needed(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_calls="""
import os

import numpy as np
import pytest
from PIL import Image


def paint(shade=0):
    with open("pids", "a") as file:
        print(os.getpid(), file=file)
    return Image.fromarray(((np.arange(192) + shade) % 251).astype("uint8").reshape(8, 8, 3))


@pytest.mark.diffbench()
def test_single(diffbench):
    diffbench(paint)


@pytest.mark.diffbench()
def test_variants(diffbench):
    diffbench.compare(paint, variants={"dark": {}, "light": {"shade": 9}})
"""
    )
    result, report = session(project, "--diffbench-save", "-k", "single or variants")
    assert result.ret == 0
    assert set(saved(report).values()) == {"created"}
    result.stdout.no_fnmatch_line("*fresh process confirmed*")
    calls = collections.Counter((project.path / "pids").read_text().split())
    # one of the single test, and of each variant two, as a ratio needs
    assert [calls[pid] for pid in list(calls)[1:]] == [1 + 2 * 2]


@pytest.mark.full
def test_what_is_added_to_is_not_looked_at_again(project: pytest.Pytester) -> None:
    session(project, "--diffbench-save", "-k", "sound or nothing")
    (project.path / "calls").unlink()
    project.makeconftest("import os\nassert 'PYTEST_DIFFBENCH_TASK' not in os.environ, 'a process was started'")
    result, report = session(project, "--diffbench-save", "-k", "sound or nothing")
    assert result.ret == 0
    assert saved(report)["test_sound"] == "added run 2"
    result.stdout.no_fnmatch_line("*fresh process*")


def test_a_process_unable_to_look_is_reported_and_fails_nothing(project: pytest.Pytester) -> None:
    project.makeconftest("import os\nassert 'PYTEST_DIFFBENCH_TASK' not in os.environ, 'no process here'")
    result, report = session(project, "--diffbench-save", "-k", "sound")
    assert result.ret == 0
    assert saved(report) == {"test_sound": "created"}
    result.stdout.fnmatch_lines(["*::test_sound: no fresh process confirmed its output: *"])


@pytest.mark.parametrize(
    ("option", "words"), [("--diffbench-confirm=0", ""), ("--diffbench-max-time=0.001", "no fresh process confirmed")]
)
def test_without_allowed_processes_none_starts(project: pytest.Pytester, option: str, words: str) -> None:
    result, report = session(project, "--diffbench-save", "-k", "drawn", option)
    assert result.ret == 0
    assert saved(report) == {"test_drawn_once": "created"}
    assert (words in result.stdout.str()) if words else ("fresh process" not in result.stdout.str())
