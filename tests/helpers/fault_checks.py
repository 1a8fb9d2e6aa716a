"""What must be said of a planted fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

import suite_budget
from fault_subjects import SUBJECTS, measured, verdicts
from fault_table import BEHIND, DOUBTED

if TYPE_CHECKING:
    from fault_table import Fault


def title(fault: Fault) -> str:
    """A fault as a test's id names it."""
    return f"{fault.gate}: {fault.name} ({fault.subject})"


def check_caught(fault: Fault) -> None:
    """Hold that a fault is caught by its gate, for its reason, at its place, and by no gate that it's nothing to."""
    subject = SUBJECTS[fault.subject]
    with suite_budget.shared():
        assert subject.accepted  # measured before anything is broken, once for all of its faults
    rounds = 2 if "output.nondeterministic" in fault.reasons else 1
    verdicts_by_gate = verdicts(subject, measured(subject, fault.plant, rounds=rounds))
    verdict = verdicts_by_gate[fault.gate]
    assert verdict.reason in fault.reasons, verdict.message
    assert verdict.decision in ("worse", "unsure")
    assert verdict.decision == "worse" or verdict.reason in DOUBTED
    assert fault.words in "; ".join([verdict.message, *verdict.changes])
    assert {
        gate: verdicts_by_gate[gate].message for gate in fault.green if verdicts_by_gate[gate].decision == "worse"
    } == {}
    if fault.place == BEHIND:
        assert verdict.details.trace.place is None
        assert "First divergence: after the decoder" in verdict.message
    elif fault.place is not None:
        trace = verdict.details.trace
        assert (verdict.details.place if trace is None else trace.place) == fault.place
