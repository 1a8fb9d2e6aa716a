"""A loosened threshold from its reason to its history."""

from __future__ import annotations

import pytest
from test_plugin_tolerance import history, run

from pytest_diffbench.commands import main as cli
from pytest_diffbench.report import session_json

pytestmark = pytest.mark.usefixtures("real_libraries")


LOOSE = '@pytest.mark.diffbench(tolerance={"colour_levels": 6}, reason="the lamp is warmer")'


def test_the_life_of_a_loosened_threshold(pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]) -> None:
    run(pytester, "--diffbench-save").assert_outcomes(passed=1)
    assert history(pytester) == []
    run(pytester, "--diffbench", shade=203).assert_outcomes(failed=1)

    looser = run(pytester, "--diffbench", "-v", shade=203, marker=LOOSE)
    looser.assert_outcomes(passed=1)
    (case,) = session_json.load(pytester.path / "session.json").cases
    output = next(verdict for verdict in case.verdicts if verdict.gate == "output")
    assert output.reason == "output.within_tolerance"
    assert any("colour_levels 1 -> 6: the lamp is warmer (not in" in change for change in output.changes)

    run(pytester, "--diffbench-save", shade=203, marker=LOOSE).assert_outcomes(passed=1)
    first = ("colour_levels", 1.0, 6.0, "the lamp is warmer")
    assert history(pytester) == [first]
    run(pytester, "--diffbench-save", shade=203, marker=LOOSE).assert_outcomes(passed=1)
    assert history(pytester) == [first]

    capsys.readouterr()
    assert cli.main(["check", str(pytester.path / "baselines")]) == 0
    assert "tolerance colour_levels 1 -> 6 since 20" in capsys.readouterr().out

    run(pytester, "--diffbench-save").assert_outcomes(passed=1)
    assert history(pytester) == [first, ("colour_levels", 6.0, 1.0, "back to the default")]
