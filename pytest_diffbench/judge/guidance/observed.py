"""Guidance of calls that no formula decides: compared with the baseline's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pytest_diffbench.judge.definition import definition_changes
from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.records import format_steps, parse_steps
from pytest_diffbench.records.details import Contradiction, GroupChange, ObservedGuidance
from pytest_diffbench.records.guidance import alike

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_diffbench.judge.gate_input import GateInput
    from pytest_diffbench.records import Guidance, GuidanceGroup, Verdict
    from pytest_diffbench.records.details import UnreadQuantity

_SCALES = ("true_cfg_scale", "guidance_scale")
"""What pipelines call the scale; where one has both, the first is that of two branches."""

_SCALES_OF_DENOISERS = (("transformer", "guidance_scale"), ("transformer_2", "guidance_scale_2"))
"""Of pipelines with one denoiser for noisy steps and another for the rest, as Wan 2.2."""

_CALLBACKS = ("callback_on_step_end", "callback")


def callback_of(gate_input: GateInput) -> str | None:
    """The argument through which the caller's own code takes part in each step; None where there is none."""
    arguments = gate_input.observation.case.definition.arguments
    return next((name for name in _CALLBACKS if arguments.get(name) is not None), None)


def judge_observed(gate_input: GateInput, guidance: Guidance, reason: str, details: ObservedGuidance) -> Verdict:
    """Compare guidance with the baseline's.

    Args:
        gate_input: of the case.
        guidance: of this run.
        reason: of the verdict where there is no baseline to compare with.
        details: why no formula decides.
    """
    groups = guidance.groups()
    details = msgspec.structs.replace(
        details, groups=groups, pipeline=guidance.pipeline, contradictions=contradictions(guidance)
    )
    reference = gate_input.reference
    if (
        reference is None
        or not reference.baseline.guidance
        or definition_changes(reference.baseline.case.definition, gate_input.observation.case.definition)
    ):
        odd = any(contradiction.kind == "other_scale" for contradiction in details.contradictions)
        if odd and reason == "guidance.no_formula" and callback_of(gate_input) is None:
            reason = "guidance.not_as_asked"
        return verdict(reason, details=details)
    changes = _changes(reference.baseline.guidance, groups, guidance)
    if not changes:
        reason = "guidance.same"
    else:
        reason = "guidance.newly_read" if all(map(_newly_read, changes)) else "guidance.changed"
    return verdict(reason, details=msgspec.structs.replace(details, changes=changes))


def judge_unread(gate_input: GateInput, guidance: Guidance, unread: tuple[UnreadQuantity, ...]) -> Verdict | None:
    """`guidance.changed` where the baseline could read a step that a formula can't decide now; None elsewhere."""
    answer = judge_observed(gate_input, guidance, "guidance.unknown", ObservedGuidance(unread=unread))
    assert isinstance(answer.details, ObservedGuidance)
    lost = any(
        change.before is not None
        and change.after is not None
        and change.before.used != "unknown"
        and change.after.used in ("unknown", "mixed")
        for change in answer.details.changes
    )
    return answer if lost else None


def contradictions(guidance: Guidance) -> tuple[Contradiction, ...]:
    """What contradicts the arguments, whatever the class."""
    return (*_of_whole_call(guidance), *_of_denoisers(guidance), *_of_one_denoiser(guidance))


def _of_one_denoiser(guidance: Guidance) -> Iterator[Contradiction]:
    """Where all steps mix at one scale: that is the call's, or one more than it, as of c + s (c - u).

    Other arguments that are called scales may be meant by it. A scale that changes from step to step is a schedule,
    and one step alone may be a part of one.
    """
    steps = [step for step in guidance.steps if step.used == "guided" and not step.converted]
    scales = [step.scale for step in steps if step.scale is not None and step.scale_span is None]
    asked = {
        name: value
        for name, value in guidance.arguments.items()
        if "scale" in name and isinstance(value, int | float) and not isinstance(value, bool)
    }
    name = next((name for name in _SCALES if name in asked), None)
    if name is None or "guidance_scale_2" in asked or len(scales) != len(guidance.steps) or len(scales) < 2:
        return
    known = [value + more for value in asked.values() for more in (0, 1)]
    if all(abs(scale - scales[0]) <= guidance.scale_tolerance(scale) for scale in scales) and not any(
        abs(scales[0] - scale) <= 2 * guidance.scale_tolerance(scale) for scale in known
    ):
        yield Contradiction(
            kind="other_scale", argument=name, value=asked[name], steps=len(scales), observed=scales[0]
        )


