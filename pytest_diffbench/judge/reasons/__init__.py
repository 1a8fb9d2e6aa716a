"""Every reason code, with its decision, its meaning and its remedy, and the one way to make a verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_diffbench.judge.reasons import guidance, memory, output, time, work
from pytest_diffbench.judge.reasons.reason import Helps, Reason
from pytest_diffbench.records import Gate, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

_BY_GATE: dict[Gate, tuple[Reason, ...]] = {
    "work": work.REASONS,
    "guidance": guidance.REASONS,
    "output": output.REASONS,
    "memory": memory.REASONS,
    "time": time.REASONS,
}

REASONS: dict[str, Reason] = {reason.code: reason for reasons in _BY_GATE.values() for reason in reasons}
"""By code. `docs/verdicts.md` has them as tables."""

_GATE_OF: dict[str, Gate] = {reason.code: gate for gate, reasons in _BY_GATE.items() for reason in reasons}

FORMER_NAMES: dict[str, str] = {
    "guidance.extra_steps": "guidance.truncation_ignored",
    "guidance.missing_steps": "guidance.truncated_too_much",
}
"""What reasons used to be called; a verdict has it as `formerly`, for those who look for it."""

NEVER_ACCEPTED = frozenset(
    code for code, reason in REASONS.items() if reason.decision == "worse" and reason.helps == "neither"
)
"""Wrong whatever the baseline, and never saved."""

INHERENT = frozenset(
    {
        # what the target has, or the device tells
        "work.not_seen",
        "guidance.not_seen",
        "guidance.no_formula",
        "guidance.planned",
        "guidance.steered",
        "memory.not_seen",
        "memory.rough",
        # what more runs cure
        "time.no_baseline",
        "time.few_runs",
        "time.few_days",
        "time.few_pairs",
        "time.ratio_few_runs",
    }
)
"""Reasons of verdicts that `--diffbench-strict` lets through: nothing that a team could put right in this run."""


def verdict(reason: str, message: str = "", *, details: Any = None, changes: Iterable[str] = ()) -> Verdict:
    """Make a gate's verdict; the gate and the decision follow from the reason.

    Raises:
        KeyError: the reason isn't in `REASONS`.
    """
    return Verdict(
        gate=_GATE_OF[reason],
        decision=REASONS[reason].decision,
        reason=reason,
        message=message,
        details=details,
        formerly=FORMER_NAMES.get(reason),
        changes=tuple(changes),
    )
