"""Every reason code with the decision it goes with, and the one way to write a verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_diffbench.records import GATES, Decision, Gate, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

REASONS: dict[str, Decision] = {
    **{f"{gate}.incomplete": "unsure" for gate in GATES},
    **{f"{gate}.not_seen": "incomparable" for gate in GATES},
    **{f"{gate}.definition_changed": "incomparable" for gate in GATES if gate != "guidance"},
    **{f"{gate}.no_baseline": "unbaselined" for gate in GATES if gate != "guidance"},
    "work.same": "same",
    "work.less": "better",
    "work.steps": "worse",
    "work.schedule": "worse",
    "work.branches": "worse",
    "work.denoiser_calls": "worse",
    "work.component_calls": "worse",
    "work.shapes": "worse",
    "work.parameters": "worse",
    "work.flops": "worse",
    "work.baseline_not_as_asked": "incomparable",
    "work.attention_mask": "worse",
    "work.compiled": "worse",
    "work.operators": "unsure",
    "work.python_calls": "unsure",
    "guidance.same": "same",
    "guidance.planned": "incomparable",
    "guidance.no_formula": "incomparable",
    "guidance.steered": "incomparable",
    "guidance.unknown": "unsure",
    "guidance.changed": "worse",
    "guidance.steps": "worse",
    "guidance.extra_steps": "worse",
    "guidance.missing_steps": "worse",
    "guidance.wrong_branch": "worse",
    "guidance.wasted_call": "worse",
    "guidance.sign": "worse",
    "guidance.scale": "worse",
    "guidance.renorm_missing": "worse",
    "guidance.renorm_wrong": "worse",
    "guidance.renorm_unasked": "worse",
    "guidance.gain": "worse",
    "output.not_finite": "worse",
    "output.not_kept": "incomparable",
    "output.no_images": "worse",
    "output.constant": "worse",
    "output.global_generator": "worse",
    "output.lost": "worse",
    "output.count": "worse",
    "output.size": "worse",
    "output.mode": "worse",
    "output.same_bits": "same",
    "output.within_tolerance": "same",
    "output.differs": "worse",
    "output.weights": "worse",
    "output.trace": "worse",
    "output.decoder": "worse",
    "output.nondeterministic": "worse",
    "output.rerun_noise": "unsure",
    "output.other_machine": "unsure",
    "memory.same": "same",
    "memory.less": "better",
    "memory.peak": "worse",
    "memory.stage": "worse",
    "memory.workspace": "worse",
    "memory.reserved": "worse",
    "memory.rough": "incomparable",
    "memory.source": "incomparable",
    "memory.hardware": "incomparable",
    "memory.settings": "incomparable",
    "memory.other_machine": "unbaselined",
    "time.same": "same",
    "time.faster": "better",
    "time.slower": "worse",
    "time.stage_slower": "worse",
    "time.step_slower": "worse",
    "time.other_machine": "unbaselined",
    "time.hardware": "incomparable",
    "time.settings": "incomparable",
    "time.invalid": "unsure",
    "time.parallel": "unsure",
    "time.traced": "unsure",
    "time.unsteady": "unsure",
    "time.unattributed": "unsure",
    "time.crowded": "unsure",
    "time.few_runs": "unsure",
    "time.few_days": "unsure",
    "time.few_pairs": "unsure",
    "time.blind": "unsure",
    "time.machine_slower": "unsure",
    "time.machine_faster": "unsure",
    "time.clocks": "unsure",
    "time.no_calibration": "unsure",
    "time.unconfirmed": "unsure",
    # ratios between variants
    "time.ratio_same": "same",
    "time.ratio_better": "better",
    "time.ratio_worse": "worse",
    "time.ratio_few_runs": "unsure",
    "time.ratio_unconfirmed": "unsure",
    "time.ratio_overtaken": "unsure",
    "time.ratio_blind": "unsure",
    "time.ratio_reference": "incomparable",
}
"""A reason always goes with the same decision; `docs/verdicts.md` explains each."""


FORMER_NAMES: dict[str, str] = {
    "guidance.extra_steps": "guidance.truncation_ignored",
    "guidance.missing_steps": "guidance.truncated_too_much",
}
"""What reasons used to be called; a verdict's details hold it as `formerly`, for those who look for it."""

NEVER_ACCEPTED = frozenset(
    {
        "output.not_finite",
        "output.no_images",
        "output.constant",
        "output.global_generator",
        *(
            code
            for code, decision in REASONS.items()
            if code.startswith("guidance.") and decision == "worse" and code != "guidance.changed"
        ),
    }
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


def verdict(
    reason: str, message: str, *, details: dict[str, Any] | None = None, changes: Iterable[str] = ()
) -> Verdict:
    """Write a gate's answer; the gate and the decision follow from the reason.

    Raises:
        KeyError: the reason isn't in `REASONS`.
    """
    gate: Gate = next(gate for gate in GATES if reason.startswith(f"{gate}."))
    former = {"formerly": FORMER_NAMES[reason]} if reason in FORMER_NAMES else {}
    return Verdict(
        gate=gate,
        decision=REASONS[reason],
        reason=reason,
        message=message,
        details=(details or {}) | former,
        changes=tuple(changes),
    )
