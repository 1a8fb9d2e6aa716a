"""Which gate catches which planted fault, for which reason, and where it says that the fault lies.

    OMP_NUM_THREADS=1 python benchmarks/fault_matrix.py [--only WORDS]

Prints the table of docs/verdicts.md: the faults of tests/helpers/fault_table.py, measured and judged one by one.
Exits with 1 where a gate misses its fault. `tests/full/faults/test_faults_matrix.py` holds the same, and the places.
"""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests" / "helpers"), str(ROOT / "tools")]

from fault_subjects import SUBJECTS, measured, verdicts  # noqa: E402  # found by the path that was just set
from fault_table import FAULTS  # noqa: E402

if TYPE_CHECKING:
    from pytest_diffbench.records import Verdict


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="faults whose name holds this")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    print("| fault | pipeline | caught as | where | also worse |\n|---|---|---|---|---|")
    missed = 0
    for fault in FAULTS:
        if options.only not in fault.name:
            continue
        subject = SUBJECTS[fault.subject]
        assert subject.accepted
        verdicts_by_gate = verdicts(subject, measured(subject, fault.plant, rounds=2))
        verdict = verdicts_by_gate[fault.gate]
        missed += verdict.reason not in fault.reasons
        others = [
            other.reason
            for gate, other in verdicts_by_gate.items()
            if gate != fault.gate and other.decision == "worse"
        ]
        also = ", ".join(f"`{reason}`" for reason in others) or "-"
        print(f"| {fault.name} | {fault.subject} | `{verdict.reason}` | {_where(verdict)} | {also} |", flush=True)
    print(f"\n{missed} missed", file=sys.stderr)
    return int(missed > 0)


def _where(verdict: Verdict) -> str:
    trace = getattr(verdict.details, "trace", None)
    place = getattr(verdict.details, "place", None) or (trace.place if trace is not None else None)
    if place is not None:
        return f"`{place}`"
    if trace is not None:
        return "after the decoder"
    difference = verdict.message.partition(": ")[2].partition("; ")[0].rstrip(".") or verdict.message.rstrip(".")
    # figures that follow from the weights say nothing of the place
    return re.split(r" \((?:norm ratio|deviation ratio|residual) ", difference)[0]


if __name__ == "__main__":
    sys.exit(main())
