"""Changes that no gate may call worse, in the pipelines that faults are planted in."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from benign_table import BENIGN, Benign
from fault_subjects import SUBJECTS, measured, measured_afresh, verdicts

if TYPE_CHECKING:
    from warm_python import WarmPython

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("real_libraries")]


@pytest.mark.parametrize("change", BENIGN, ids=lambda change: f"{change.name} ({change.subject})")
def test_a_benign_change_is_the_same(change: Benign, tmp_path: Path, warm_python: WarmPython) -> None:
    if change.compiler and shutil.which("g++") is None:
        pytest.skip("needs g++")
    subject = SUBJECTS[change.subject]
    assert subject.accepted
    if change.fresh:
        # of a forked process only the threads are its own
        python = warm_python.executable if change.threads > 1 else Path(sys.executable)
        measurement = measured_afresh(python, change.subject, change.threads, tmp_path)
    else:
        measurement = measured(subject, change.plant, **change.arguments)
    verdicts_by_gate = verdicts(subject, measurement)
    words_by_gate = {gate: (verdict.decision, verdict.message) for gate, verdict in verdicts_by_gate.items()}
    if change.pieces:
        work = verdicts_by_gate.pop("work")
        assert work.reason in ("work.operators", "work.python_calls"), work.message
        assert work.decision == "unsure"
    assert {verdict.decision for verdict in verdicts_by_gate.values()} == {"same"}, words_by_gate
