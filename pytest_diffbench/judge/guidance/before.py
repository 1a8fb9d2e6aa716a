"""What the baseline itself did against the formula: a fix of guidance isn't a regression."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pytest_diffbench.judge.guidance.gate import guidance_faults
from pytest_diffbench.judge.text import listed
from pytest_diffbench.records import GuidanceStep, parse_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.judge.question import Question
    from pytest_diffbench.records import Baseline, Branch, Verdict

_TOLD_BY_GUIDANCE = ("output.differs", "output.trace")


def fault_of_baseline(question: Question) -> str:
    """How the baseline's guidance isn't as asked, where it now is; empty otherwise.

    Of a baseline without guidance, from before it was kept, the denoiser's calls tell which steps were guided.
    """
    now = question.observation.guidance
    if now is None or question.reference is None or guidance_faults(question, now) != []:
        return ""
    baseline = question.reference.baseline
    before = _from_groups(baseline) or _from_calls(baseline)
    if not before:
        return ""
    return listed(guidance_faults(question, msgspec.structs.replace(now, steps=before)) or (), most=2)


def with_fault_of_baseline(question: Question, answers: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Say it where the picture changed: it is a picture of something else."""
    if not any(answer.reason in _TOLD_BY_GUIDANCE for answer in answers):
        return tuple(answers)
    if not (fault := fault_of_baseline(question)):
        return tuple(answers)
    note = f" The baseline's guidance wasn't as asked ({fault}), and now is: look at the picture, then accept it."
    return tuple(
        msgspec.structs.replace(answer, message=answer.message + note)
        if answer.reason in _TOLD_BY_GUIDANCE
        else answer
        for answer in answers
    )


def _from_groups(baseline: Baseline) -> tuple[GuidanceStep, ...]:
    steps = {
        number: GuidanceStep(branches=one.branches, used=one.used, sign=one.sign, scale=one.scale)
        for one in baseline.guidance or ()
        for number in parse_steps(one.steps)
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
