"""What is true of the machine or of all baselines and not of one case, said once for a session."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pytest_diffbench.judge.reasons import REASONS
from pytest_diffbench.report.figures import figure_of
from pytest_diffbench.report.units import format_count, format_percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.records import CaseReport, Verdict

_OFF_PACE = ("time.machine_slower", "time.machine_faster")
_CROWDED = "time.crowded"
_FEW = ("time.few_runs", "time.few_days", "time.ratio_few_runs")
_OTHER = ("time.other_machine", "time.hardware", "memory.other_machine", "memory.hardware")


def is_about_machine(verdict: Verdict) -> bool:
    """Whether a verdict says nothing of its case: the machine is another one, or too little of it is recorded."""
    return verdict.reason in (*_OFF_PACE, _CROWDED, *_OTHER, *_FEW)


def machine_lines(reports: Sequence[CaseReport]) -> list[str]:
    """One sentence for each thing that keeps times or memory of several cases from being judged."""
    verdicts = [verdict for report in reports for verdict in report.verdicts]
    lines = []
    ratios = [
        float(ratio)
        for verdict in verdicts
        if verdict.reason in _OFF_PACE and (ratio := figure_of(verdict, "machine_ratio")) is not None
    ]
    if ratios:
        lines.append(
            f"this machine does reference work {_pace_text(ratios)} than it did when the baselines were recorded"
            f" ({format_count(len(ratios), 'case')}): times are shown, not judged"
        )
    few = [verdict for verdict in verdicts if verdict.reason in _FEW]
    if few:
        detectable_rels = [float(rel) for verdict in few if (rel := figure_of(verdict, "detectable_rel")) is not None]
        least = (
            f", so nothing under {format_percent(min(detectable_rels), signed=True)} would be seen"
            if detectable_rels
            else ""
        )
        lines.append(
            f"too few runs or days are recorded to know how far times spread ({format_count(len(few), 'case')})"
            f"{least}: save on more days"
        )
    crowded = sum(verdict.reason == _CROWDED for verdict in verdicts)
    if crowded:
        lines.append(
            f"other processes had the processors while {format_count(crowded, 'case')} ran:"
            " times are shown, not judged"
        )
    elsewhere = [verdict for verdict in verdicts if verdict.reason in _OTHER]
    others = Counter((verdict.gate, verdict.message) for verdict in elsewhere)
    for message in dict.fromkeys(message for _, message in others):
        count = max(count for (_, text), count in others.items() if text == message)
        lines.append(f"{message} ({format_count(count, 'case')})")
    return lines + list(dict.fromkeys(REASONS[verdict.reason].remedy for verdict in elsewhere))


def _pace_text(ratios: Sequence[float]) -> str:
    """Such as `1.6x slower`, or `up to 1.2x slower or faster`."""
    slowest, fastest = max(ratios), min(ratios)
    if slowest > 1 > fastest:
        return f"up to {max(slowest, 1 / fastest):.2g}x slower or faster"
    return f"{slowest:.2g}x slower" if slowest > 1 else f"{1 / fastest:.2g}x faster"
