"""Sessions that are ended in the middle: what was measured is in the session's file, and baselines are sound."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_diffbench.report import session_json
from pytest_diffbench.report.sentences.saving import saved_text
from pytest_diffbench.store import Store

if TYPE_CHECKING:
    from pytest_diffbench.records import SessionReport

pytestmark = [
    pytest.mark.usefixtures("real_libraries", "quick_processes"),
    pytest.mark.skipif(os.name != "posix", reason="kills by signals"),
]

TESTS = """
import os
import signal

import numpy as np

SOUND = np.tile(np.arange(32, dtype=np.uint8)[:, None, None] * 5, (1, 32, 3))

def paint():
    return [SOUND]

def end():
    {end}
    return [SOUND]

def test_first(diffbench):
    diffbench(paint)

def test_second(diffbench):
    diffbench(end)

def test_third(diffbench):
    diffbench(paint)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)
    return pytester


def run(project: pytest.Pytester, end: str, *arguments: str) -> pytest.RunResult:
    """Run three tests in a process of its own, of which the second ends in the middle."""
    project.makepyfile(test_paint=TESTS.format(end=end))
    return project.run(
        *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--diffbench-save", "--diffbench-rounds=1"),
        *("--diffbench-json=session.json", *arguments),
    )


def session(project: pytest.Pytester) -> SessionReport:
    return session_json.load(project.path / "session.json")


def names(report: SessionReport) -> list[str]:
    return [case.observation.case.id.partition("::")[2] for case in report.cases]


def assert_baselines_are_sound(project: pytest.Pytester, *cases: str) -> None:
    store = Store(project.path / "baselines")
    stored = [store.load(folder) for folder in store.entries()]
    assert sorted(entry.baseline.case.id.partition("::")[2] for entry in stored) == sorted(cases)
    assert all(entry.artifacts().images for entry in stored)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_a_killed_session_loses_nothing_measured(project: pytest.Pytester, name: str) -> None:
    (project.path / "session.json").write_text("of another session")
    result = run(project, f"os.kill(os.getpid(), signal.{name})")
    assert result.ret == -getattr(signal, name)
    report = session(project)
    assert report.interrupted
    assert names(report) == ["test_first"]
    assert saved_text(report.cases[0].saved) == "created"
    assert report.counts["unbaselined"]
    assert_baselines_are_sound(project, "test_first")


def test_a_worker_without_last_words_loses_the_test_at_hand_alone(project: pytest.Pytester) -> None:
    """As pytest-timeout's method `thread` does."""
    run(project, "os._exit(1)")
    assert session(project).interrupted
    assert names(session(project)) == ["test_first"]


@pytest.mark.full
def test_a_raising_time_limit_ends_a_single_test(project: pytest.Pytester) -> None:
    """As pytest-timeout's method `signal` does."""
    run(project, "import pytest; pytest.fail('Timeout')").assert_outcomes(passed=2, failed=1)
    report = session(project)
    assert not report.interrupted
    assert names(report) == ["test_first", "test_second", "test_third"]
    assert report.cases[1].error is not None


def test_a_killed_worker_loses_the_test_at_hand_alone(project: pytest.Pytester) -> None:
    result = run(project, "os.kill(os.getpid(), signal.SIGKILL)", "-n1", "--max-worker-restart=1")
    result.stdout.fnmatch_lines(["*worker 'gw0' crashed while running 'test_paint.py::test_second'*"])
    report = session(project)
    assert report.interrupted, "a test that was begun has left nothing"
    assert names(report) == ["test_first", "test_third"]
    result.stdout.fnmatch_lines(["interrupted *"])


def test_workers_hand_over_every_test_at_the_end_of_the_test(project: pytest.Pytester) -> None:
    """The whole session is killed, workers and all, while one of them is in its second test."""
    project.makeconftest("import os\nos.environ.setdefault('CONTROLLER', str(os.getpid()))\n")
    result = run(project, "os.kill(int(os.environ['CONTROLLER']), signal.SIGKILL); os._exit(1)", "-n1")
    assert result.ret == -signal.SIGKILL
    assert session(project).interrupted
    assert names(session(project)) == ["test_first"]


@pytest.mark.full
def test_a_session_with_a_normal_end_leaves_no_journal(project: pytest.Pytester) -> None:
    run(project, "pass").assert_outcomes(passed=3)
    assert not session(project).interrupted
    assert [path.name for path in project.path.glob("*session.json*")] == ["session.json"]
