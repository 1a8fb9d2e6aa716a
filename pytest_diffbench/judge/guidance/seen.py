"""Guidance of calls that no formula describes: held against what the baseline did, and described."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.judge.definition import definition_changes
from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.judge.text import listed, plural, step_list
from pytest_diffbench.records import parse_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.judge.question import Question
    from pytest_diffbench.records import Guidance, GuidanceGroup, Verdict

_SCALES = ("true_cfg_scale", "guidance_scale")
"""What pipelines call the scale; where one has both, the first is that of two branches."""

_CALLBACKS = ("callback_on_step_end", "callback")


def steered_by(question: Question) -> str | None:
    """The argument by which the user's own code takes part in each step; None where there is none."""
    arguments = question.observation.case.definition.arguments
    return next((name for name in _CALLBACKS if arguments.get(name) is not None), None)


def judge_seen(question: Question, guidance: Guidance, reason: str, why: str) -> Verdict:
    """Compare with the baseline what was seen.

    Args:
        question: of the case.
        guidance: what was seen.
        reason: of the verdict where there is no baseline to compare with.
        why: no formula decides; a sentence.
    """
    now = guidance.groups()
    details = {"groups": [[group.steps, group.used, group.scale, group.renorm] for group in now]}
    odd = oddities(guidance)
    reference = question.reference
    if (
        reference is None
        or not reference.baseline.guidance
        or definition_changes(reference.baseline.case.definition, question.observation.case.definition)
    ):
        return verdict(reason, f"{why} Seen: {_described(now)}.{_told(odd)}", details=details, changes=odd)
    differences = _differences(now, reference.baseline.guidance, guidance)
    if differences:
        message = f"Guidance isn't as in the baseline: {listed(differences)}. {why}{_told(odd)}"
        return verdict("guidance.changed", message, details=details, changes=[*differences, *odd])
    return verdict("guidance.same", f"As in the baseline: {_described(now)}. {why}{_told(odd)}", details=details)


def oddities(guidance: Guidance) -> list[str]:
    """What contradicts the arguments, whatever the class."""
    arguments = guidance.arguments
    scale = next(((name, value) for name in _SCALES if isinstance(value := arguments.get(name), int | float)), None)
    if scale is None:
        return []
    name, value = scale
    if value > 1 and arguments.get("negative_prompt") and not guidance.guided_steps:
        return [f"{name} is {value:g} and a negative prompt was given, yet no step was guided"]
    both = [number for number, step in enumerate(guidance.steps) if {"joint", "uncond"} & set(step.branches)]
    if value in (0, 1) and both and not guidance.guided_steps:
        return [f"{name} is {value:g}, yet both branches were called in {plural(len(both), 'step')}"]
    return []


def _told(odd: Sequence[str]) -> str:
    return "".join(f" Odd: {one}." for one in odd)


def _described(groups: Sequence[GuidanceGroup]) -> str:
    return "; ".join(f"{step_list(group.steps)} {_did(group)}" for group in groups)


def _did(group: GuidanceGroup) -> str:
    calls = " and ".join(dict.fromkeys(group.branches)) or "no call"
    if group.used != "guided":
        if group.used == "reused":
            moved = "unread" if group.scale is None else f"{group.scale:.4g}"
            return f"guided with scale {moved} by the difference of an earlier step ({calls})"
        words = {"cond": "conditional alone", "uncond": "unconditional alone", "unknown": "made of neither"}
        return f"{words[group.used]} ({calls})"
    scale = "unread" if group.scale is None else f"{group.scale:.4g}"
    renorm = {"none": "", "rows": ", renormed by rows", "other": ", rescaled", "unknown": ""}[group.renorm]
    sign = ", negated" if group.sign == -1 else ""
    return f"guided with scale {scale}{renorm}{sign} ({calls})"


def _differences(now: Sequence[GuidanceGroup], base: Sequence[GuidanceGroup], guidance: Guidance) -> list[str]:
    """Steps that did something else, those with the same change together."""
    after, before = ({step: group for group in groups for step in parse_steps(group.steps)} for groups in (now, base))
    found: dict[str, list[int]] = {}
    for step in sorted(after.keys() | before.keys()):
        old, new = before.get(step), after.get(step)
        if old is None or new is None:
            text = "not run before" if old is None else "not run any more"
        elif _same(old, new, guidance):
            continue
        else:
            text = f"{_did(old)} -> {_did(new)}"
        found.setdefault(text, []).append(step)
    return [f"{step_list(','.join(map(str, steps)))}: {text}" for text, steps in found.items()]


def _same(old: GuidanceGroup, new: GuidanceGroup, guidance: Guidance) -> bool:
    if (old.branches, old.used, old.sign, old.renorm) != (new.branches, new.used, new.sign, new.renorm):
        return False
    if old.scale is None or new.scale is None:
        return old.scale is new.scale
    return abs(old.scale - new.scale) <= 2 * guidance.scale_tolerance(old.scale)
