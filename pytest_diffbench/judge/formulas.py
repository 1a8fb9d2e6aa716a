"""What guidance should do at each step, by pipeline class: one formula a class, one line to register it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias


class UnknownArgumentError(LookupError):
    """An argument that a formula needs wasn't recorded. Its text is the argument's name."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a call's arguments ask of guidance.

    Attributes:
        steps: scheduler steps.
        guided: steps, from 0, at which both branches are mixed; all others use the conditional prediction alone.
        scale: guidance scale of the guided steps.
        renorm: rows of a guided prediction are rescaled to the norm of the conditional one.
        sign: sign with which the pipeline hands its prediction to the scheduler.
        enabled: guidance is switched on, whether or not some steps are truncated.
        truncation: words for why steps are not guided.
    """

    steps: int
    guided: frozenset[int]
    scale: float
    renorm: bool
    sign: int
    enabled: bool
    truncation: str


Arguments: TypeAlias = Mapping[str, Any]
Formula: TypeAlias = Callable[[Arguments, Arguments], Expected]
"""From the call's plain arguments with defaults filled in, and from the definition's (where tensors stand too)."""


def _number(arguments: Arguments, name: str) -> float:
    value = arguments.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # noqa: PLR0124  # NaN
        raise UnknownArgumentError(name)
    return value


def _steps(arguments: Arguments, passed: Arguments) -> int:
    """Number of steps: both pipelines take it from `sigmas` where that is passed."""
    sigmas = passed.get("sigmas")
    if sigmas is None:
        steps = _number(arguments, "num_inference_steps")
    elif isinstance(sigmas, list | tuple):
        steps = len(sigmas)
    else:
        raise UnknownArgumentError("sigmas")
    return int(steps)


def lumina2(arguments: Arguments, passed: Arguments) -> Expected:
    """Guidance of diffusers' `Lumina2Pipeline.__call__`, with its own predicate for truncated steps.

    Step i of N is guided where `guidance_scale > 1` and not `(i + 1) / N > cfg_trunc_ratio`.
    """
    count = _steps(arguments, passed)
    scale, ratio = _number(arguments, "guidance_scale"), _number(arguments, "cfg_trunc_ratio")
    renorm = arguments.get("cfg_normalization")
    if not isinstance(renorm, bool):
        raise UnknownArgumentError("cfg_normalization")
    guided = frozenset(i for i in range(count) if scale > 1 and not (i + 1) / count > ratio)
    if scale <= 1:
        truncation = f"guidance_scale {scale:g} switches guidance off"
    elif len(guided) == count:
        truncation = "truncation off"
    else:
        truncation = f"cfg_trunc_ratio {ratio:g}"
    return Expected(
        steps=count,
        guided=guided,
        scale=scale,
        renorm=renorm,
        sign=-1,
        enabled=scale > 1,
        truncation=truncation,
    )


def flux(arguments: Arguments, passed: Arguments) -> Expected:
    """Guidance of diffusers' `FluxPipeline.__call__`.

    Its `guidance_scale` is distilled into the model: one call a step. Both branches are mixed, at every step, only
    where `true_cfg_scale > 1` and a negative prompt or its embeddings are given.
    """
    count, scale = _steps(arguments, passed), _number(arguments, "true_cfg_scale")
    names = ("negative_prompt_embeds", "negative_pooled_prompt_embeds")
    embeddings = all(passed.get(name) is not None for name in names)
    if scale > 1 and "negative_prompt" not in arguments and "negative_prompt" not in passed and not embeddings:
        raise UnknownArgumentError("negative_prompt")
    prompts = (arguments.get("negative_prompt"), passed.get("negative_prompt"))
    guided = scale > 1 and (embeddings or any(prompt is not None for prompt in prompts))
    truncation = "true CFG at every step" if guided else "no true CFG"
    return Expected(
        steps=count,
        guided=frozenset(range(count) if guided else ()),
        scale=scale,
        renorm=False,
        sign=1,
        enabled=guided,
        truncation=truncation,
    )


FORMULAS: dict[str, Formula] = {
    "Lumina2Pipeline": lumina2,
    "FluxPipeline": flux,
}
"""By the name of the pipeline's class. A new pipeline's formula is registered here."""