def _of_denoisers(guidance: Guidance) -> Iterator[Contradiction]:
    """Of a pipeline with a scale for each of two denoisers: those whose steps mix at another than their own."""
    arguments = guidance.arguments
    if "guidance_scale_2" not in arguments:
        return
    for component, name in _SCALES_OF_DENOISERS:
        # the second is the first one's where it isn't given
        asked = next((value for key in (name, "guidance_scale") if (value := arguments.get(key)) is not None), None)
        if isinstance(asked, bool) or not isinstance(asked, int | float):
            continue
        scales = [
            step.scale
            for step in guidance.steps
            if step.components == (component,)
            and step.used == "guided"
            and step.scale is not None
            and abs(step.scale - asked) > guidance.scale_tolerance(asked)
        ]
        if scales:
            yield Contradiction(
                kind="other_scale",
                argument=name,
                value=asked,
                steps=len(scales),
                component=component,
                observed=scales[0],
            )


def _of_whole_call(guidance: Guidance) -> tuple[Contradiction, ...]:
    arguments = guidance.arguments
    scale = next(((name, value) for name in _SCALES if isinstance(value := arguments.get(name), int | float)), None)
    if scale is None or guidance.guided_steps:
        return ()
    name, value = scale
    if value > 1 and arguments.get("negative_prompt"):
        return (Contradiction(kind="no_guided_step", argument=name, value=value),)
    count = sum(bool({"joint", "uncond"} & set(step.branches)) for step in guidance.steps)
    if value in (0, 1) and count:
        return (Contradiction(kind="unused_branch", argument=name, value=value, steps=count),)
    return ()


def _changes(
    before: Sequence[GuidanceGroup], after: Sequence[GuidanceGroup], guidance: Guidance
) -> tuple[GroupChange, ...]:
    """Steps that did something else, those with the same change together."""
    old_groups, new_groups = (
        {step: group for group in groups for step in parse_steps(group.steps)} for groups in (before, after)
    )
    steps_of: dict[tuple[GuidanceGroup | None, GuidanceGroup | None], list[int]] = {}
    for step in sorted(old_groups.keys() | new_groups.keys()):
        old, new = old_groups.get(step), new_groups.get(step)
        if old is None or new is None or not _same(old, new, guidance):
            steps_of.setdefault((old, new), []).append(step)
    return tuple(
        GroupChange(steps=format_steps(steps), before=old, after=new) for (old, new), steps in steps_of.items()
    )


def _same(old: GuidanceGroup, new: GuidanceGroup, guidance: Guidance) -> bool:
    if old.components and new.components and old.components != new.components:
        return False
    if (old.branches, old.used, old.sign, old.renorm, old.converted) != (
        new.branches,
        new.used,
        new.sign,
        new.renorm,
        new.converted,
    ):
        return False
    return alike(old, new, lambda scale: 2 * guidance.scale_tolerance(scale))


def _newly_read(change: GroupChange) -> bool:
    """Whether the same branches are now read as a fit, where the baseline says that nothing explains them.

    The code under test may have changed, or the reading: an earlier version of this plugin read fewer combinations.
    """
    old, new = change.before, change.after
    return (
        old is not None
        and new is not None
        and old.used == "unknown"
        and (new.used == "mixed" or new.converted)
        and old.branches == new.branches
        and (old.components == new.components or not old.components)
    )
