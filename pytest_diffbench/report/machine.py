"""What is true of the machine and not of a case, said once for a session."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import TYPE_CHECKING

from pytest_diffbench.report.units import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.records import CaseReport, Verdict

_OFF_PACE = ("time.machine_slower", "time.machine_faster")
_CROWDED = "time.crowded"
_OTHER = ("time.other_machine", "time.hardware", "memory.other_machine", "memory.hardware")


def is_about_machine(verdict: Verdict) -> bool:
    """Whether a verdict says nothing of its case: the machine is another one, or another one today."""
    return verdict.reason in (*_OFF_PACE, _CROWDED, *_OTHER)


def machine_lines(reports: Sequence[CaseReport]) -> list[str]:
    """One sentence for each thing that the session's machine keeps from being judged."""
    verdicts = [one for report in reports for one in report.verdicts]
    lines = []
    ratios = [
        float(one.details["machine_ratio"])
        for one in verdicts
        if one.reason in _OFF_PACE and "machine_ratio" in one.details
    ]
    if ratios:
        ratio = statistics.median(ratios)
        kind, times = ("slower", ratio) if ratio > 1 else ("faster", 1 / ratio)
        lines.append(
            f"this machine does reference work {times:.2g}x {kind} than it did when the baselines were recorded"
            f" ({format_count(len(ratios), 'case')}): times are shown, not judged"
        )
    crowded = sum(one.reason == _CROWDED for one in verdicts)
    if crowded:
        lines.append(
            f"other processes had the processors while {format_count(crowded, 'case')} ran:"
            " times are shown, not judged"
        )
    others = Counter((one.gate, one.message) for one in verdicts if one.reason in _OTHER)
    said = Counter(message for _, message in others)
    for message in said:
        count = max(count for (_, text), count in others.items() if text == message)
        lines.append(f"{message} ({format_count(count, 'case')})")
    return lines
