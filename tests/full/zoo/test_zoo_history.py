"""Faults that this field has had, put back for a while: what finds each beside a baseline, and what without one."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import historical_faults
import pytest
import zoo_entry
import zoo_kinds
from historical_faults import ELSEWHERE, HISTORY
from historical_plants import global_noise
from zoo_table import ENTRIES

from pytest_diffbench.invariants import CODES, verify
from pytest_diffbench.judge import Limits, judge
from pytest_diffbench.records import baseline_of
from pytest_diffbench.records.artifacts import Reference

if TYPE_CHECKING:
    from typing import Any

    from historical_faults import Historic

    from pytest_diffbench.records import Gate, Verdict

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.usefixtures("one_thread")

GATES: tuple[Gate, ...] = ("work", "guidance", "output", "memory")


def title(historic: Historic) -> str:
    return f"{historic.reference}-{historic.name}-{historic.about[:20]}"


def subject(historic: Historic) -> tuple[Any, dict[str, Any]]:
    entry = ENTRIES[historic.name]
    pipeline = zoo_entry.build(entry)
    historic.prepare(pipeline)
    return pipeline, zoo_entry.arguments(entry, pipeline) | dict(historic.call)


def verdicts(historic: Historic, *, baseline: bool) -> tuple[Verdict, ...]:
    """What the gates say of the fault."""
    pipeline, arguments = subject(historic)
    arguments |= historic.beside_call(pipeline)
    arguments = {name: value for name, value in arguments.items() if value is not None}
    sound = zoo_kinds.taken(historic.name, pipeline, arguments) if baseline else None
    with historic.plant(pipeline) if historic.plant is not None else contextlib.nullcontext():
        measurement = zoo_kinds.taken(historic.name, pipeline, arguments)
    reference = None
    if sound is not None:
        reference = Reference(baseline_of(sound.observation(complete=True)), "machine", "sound", sound.artifacts)
    return judge(measurement.observation(complete=True), measurement.artifacts(), reference, Limits(), GATES)


def answers(historic: Historic, codes: tuple[str, ...], *, planted: bool = True) -> dict[str, str]:
    pipeline, arguments = subject(historic)
    plant = historic.plant if planted else None
    with plant(pipeline) if plant is not None else contextlib.nullcontext():
        verification = verify(pipeline, arguments, only=codes)
    return {check.code: check.answer for check in verification.checks}


@pytest.mark.parametrize("historic", [entry for entry in HISTORY if entry.beside and not entry.benign], ids=title)
def test_a_fault_of_the_past_is_detected_beside_a_baseline(historic: Historic) -> None:
    decisions_by_reason = {verdict.reason: verdict.decision for verdict in verdicts(historic, baseline=True)}
    assert {reason for reason in historic.beside if decisions_by_reason.get(reason) in ("worse", "unsure")} == set(
        historic.beside
    ), decisions_by_reason


@pytest.mark.parametrize("historic", [entry for entry in HISTORY if entry.alone], ids=title)
def test_a_fault_of_the_past_is_detected_without_a_baseline(historic: Historic) -> None:
    codes = tuple(code for code in historic.alone if code in CODES)
    if codes:
        assert answers(historic, codes) == dict.fromkeys(codes, "broken")
    if reasons := set(historic.alone) - set(codes):
        assert reasons <= {verdict.reason for verdict in verdicts(historic, baseline=False)}


@pytest.mark.parametrize(
    "historic", [entry for entry in HISTORY if entry.plant not in (None, global_noise)], ids=title
)
def test_a_fixed_fault_is_not_detected(historic: Historic) -> None:
    codes = tuple(code for code in historic.alone if code in CODES)
    if codes:
        assert answers(historic, codes, planted=False) == dict.fromkeys(codes, "holds")


@pytest.mark.parametrize("historic", [entry for entry in HISTORY if entry.benign], ids=title)
def test_what_was_no_fault_is_none(historic: Historic) -> None:
    decisions_by_reason = {verdict.reason: verdict.decision for verdict in verdicts(historic, baseline=True)}
    assert "worse" not in decisions_by_reason.values()
    assert {reason for reason, decision in decisions_by_reason.items() if decision == "unsure"} == set(
        historic.beside
    )
    assert "broken" not in answers(historic, ()).values()


def test_what_is_tested_elsewhere_is() -> None:
    for test in (test for elsewhere in ELSEWHERE for test in elsewhere.tests):
        file, _, name = test.partition("::")
        assert f"def {name}" in (ROOT / file).read_text(encoding="utf-8"), test


def test_the_page_has_the_table() -> None:
    assert historical_faults.table() in (ROOT / "docs" / "historical-faults.md").read_text(encoding="utf-8")
