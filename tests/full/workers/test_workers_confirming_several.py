"""A test with several cases shares its part of the error budget among them."""

from __future__ import annotations

import pytest
from paced_project import PACED, Paced

from pytest_diffbench.records.details import TimeDetails
from pytest_diffbench.report import session_json

pytestmark = pytest.mark.usefixtures("real_libraries", "quick_processes")


SEVERAL = """
def test_several(diffbench):
    diffbench(paint)
    diffbench(paint, shade=100, label="dark")
    diffbench(paint, shade=50, label="darker")

def test_one(diffbench):
    diffbench(paint)
"""


def test_the_cases_of_a_test_share_the_part_of_the_error_budget(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Paced(pytester, monkeypatch, PACED + SEVERAL)
    project.run("--diffbench", paces=[1.0]).assert_outcomes(passed=2)
    parts = {
        case.observation.case.id.partition("::")[2]: verdict.details.decisions
        for case in session_json.load(pytester.path / "session.json").cases
        for verdict in case.verdicts
        if isinstance(verdict.details, TimeDetails)
    }
    assert parts == {"test_several": 6, "test_several#dark": 6, "test_several#darker": 6, "test_one": 2}
