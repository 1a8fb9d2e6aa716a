"""A ratio from its first run to its loss, confirmed by fresh processes."""

from __future__ import annotations

import pytest
from test_plugin_compare import (
    COMPARE,
    HEAD,
    cases,
    project,  # noqa: F401 - a fixture
    run,
    time_reason,
    time_verdict,
    write,
)

from pytest_diffbench.report.sentences.saving import saved_text

pytestmark = pytest.mark.usefixtures("real_libraries", "quick_processes")


def test_the_life_of_a_ratio(project: pytest.Pytester) -> None:
    write(project, COMPARE)
    run(project, "--diffbench-save").assert_outcomes(passed=1)
    run(project, "--diffbench").assert_outcomes(passed=1)
    assert {name: time_reason(case) for name, case in cases(project).items()} == {
        "full": "time.same",
        "half": "time.ratio_few_runs",
    }
    for number in (2, 3):
        run(project, "--diffbench-save").assert_outcomes(passed=1)
        assert saved_text(cases(project)["half"].saved) == f"added run {number}"
    run(project, "--diffbench").assert_outcomes(passed=1)
    verdict = time_verdict(cases(project)["half"])
    assert (verdict.reason, verdict.details.runs) == ("time.ratio_same", 3)

    # The definition holds the seconds, so what slows the half has to come from elsewhere.
    slower = HEAD.replace("round(seconds", "round((1.3 if shade == 100 else 1.0) * seconds")
    body = "def test_paint(diffbench):\n    diffbench.compare(paint, seconds=0.1, variants="
    body += '{"full": {}, "half": {"seconds": 0.05, "shade": 100}})\n'
    project.makepyfile(test_paint=slower + body)
    worse = run(project, "--diffbench")
    worse.assert_outcomes(failed=1)
    worse.stdout.fnmatch_lines(["*worse in time*", "*time.ratio_worse*"])
    half = cases(project)["half"]
    assert time_reason(half) == "time.ratio_worse"
    assert "confirmed by 2 of 2 fresh processes" in time_verdict(half).message
    assert [confirming.run for confirming in half.confirming_ratios] == [
        confirmation.id for confirmation in half.confirmations
    ]
    assert time_reason(cases(project)["full"]) == "time.same"
