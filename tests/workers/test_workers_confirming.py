"""A suspicion about time is confirmed by fresh processes, or isn't; whatever becomes of them, nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from paced_project import SINGLE_TEST, Paced

from pytest_diffbench.report.sentences.saving import saved_text
from pytest_diffbench.workers.launch import Launcher

if TYPE_CHECKING:
    from pathlib import Path
    from typing import NoReturn

pytestmark = pytest.mark.usefixtures("real_libraries", "quick_processes")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the baselines of the project are kept for further tests."""
    return tmp_path_factory.mktemp("saved") / "baselines"


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, saved: Path) -> Paced:
    return Paced(pytester, monkeypatch, saved=saved)


def test_a_confirmed_slowdown_is_red_and_says_how_often_confirmed(project: Paced) -> None:
    result = project.run("--diffbench", paces=[1.5] * 5)
    result.assert_outcomes(failed=1)
    assert (project.time().decision, project.time().reason) == ("worse", "time.slower"), project.time()
    result.stdout.fnmatch_lines(["*confirmed by 2 of 2 fresh*"])
    assert len(project.left()) == 2, "no more processes than were needed"
    assert len({run.id for run in (project.case().observation.run, *project.case().confirmations)}) == 3


@pytest.mark.full
def test_what_is_slow_once_is_not_red(project: Paced) -> None:
    project.run("--diffbench", paces=[1.5, 1.0, 1.0, 1.0, 1.0]).assert_outcomes(passed=1)
    assert project.time().decision != "worse"
    assert project.case().confirmations
    assert not any("gave no run" in note for note in project.case().observation.notes)


def test_dying_processes_are_reported_and_lose_nothing(project: Paced) -> None:
    project.run("--diffbench", "--diffbench-confirm=3", paces=[1.5, "exit", "fail", "skip"]).assert_outcomes(passed=1)
    assert project.time().reason == "time.unconfirmed"
    assert project.case().confirmations == ()
    notes = "\n".join(project.case().observation.notes)
    assert "process 1 of at most 3 to confirm the time gave no run: it ended with status 3: the last" in notes
    assert "the test failed (setup): Failed: it has had enough" in notes
    assert "the test was skipped: Skipped: it is Sunday" in notes


@pytest.mark.full
def test_a_hanging_process_is_ended_within_the_time(project: Paced) -> None:
    project.run("--diffbench", "--diffbench-max-time=5", paces=[1.5, "hang"]).assert_outcomes(passed=1)
    notes = "\n".join(project.case().observation.notes)
    assert "didn't end within 5 s" in notes
    assert "no more process to confirm the time: the 5 s of --diffbench-max-time are used up. For 4 more" in notes
    assert project.time().reason == "time.unconfirmed"


class Launches:
    """Stands in for starting processes: counts them, and answers each with an exception."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
        self.count = 0

        def launch(*_: object, **__: object) -> NoReturn:
            self.count += 1
            raise error

        monkeypatch.setattr(Launcher, "launch", launch)


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Launches:
    return Launches(monkeypatch, AssertionError("no process is to be started"))


@pytest.mark.parametrize("pace", [1.0, 1.5], ids=["in vain", "off"])
def test_no_process_is_started_without_a_question(project: Paced, launches: Launches, pace: float) -> None:
    result = project.run("--diffbench", f"--diffbench-confirm={4 if pace == 1.0 else 0}", paces=[pace])
    # With confirming switched off, the first run decides.
    result.assert_outcomes(**{"passed" if pace == 1.0 else "failed": 1})
    assert project.time().reason == ("time.same" if pace == 1.0 else "time.slower")
    assert launches.count == 0


def test_no_process_is_started_without_time_to_end(project: Paced, launches: Launches) -> None:
    project.run("--diffbench", "--diffbench-max-time=.001", paces=[1.5]).assert_outcomes(passed=1)
    assert (project.time().reason, launches.count) == ("time.unconfirmed", 0)
    (note,) = [note for note in project.case().observation.notes if "to confirm the time" in note]
    pytest.LineMatcher([note]).fnmatch_lines(
        ["no process to confirm the time: the next takes about * s, and 0 of the 0.001 s of --diffbench-max-time *"]
    )
    assert "For 4 more processes, give --diffbench-max-time=" in note


def test_saving_confirms_nothing(project: Paced, launches: Launches) -> None:
    project.run("--diffbench-save", paces=[1.5]).assert_outcomes(passed=1)
    assert (saved_text(project.case().saved), launches.count) == ("added run 6, from which times count anew", 0)


def test_a_test_failed_by_itself_confirms_nothing(project: Paced, launches: Launches) -> None:
    project.pytester.makepyfile(test_project=SINGLE_TEST + "    assert False\n")
    project.run("--diffbench", paces=[1.5]).assert_outcomes(failed=1)
    assert (project.time().reason, launches.count) == ("time.unconfirmed", 0)


def test_parallel_workers_confirm_nothing(project: Paced, monkeypatch: pytest.MonkeyPatch) -> None:
    # In the worker's process nothing can be patched; one that were started would take a pace.
    result = project.run("--diffbench", "-n1", paces=[1.5, 1.5])
    result.assert_outcomes(passed=1)
    assert (project.time().reason, project.left()) == ("time.unconfirmed", [1.5])


INTERRUPTING = """
from pytest_diffbench.workers.launch import Launcher

def launch(*_, **__):
    raise KeyboardInterrupt

Launcher.launch = launch
"""


def test_an_interruption_keeps_what_is_there(project: Paced) -> None:
    project.pytester.makeconftest(INTERRUPTING)
    result = project.run("--diffbench", paces=[1.5], subprocess=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert project.time().reason == "time.unconfirmed"
    result.stdout.fnmatch_lines(["*test_case*", "*interrupted*"])


def test_an_unstartable_process_is_reported(project: Paced, monkeypatch: pytest.MonkeyPatch) -> None:
    launches = Launches(monkeypatch, OSError(28, "No space left on device"))
    project.run("--diffbench", paces=[1.5]).assert_outcomes(passed=1)
    assert launches.count == 1
    assert "no process could be started to confirm the time: [Errno 28]" in project.case().observation.notes[-1]
