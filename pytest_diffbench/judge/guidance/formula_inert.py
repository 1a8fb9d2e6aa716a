"""Arguments of a call that have no effect: worth a word, and no fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.records.details import InertArgument

if TYPE_CHECKING:
    from pytest_diffbench.judge.guidance.formula import Call, Expected
    from pytest_diffbench.records.details import InertCause

_TRUNCATIONS = ("cfg_trunc_ratio", "cfg_truncation")
_NEGATIVES = ("negative_prompt", "negative_prompt_2", "negative_prompt_3", "negative_prompt_embeds")
_OF_GUIDED_STEPS = ("cfg_normalization", "guidance_rescale")
_EMBEDDED_SCALES = ("guidance", "timestep_cond")
"""Tensor arguments by which denoisers of diffusers take a scale that was distilled into them."""


def inert(call: Call, expected: Expected) -> tuple[InertArgument, ...]:
    """Each argument that was passed and changes nothing, with the cause.

    Args:
        call: the call.
        expected: what its formula makes of it.
    """
    arguments = []
    for name in filter(call.arguments.__contains__, _TRUNCATIONS):
        if _passed(call, name) and not expected.enabled:
            arguments.append(_inert(call, name, "not_guided", expected))
        elif _passed(call, name) and len(expected.guided) == expected.steps:
            arguments.append(_inert(call, name, "truncates_no_step"))
    idle = [] if expected.guided else [name for name in _OF_GUIDED_STEPS if name in call.arguments]
    arguments += [_inert(call, name, "not_guided", expected) for name in idle if _passed(call, name)]
    negatives = [name for name in _NEGATIVES if _passed(call, name)]
    if negatives and not expected.guided:
        arguments.append(InertArgument(name=negatives[0], cause="not_guided", rule=expected.truncation))
    # Where a class has both, `true_cfg_scale` mixes the branches and `guidance_scale` is for the model.
    if "true_cfg_scale" in call.arguments:
        if _passed(call, "true_cfg_scale") and not expected.enabled and call.arguments["true_cfg_scale"] != 1:
            cause: InertCause = "not_guided" if negatives else "no_negative_prompt"
            arguments.append(_inert(call, "true_cfg_scale", cause, expected))
        if _passed(call, "guidance_scale") and call.denoiser_takes and not _takes_scale(call):
            arguments.append(_inert(call, "guidance_scale", "not_a_model_input"))
    return tuple(arguments)


def _passed(call: Call, name: str) -> bool:
    return call.passed.get(name) is not None


def _takes_scale(call: Call) -> bool:
    return bool(call.denoiser_takes.intersection(_EMBEDDED_SCALES))


def _inert(call: Call, name: str, cause: InertCause, expected: Expected | None = None) -> InertArgument:
    value = call.passed[name]
    return InertArgument(
        name=name,
        value=value if isinstance(value, str | int | float) else str(value),
        cause=cause,
        rule=expected.truncation if expected is not None and cause == "not_guided" else "",
    )
