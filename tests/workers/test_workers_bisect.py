"""What `diffbench bisect` refuses before it runs anything, and what it makes of versions."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
import report_factories as make
from planted_history import write_history
from report_records import lumina

from pytest_diffbench.commands import bisect
from pytest_diffbench.commands.bisect import PackageHistory
from pytest_diffbench.commands.bisecting import Bisected, Outcome
from pytest_diffbench.commands.main import main
from pytest_diffbench.errors import DiffbenchError
from pytest_diffbench.records import CaseReport, SaveOutcome
from pytest_diffbench.report import session_json

if TYPE_CHECKING:
    from pathlib import Path


def test_the_wrong_order_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commits = write_history(tmp_path, 2, 1, "work")
    project = f"--project={tmp_path / 'project'}"
    assert main(["bisect", commits[1], commits[0], project, "--in-place", "--", "test_paint.py"]) == 2
    assert "isn't an ancestor of" in capsys.readouterr().err
    assert main(["bisect", "no-such", "main", project, "--", "test_paint.py"]) == 2
    assert "git rev-parse failed" in capsys.readouterr().err


def test_versions_are_the_versions_between_the_two(tmp_path: Path) -> None:
    history = PackageHistory("some", ["1.0", "1.1", "1.10", "2.0"], scratch=tmp_path, pip_arguments=())
    assert history.revisions("1.1", "2.0") == ["1.1", "1.10", "2.0"]
    with pytest.raises(DiffbenchError, match=r"some 3\.0: there is no such version"):
        history.revisions("1.0", "3.0")
    bisected = Bisected("1.10", "1.1", (), (), 3)
    assert history.reproduce(bisected, ["a b.py"]) == (
        "echo some==1.1 > good.txt && pip install some==1.10 && "
        "pytest --diffbench-against=\"$(diffbench env good.txt)\" 'a b.py'"
    )


def outcome_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *cases: CaseReport, save: bool = False, status: int = 1
) -> Outcome:
    """What is made of a run of pytest that leaves a session of these cases behind."""

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        (folder / "result.json").write_bytes(session_json.dump(make.session(*cases)))
        return subprocess.CompletedProcess(command, status, "collected\n", "ImportError: no engine\n")

    monkeypatch.setattr(subprocess, "run", run)
    return bisect.Tests(["test_paint.py"], "work", folder).run(bisect.Place("python"), save=save)


def test_what_is_worse_is_detected_and_what_is_not_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert outcome_of(tmp_path, monkeypatch, make.report(lumina("test_a"))) == Outcome()
    outcome = outcome_of(tmp_path, monkeypatch, make.slower())
    assert outcome.broken is None
    assert {finding.fault for finding in outcome.findings} == {
        (make.slower().observation.case.id, gate) for gate in ("work", "guidance", "output", "time")
    }


def test_an_unjudgeable_revision_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = make.report(lumina("test_a"))
    stopped = CaseReport(observation=lumina("test_b"), verdicts=(), error="the device ran out of memory")
    refused = make.unbaselined(lumina("test_c"), saved=SaveOutcome(what="refused", why="the rounds spread"))
    new = CaseReport(observation=lumina("test_d"), verdicts=(make.verdict("work", "no_baseline", "unbaselined"),))
    assert outcome_of(tmp_path, monkeypatch, sound, stopped).broken == stopped.error
    assert outcome_of(tmp_path, monkeypatch, sound, status=4).broken == "ImportError: no engine"
    assert outcome_of(tmp_path, monkeypatch).broken == "ImportError: no engine"
    assert outcome_of(tmp_path, monkeypatch, new).broken == "work.no_baseline"
    assert outcome_of(tmp_path, monkeypatch, sound, new) == Outcome()
    assert outcome_of(tmp_path, monkeypatch, refused, save=True).broken == (
        "nothing can be saved as the baseline: the rounds spread"
    )
