"""A session's file of schema 1, as the version before wrote it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_diffbench.records import SESSION_SCHEMA
from pytest_diffbench.records.details import TimeDetails
from pytest_diffbench.report import session_json
from pytest_diffbench.report.session_json import migrated

OLD = Path(__file__).parent / "old" / "session-1.json"


def test_an_old_session_is_read_with_all_decisions() -> None:
    old = json.loads(OLD.read_text(encoding="utf-8"))
    session = session_json.load(OLD)
    assert (old["schema"], session.schema) == (1, SESSION_SCHEMA)
    for before, after in zip(old["cases"], session.cases, strict=True):
        assert after.observation.case.id == before["observation"]["case"]["id"]
        for verdict, kept in zip(before["verdicts"], after.verdicts, strict=True):
            assert (kept.gate, kept.decision, kept.reason) == (
                verdict["gate"],
                verdict["decision"],
                verdict["reason"],
            )
            assert (kept.message, list(kept.changes)) == (verdict["message"], verdict["changes"])


def test_figures_of_the_same_form_are_kept_and_others_left_out() -> None:
    case = {
        "saved": None,
        "verdicts": [
            {"gate": "time", "reason": "time.same", "details": {"runs": 5, "detectable_rel": 0.12, "spread": "wide"}},
            {
                "gate": "guidance",
                "reason": "guidance.extra_steps",
                "details": {"formerly": "guidance.old", "inert": [1]},
            },
            {"gate": "work", "reason": "work.same", "details": {}},
        ],
    }
    time, guidance, work = migrated({"schema": 1, "cases": [case]})["cases"][0]["verdicts"]
    assert (time["details"]["kind"], time["details"]["runs"], time["details"]["detectable_rel"]) == ("time", 5, 0.12)
    assert TimeDetails(runs=5).days == time["details"]["days"]
    assert (guidance["details"], guidance["formerly"]) == (None, "guidance.old")
    assert work["details"] is None


@pytest.mark.parametrize(
    ("text", "what", "number", "why"),
    [
        ("created", "created", None, ""),
        ("added run 12", "added", 12, ""),
        ("new generation 3", "new_generation", 3, ""),
        ("kept: the plan is the same", "kept", None, "the plan is the same"),
        ("refused: the test failed", "refused", None, "the test failed"),
    ],
)
def test_what_was_saved_is_read(text: str, what: str, number: int | None, why: str) -> None:
    (case,) = migrated({"schema": 1, "cases": [{"saved": text}]})["cases"]
    assert (case["saved"]["what"], case["saved"]["number"], case["saved"]["why"]) == (what, number, why)


def test_a_refuted_save_and_times_begun_anew_are_read() -> None:
    texts = ("created; refuted by a fresh process", "added run 4, from which times count anew")
    refuted, anew = migrated({"schema": 1, "cases": [{"saved": text} for text in texts]})["cases"]
    assert (refuted["saved"]["what"], refuted["saved"]["refuted"]) == ("created", True)
    assert (anew["saved"]["number"], anew["saved"]["times_anew"]) == (4, True)
