"""A suspicion about a test with an odd name, from another folder, confirmed by fresh processes."""

from __future__ import annotations

import pytest
from paced_project import PACED, Paced

pytestmark = pytest.mark.usefixtures("real_libraries", "quick_processes")


def test_a_confirmed_slowdown_is_red_and_says_how_often_confirmed(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = "@pytest.mark.parametrize('name', ['a::b/c [d] é=%'])\ndef test_case(diffbench, name):\n"
    project = Paced(pytester, monkeypatch, PACED + odd + "    diffbench(paint)\n\ndef test_other(): ...\n")
    monkeypatch.chdir(pytester.mkdir("elsewhere"))
    result = project.run("--diffbench", "..", "-k", "test_case", "-x", paces=[1.5] * 5)
    result.assert_outcomes(failed=1, deselected=1)
    assert (project.time().decision, project.time().reason) == ("worse", "time.slower"), project.time()
    assert "confirmed by 2 of 2 fresh processes" in project.time().message
    result.stdout.fnmatch_lines(["*confirmed by 2 of 2 fresh*"])
    assert len(project.case().confirmations) == 2
    assert len(project.left()) == 2, "no more processes than were needed"
    assert [run.median_s for run in project.case().confirmations] == pytest.approx([0.15, 0.15], rel=0.01)
    assert len({run.id for run in (project.case().observation.run, *project.case().confirmations)}) == 3
