"""Guidance of pipelines of diffusers, as their `__call__` of version 0.42 computes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.judge.guidance.formula import Call, Expected, NotCoveredError, UnknownArgumentError

if TYPE_CHECKING:
    from pytest_diffbench.judge.guidance.formula import Renorm


def flux(call: Call) -> Expected:
    """Guidance of diffusers' `FluxPipeline.__call__`.

    Its `guidance_scale` is distilled into the model: one call a step. Both branches are mixed, at every step, only
    where `true_cfg_scale > 1` and a negative prompt or its embeddings, both kinds of them, are given.
    """
    scale = call.number("true_cfg_scale")
    guided = scale > 1 and (
        all(call.passed.get(name) is not None for name in ("negative_prompt_embeds", "negative_pooled_prompt_embeds"))
        or call.given("negative_prompt")
    )
    return _true_cfg(call, scale, guided=guided, renorm="none")


def qwen_image(call: Call) -> Expected:
    """Guidance of diffusers' `QwenImagePipeline.__call__`.

    Where `true_cfg_scale > 1` and a negative prompt or its embeddings are given, every step mixes two calls, and each
    token of the mix gets the norm of the conditional one.
    """
    scale = call.number("true_cfg_scale")
    embeddings = call.passed.get("negative_prompt_embeds") is not None
    guided = scale > 1 and (embeddings or call.given("negative_prompt"))
    return _true_cfg(call, scale, guided=guided, renorm="rows")


def _true_cfg(call: Call, scale: float, *, guided: bool, renorm: Renorm) -> Expected:
    count = call.steps()
    return Expected(
        steps=count,
        guided=frozenset(range(count) if guided else ()),
        scale=scale,
        renorm=renorm if guided else "none",
        sign=1,
        enabled=guided,
        truncation="true CFG at every step" if guided else "no true CFG",
    )


def stable_diffusion(call: Call) -> Expected:
    """Guidance of diffusers' `StableDiffusionPipeline` and `StableDiffusionXLPipeline`.

    One call a step predicts both branches, the unconditional first, where `guidance_scale > 1` and the model doesn't
    take the scale as an embedding. `guidance_rescale` f then scales by f std(c) / std(g) + 1 - f (arXiv 2305.08891,
    section 3.4). How many steps there are is the scheduler's to say: PNDM takes one more than it is asked for, Heun
    nearly twice as many. Fewer are a fault, unless `denoising_end` cuts them.
    """
    least = 0 if call.passed.get("denoising_end") is not None else call.steps("timesteps", "sigmas")
    return _joint(
        call, least, distilled="timestep_cond" in call.denoiser_takes, rescale=call.number("guidance_rescale")
    )


def stable_diffusion_3(call: Call) -> Expected:
    """Guidance of diffusers' `StableDiffusion3Pipeline`: as that of Stable Diffusion, without rescaling.

    Guidance by skipped layers (`skip_guidance_layers`) isn't described: a third prediction enters the mix there.
    """
    if call.passed.get("skip_guidance_layers") is not None and call.number("guidance_scale") > 1:
        raise NotCoveredError("guidance by skipped layers (skip_guidance_layers)")
    return _joint(call, call.steps("sigmas"), distilled=False, rescale=0.0)


def _joint(call: Call, least: int, *, distilled: bool, rescale: float) -> Expected:
    count, scale = max(least, len(call.timesteps)), call.number("guidance_scale")
    enabled = scale > 1 and not distilled
    off = "the model takes guidance_scale itself" if distilled else f"guidance_scale {scale:g} switches guidance off"
    return Expected(
        steps=count,
        guided=frozenset(range(count) if enabled else ()),
        scale=scale,
        renorm="std" if enabled and rescale > 0 else "none",
        renorm_factor=rescale,
        sign=1,
        enabled=enabled,
        truncation="guidance at every step" if enabled else off,
        joint_order="uncond_cond",
    )


def wan(call: Call) -> Expected:
    """Guidance of diffusers' `WanPipeline.__call__`: two calls a step at every step, in both of its stages.

    A second stage with a scale of its own (`guidance_scale_2`) isn't described.
    """
    count, scale = max(call.steps(), len(call.timesteps)), call.number("guidance_scale")
    second = call.arguments.get("guidance_scale_2")
    if scale > 1 and second not in (None, scale):
        raise NotCoveredError("a second stage with a scale of its own (guidance_scale_2)")
    guided = scale > 1
    return Expected(
        steps=count,
        guided=frozenset(range(count) if guided else ()),
        scale=scale,
        sign=1,
        enabled=guided,
        truncation="guidance at every step" if guided else f"guidance_scale {scale:g} switches guidance off",
    )


def z_image(call: Call) -> Expected:
    """Guidance of diffusers' `ZImagePipeline.__call__`.

    One call a step predicts both branches, the conditional first, and mixes c + s (c - u), s being `guidance_scale`:
    guidance is on above 0, and w is s + 1. Steps whose time (1000 - t) / 1000 is above `cfg_truncation` aren't
    guided, unless that is None or above 1. `cfg_normalization` f (True is 1) scales a sample down whose norm exceeds
    f times that of c. The prediction is negated.
    """
    count, scale = call.steps(), call.number("guidance_scale")
    enabled = scale > 0
    limit = None if call.arguments.get("cfg_truncation", 0) is None else call.number("cfg_truncation")
    truncated = _late(call, count, limit) if enabled and limit is not None and limit < 1 else frozenset()
    factor = call.arguments.get("cfg_normalization")
    if not isinstance(factor, bool | int | float):
        raise UnknownArgumentError("cfg_normalization")
    if not enabled:
        truncation = f"guidance_scale {scale:g} switches guidance off"
    else:
        truncation = f"cfg_truncation {limit:g}" if truncated else "truncation off"
    return Expected(
        steps=count,
        guided=frozenset(range(count) if enabled else ()) - truncated,
        scale=scale + 1,
        renorm="clamp" if enabled and factor > 0 else "none",
        renorm_factor=float(factor),
        sign=-1,
        enabled=enabled,
        truncation=truncation,
        joint_order="cond_uncond",
    )


def _late(call: Call, count: int, limit: float) -> frozenset[int]:
    """Steps whose time is above a limit, in the pipeline's own float32."""
    import numpy as np

    late = set()
    for i, timestep in enumerate(call.timesteps[:count]):
        if timestep is None:
            raise UnknownArgumentError("timesteps")
        if float((np.float32(1000) - np.float32(timestep)) / np.float32(1000)) > limit:
            late.add(i)
    # Of steps that never ran the time isn't known; they are a fault whatever they would have been.
    return frozenset(late)


