"""Arguments of a call that had no effect on anything: worth a word, and no fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_diffbench.judge.guidance.formula import Call, Expected

_TRUNCATIONS = ("cfg_trunc_ratio", "cfg_truncation")
_NEGATIVES = ("negative_prompt", "negative_prompt_2", "negative_prompt_3", "negative_prompt_embeds")
_OF_GUIDED_STEPS = ("cfg_normalization", "guidance_rescale")
_EMBEDDED_SCALES = ("guidance", "timestep_cond")
"""Tensor arguments by which denoisers of diffusers take a scale that was distilled into them."""


def inert(call: Call, expected: Expected) -> list[str]:
    """Say of each argument that was passed, and changed nothing, why.

    Args:
        call: the call.
        expected: what its formula makes of it.

    Returns:
        One phrase each: `cfg_trunc_ratio 1 truncates no step`.
    """
    found = []
    off = expected.truncation
    for name in filter(call.arguments.__contains__, _TRUNCATIONS):
        if _passed(call, name) and not expected.enabled:
            found.append(f"{_written(call, name)} ({off})")
        elif _passed(call, name) and len(expected.guided) == expected.steps:
            found.append(f"{_written(call, name)} truncates no step")
    idle = [] if expected.guided else [name for name in _OF_GUIDED_STEPS if name in call.arguments]
    found += [f"{_written(call, name)} ({off})" for name in idle if _passed(call, name)]
    negatives = [name for name in _NEGATIVES if _passed(call, name)]
    if negatives and not expected.guided:
        found.append(f"{negatives[0]} ({off})")
    # Where a class has both, `true_cfg_scale` mixes the branches and `guidance_scale` is for the model.
    if "true_cfg_scale" in call.arguments:
        if _passed(call, "true_cfg_scale") and not expected.enabled and call.arguments["true_cfg_scale"] != 1:
            found.append(f"{_written(call, 'true_cfg_scale')} ({'no negative prompt' if not negatives else off})")
        if _passed(call, "guidance_scale") and call.denoiser_takes and not _takes_scale(call):
            found.append(f"{_written(call, 'guidance_scale')} (the model takes no guidance)")
    return found


def _passed(call: Call, name: str) -> bool:
    return call.passed.get(name) is not None


def _takes_scale(call: Call) -> bool:
    return bool(call.denoiser_takes.intersection(_EMBEDDED_SCALES))


def _written(call: Call, name: str) -> str:
    value = call.passed[name]
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{name} {value:g}" if plain else f"{name} {value}"
