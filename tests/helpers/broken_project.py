"""A user's project with one real pipeline, run again and again in this process, sound and with faults."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_diffbench.report import session_json

if TYPE_CHECKING:
    import pytest

    from pytest_diffbench.records import CaseReport, Decision, Gate, SessionReport


class Project:
    """The project.

    Args:
        pytester: makes its folder, and runs pytest there.
        monkeypatch: puts the environment back.
        test_file: its tests; they plant what the variable `DIFFBENCH_TEST_FAULT` says.
    """

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, test_file: str) -> None:
        self.pytester = pytester
        self.monkeypatch = monkeypatch
        pytester.syspathinsert(Path(__file__).parent)
        # for runs in a process of their own
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        pytester.makepyfile(test_project=test_file)

    def run(self, *args: str, fault: str = "", subprocess: bool = False) -> pytest.RunResult:
        """Run with a fault. Time isn't judged: a fault that costs time would start processes to confirm it."""
        self.monkeypatch.setenv("DIFFBENCH_TEST_FAULT", fault)
        run = self.pytester.runpytest_subprocess if subprocess else self.pytester.runpytest_inprocess
        return run(
            "--diffbench-gates=work,guidance,output,memory",
            "--diffbench-rounds=1",
            "--diffbench-json=session.json",
            "--junitxml=junit.xml",
            *args,
        )

    @property
    def session(self) -> SessionReport:
        """Of the last run."""
        return session_json.load(self.pytester.path / "session.json")

    def case(self, name: str = "test_case") -> CaseReport:
        """A case of the last run by its test's name."""
        return next(case for case in self.session.cases if case.observation.case.id.endswith(f"::{name}"))

    def verdict(self, gate: Gate) -> Any:
        """What a gate said of `test_case`."""
        return next(verdict for verdict in self.case().verdicts if verdict.gate == gate)

    def decisions(self) -> dict[Gate, Decision]:
        """What the gates decided of `test_case`."""
        return {verdict.gate: verdict.decision for verdict in self.case().verdicts}

    def junit_failure(self) -> str:
        """Message of the only failure in JUnit's file; there must be no error."""
        root = ET.parse(self.pytester.path / "junit.xml").getroot()
        assert not root.findall(".//error")
        (failure,) = root.findall(".//failure")
        return str(failure.get("message"))
