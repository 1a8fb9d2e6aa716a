"""What the baseline itself did against the formula: a fix of guidance isn't a regression."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pytest_diffbench.judge.guidance.gate import guidance_faults
from pytest_diffbench.records import GuidanceStep, parse_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.judge.gate_input import GateInput
    from pytest_diffbench.records import Baseline, Branch, Verdict
    from pytest_diffbench.records.details import GuidanceFault

_EXPLAINED_BY_GUIDANCE = ("output.differs", "output.trace")


def fault_of_baseline(gate_input: GateInput) -> tuple[GuidanceFault, ...]:
    """How the baseline's guidance isn't as requested, where it now is; empty otherwise.

    Of a baseline without guidance, from before it was kept, the denoiser's calls tell which steps were guided.
    """
    guidance = gate_input.observation.guidance
    if guidance is None or gate_input.reference is None or guidance_faults(gate_input, guidance) != ():
        return ()
    baseline = gate_input.reference.baseline
    steps = _from_groups(baseline) or _from_calls(baseline)
    if not steps:
        return ()
    return guidance_faults(gate_input, msgspec.structs.replace(guidance, steps=steps)) or ()


def with_fault_of_baseline(gate_input: GateInput, verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Add it where the picture changed: the baseline's is a picture of something else."""
    if not any(verdict.reason in _EXPLAINED_BY_GUIDANCE for verdict in verdicts):
        return tuple(verdicts)
    faults = fault_of_baseline(gate_input)
    return tuple(
        msgspec.structs.replace(verdict, baseline_fault=faults)
        if faults and verdict.reason in _EXPLAINED_BY_GUIDANCE
        else verdict
        for verdict in verdicts
    )


def _from_groups(baseline: Baseline) -> tuple[GuidanceStep, ...]:
    steps = {
        number: GuidanceStep(branches=group.branches, used=group.used, sign=group.sign, scale=group.scale)
        for group in baseline.guidance or ()
        for number in parse_steps(group.steps)
    }
    return tuple(step for _, step in sorted(steps.items()))


def _from_calls(baseline: Baseline) -> tuple[GuidanceStep, ...]:
    branches: dict[int, list[Branch]] = {}
    for group in baseline.work.denoiser if baseline.work is not None else ():
        for number in parse_steps(group.steps):
            branches.setdefault(number, []).append(group.branch)
    if any("unknown" in called for called in branches.values()):
        return ()
    return tuple(
        GuidanceStep(
            branches=tuple(called), used="guided" if {"uncond", "joint"} & set(called) else "cond", sign=0, scale=None
        )
        for _, called in sorted(branches.items())
    )