_AUTHORS_TIME_SHIFT = 6
"""Of the authors' demo."""


def lumina2(call: Call) -> Expected:
    """Guidance of diffusers' `Lumina2Pipeline.__call__`, with its own predicate for truncated steps.

    Step i of N is guided where `guidance_scale > 1` and not `(i + 1) / N > cfg_trunc_ratio`.
    """
    count = call.steps()
    scale, ratio = call.number("guidance_scale"), call.number("cfg_trunc_ratio")
    renorm = call.arguments.get("cfg_normalization")
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
        renorm="rows" if renorm else "none",
        sign=-1,
        enabled=scale > 1,
        truncation=truncation,
        references=_references(count, ratio, renorm=renorm) if scale > 1 else {},
    )


def _references(count: int, ratio: float, *, renorm: bool) -> dict[str, str]:
    """What the same ratio would do as the threshold of a time, which is 0 at noise and 1 at the image.

    The authors' sampler guides where `t < cfg_trunc`; the paper (arXiv 2503.21758, eq. 5, as printed) where
    `t >= alpha`. Both are counted on the times of the authors' demo: t = s / (s + 6 (1 - s)) for s = i / N.
    """
    shares = [i / count for i in range(count)]
    times = [share / (share + _AUTHORS_TIME_SHIFT * (1 - share)) for share in shares]
    early = sum(t < ratio for t in times)
    norm = "; the norm of each prediction as a whole would only ever shrink" if renorm else ""
    rescaled = "; rescaled with the conditional prediction" if renorm else ""
    return {
        "authors": f"{early} of {count} steps guided at their threshold {ratio:g}, a time, at their time shift "
        f"{_AUTHORS_TIME_SHIFT}; the others conditional{norm}",
        "paper": f"{count - early} of {count} steps guided, where t >= {ratio:g} on the same times, as equation 5 is "
        f"printed; the others unconditional{rescaled}",
    }
