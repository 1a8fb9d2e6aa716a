"""Switches that switch off: guidance at the scale that stands for none, and a negative prompt that says nothing."""

from __future__ import annotations

import re
import statistics
from typing import TYPE_CHECKING

from pytest_diffbench.invariants.invariant import Outcome, broken, holds, needs, not_applicable, unable
from pytest_diffbench.invariants.observed import distance
from pytest_diffbench.records import format_steps, parse_steps

if TYPE_CHECKING:
    from pytest_diffbench.invariants.observed import Arrays, Observed
    from pytest_diffbench.invariants.subject import Subject
    from pytest_diffbench.records import Guidance, GuidanceStep

_SCALES = ("true_cfg_scale", "guidance_scale")
"""What pipelines call the scale; where one has both, the first is that of two branches."""

_SCALE_REL = 0.02
"""By which a scale that is read of predictions may differ from the argument that it is."""

_OTHER_SCALE = re.compile(r"\w+_guidance_scale|guidance_scale_\d")
"""What those of further stages and denoisers are called."""

_OTHER_NEGATIVE = "blurred, dark, out of frame"


def no_unconditional_call(subject: Subject) -> Outcome:
    """At the scale that stands for no guidance there is no unconditional call."""
    off = _off(subject)
    calls = _unconditional_calls(subject.attempt(**off))
    facts = {"where": _named(off), "observed": calls, "expected": 0}
    return broken(**facts) if calls else holds(**facts)


def conditional_picture(subject: Subject) -> Outcome:
    """At that scale each step takes the conditional prediction, as it is or but for the rounding of a mix by 1."""
    off = _off(subject)
    guidance = subject.attempt(**off).guidance
    if guidance is None:
        unable("not_read", *_named(off))
    unread = [number for number, step in enumerate(guidance.steps) if step.used == "unknown"]
    if unread:
        unable("not_read", *_named(off), f"steps {format_steps(unread)}")
    # at this scale nothing tells which half of a joint call is which: what guided calls showed does
    known = subject.reference.guidance
    swapped = known is not None and any(step.joint_order == "cond_uncond" for step in known.steps)
    other = [number for number, step in enumerate(guidance.steps) if not _is_conditional(step, guidance, swapped)]
    where = (*_named(off), *([f"steps {format_steps(other)}"] if other else []))
    return broken(where=where) if other else holds(where=where)


def negative_prompt_without_guidance(subject: Subject) -> Outcome:
    """At that scale a negative prompt changes nothing."""
    needs(subject, "negative_prompt")
    off = _off(subject)
    return subject.equal(
        _positive(subject.attempt(**off)),
        _positive(subject.attempt(**off, negative_prompt=_OTHER_NEGATIVE)),
        where=_named(off),
    )


def empty_negative_prompt(subject: Subject) -> Outcome:
    """An empty negative prompt is none, in pipelines that encode an empty text where there is none."""
    needs(subject, "negative_prompt")
    subject.prompt()
    if subject.parameters["negative_prompt"].default is not None:
        not_applicable("documented", "negative_prompt")
    none = subject.attempt(negative_prompt=None)
    if not _unconditional_calls(none):
        not_applicable("no_guidance", "negative_prompt=None")
    empty = subject.attempt(negative_prompt="")
    if _texts(none) != _texts(empty):
        not_applicable("documented", "negative_prompt=None")  # such as zeros in place of an empty text's embedding
    other = subject.attempt(negative_prompt=_OTHER_NEGATIVE)
    sensitivity_rel = distance(_positive(empty), _positive(other))[0]
    return subject.equal(_positive(none), _positive(empty), sensitivity_rel=sensitivity_rel)


def unused_branch(subject: Subject) -> Outcome:
    """No step calls the denoiser without a prompt and then takes the conditional prediction as it is."""
    guidance = subject.reference.guidance
    if guidance is None:
        not_applicable("no_schedule")
    called = [number for number, step in enumerate(guidance.steps) if {"joint", "uncond"} & set(step.branches)]
    if not called:
        not_applicable("no_guidance")
    unused = [number for number in called if guidance.steps[number].used == "cond"]
    if unused:
        return broken(where=(f"steps {format_steps(unused)}",), observed=len(unused), expected=0)
    unread = [number for number in called if guidance.steps[number].used == "unknown"]
    if unread:
        unable("not_read", f"steps {format_steps(unread)}")
    return holds()


def _is_conditional(step: GuidanceStep, guidance: Guidance, swapped: bool) -> bool:
    if step.used != "guided" or step.sign != 1:
        return step.used == ("uncond" if swapped and step.branches == ("joint",) else "cond")
    # at a scale of 1 and no gain, u + w (c - u) is c
    factors = (step.scale, step.gain_min, step.gain_max)
    return all(factor is not None and abs(factor - 1) <= guidance.scale_tolerance(1.0) for factor in factors)


def _positive(observed: Observed) -> Arrays:
    """What was returned, without what stands for the negative prompt itself, as a prior returns it."""
    return {name: array for name, array in observed.arrays.items() if not name.startswith("negative")}


def _texts(observed: Observed) -> list[str]:
    """What text encoders were handed."""
    return sorted(f"{call.name} {call.inputs}" for call in observed.calls if call.role == "text")


def _named(off: dict[str, float]) -> tuple[str, ...]:
    return tuple(f"{name}={value:g}" for name, value in off.items())


def _off(subject: Subject) -> dict[str, float]:
    """The scales of a call, each with its value that stands for no guidance.

    Where the scale w that is read of the predictions, as in u + w (c - u), is the argument, that is 1; where it is
    one more, as in c + g (c - u), it is 0. Ends the check where neither is so.
    """
    name = next((name for name in _SCALES if isinstance(subject.defaults.get(name), int | float)), None)
    if name is None:
        not_applicable("no_argument", *_SCALES)
    guidance = subject.reference.guidance
    scales = [step.scale for step in guidance.steps if step.used == "guided"] if guidance is not None else []
    known = [scale for scale in scales if scale is not None]
    if not _unconditional_calls(subject.reference):
        not_applicable("no_guidance", f"{name}={subject.defaults[name]:g}")
    if not known:
        unable("not_read", name)
    asked, scale = float(subject.defaults[name]), statistics.median(known)
    matching = [off for off in (1.0, 0.0) if abs(scale - asked - (1 - off)) <= _SCALE_REL * max(1.0, abs(scale))]
    if not matching:
        unable("not_read", f"{name}={asked:g}", f"scale {scale:.3g}")
    others = [
        other
        for other in subject.parameters
        if _OTHER_SCALE.fullmatch(other) and isinstance(subject.defaults.get(other), int | float)
    ]
    return dict.fromkeys([name, *(others if name == "guidance_scale" else [])], matching[0])


def _unconditional_calls(observed: Observed) -> int:
    groups = [group for group in observed.work.denoiser if group.branch in ("uncond", "joint")]
    return sum(len(parse_steps(group.steps)) for group in groups)
