"""Every planted fault is caught by its gate, for its reason, at its place; `benchmarks/fault_matrix.py` tells how."""

from __future__ import annotations

from collections import Counter

import pytest
from fault_checks import check_caught, title
from fault_subjects import SUBJECTS, measured, verdicts
from fault_table import FAULTS, Fault

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("real_libraries")]


@pytest.mark.parametrize("fault", FAULTS, ids=title)
def test_a_fault_is_caught_by_the_right_gate_at_the_right_place(fault: Fault) -> None:
    check_caught(fault)


@pytest.mark.parametrize("name", sorted({fault.subject for fault in FAULTS}))
def test_a_fault_is_taken_out_again(name: str) -> None:
    subject = SUBJECTS[name]
    assert subject.accepted
    for fault in FAULTS:
        if fault.subject == name:
            with fault.plant(subject.build()):
                pass
    verdicts_by_gate = verdicts(subject, measured(subject))
    assert {gate: verdict.reason for gate, verdict in verdicts_by_gate.items()} == {
        "work": "work.same",
        "guidance": "guidance.same",
        "output": "output.same_bits",
    }


def test_the_table_tells_the_faults_apart() -> None:
    assert len(FAULTS) >= 36
    names = Counter((fault.gate, fault.name, fault.subject) for fault in FAULTS)
    assert [name for name, count in names.items() if count > 1] == []
