"""Guidance of Lumina-Image-2.0: in diffusers, and for information in the authors' sampler and in the paper."""

from __future__ import annotations

from pytest_diffbench.judge.guidance.formula import Call, Expected, UnknownArgumentError

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
