"""The examples in the documentation run."""

from __future__ import annotations

import json
import shutil

import pytest
from test_docs import EXAMPLES

from pytest_diffbench.report import session_json
from pytest_diffbench.report.sentences.saving import saved_text


@pytest.mark.pipeline
@pytest.mark.usefixtures("few_blocks", "real_libraries")
def test_the_examples_run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.setenv("PERFORMANCE_LOG", str(pytester.path / "log.jsonl"))
    for path in EXAMPLES:
        shutil.copy(path, pytester.path)
    pytester.makeini("[pytest]\naddopts = --strict-markers\ndiffbench_rounds = 1\ndiffbench_warmup_rounds = 0\n")

    saved = pytester.runpytest_inprocess("--diffbench-save", "--diffbench-json=session.json")
    saved.assert_outcomes(passed=8)
    session = session_json.load(pytester.path / "session.json")
    assert {saved_text(case.saved) for case in session.cases} == {"created"}
    assert len(session.cases) == 12

    compared = pytester.runpytest_inprocess("--diffbench", "--diffbench-json=session.json")
    compared.assert_outcomes(passed=8)
    for case in session_json.load(pytester.path / "session.json").cases:
        decisions = {verdict.gate: verdict.decision for verdict in case.verdicts}
        assert decisions["output"] == "same", case.observation.case.id
        assert "worse" not in decisions.values()

    lines = [json.loads(line) for line in (pytester.path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["case"] for line in lines[:12]] == [case.observation.case.id for case in session.cases]
    assert all(line["median_s"] > 0 for line in lines)

    idle = pytester.runpytest_inprocess()
    idle.assert_outcomes(skipped=8)
