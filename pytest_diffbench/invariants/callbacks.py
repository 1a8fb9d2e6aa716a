"""Callbacks that do nothing, and those of diffusers that end guidance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_diffbench.invariants.invariant import Outcome, broken, holds, needs, not_applicable, unable
from pytest_diffbench.records import format_steps

if TYPE_CHECKING:
    from pytest_diffbench.invariants.subject import Subject


def nothing(subject: Subject) -> Outcome:
    """A callback that hands back what it is handed changes nothing."""
    needs(subject, "callback_on_step_end")

    def unchanged(_pipeline: Any, _step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        return tensors

    return subject.equal(subject.reference.arrays, subject.attempt(callback_on_step_end=unchanged).arrays)


def cut_off(subject: Subject) -> Outcome:
    """After diffusers' callback that cuts guidance off, each step is conditional."""
    needs(subject, "callback_on_step_end", "callback_on_step_end_tensor_inputs")
    if not hasattr(type(subject.pipeline), "do_classifier_free_guidance"):
        not_applicable("no_method", "do_classifier_free_guidance")  # which those callbacks turn off
    guidance = subject.reference.guidance
    if guidance is None or not any("joint" in step.branches for step in guidance.steps):
        not_applicable("no_joint_call")  # they take the second half of what was put together
    if len(guidance.steps) < 2:
        unable("not_read", f"num_inference_steps={len(guidance.steps)}")
    callback = _callback(getattr(subject.pipeline, "_callback_tensor_inputs", ()))
    after = subject.attempt(
        callback_on_step_end=callback, callback_on_step_end_tensor_inputs=list(callback.tensor_inputs)
    ).guidance
    if after is None:
        unable("not_read", type(callback).__name__)
    guided = [
        number for number, step in enumerate(after.steps) if number > 0 and set(step.branches) & {"joint", "uncond"}
    ]
    where = (type(callback).__name__, *([f"steps {format_steps(guided)}"] if guided else []))
    return broken(where=where, observed=len(guided), expected=0) if guided else holds(where=where)


def _callback(tensors: Any) -> Any:
    """The callback of diffusers that takes most of the tensors that a pipeline hands to callbacks."""
    from diffusers import callbacks

    found = [
        kind
        for name, kind in vars(callbacks).items()
        if name.endswith("CFGCutoffCallback") and set(kind.tensor_inputs) <= set(tensors)
    ]
    if not found:
        not_applicable("no_argument", "prompt_embeds")
    # after the first step
    return max(found, key=lambda kind: len(kind.tensor_inputs))(cutoff_step_ratio=None, cutoff_step_index=0)
