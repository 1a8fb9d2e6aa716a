"""What guidance should do at each step, by pipeline class: one formula a class, one line to register it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.errors import OptionError
from pytest_diffbench.judge.guidance.formula import (
    Call,
    Expected,
    Formula,
    NotCoveredError,
    Renorm,
    UnknownArgumentError,
)
from pytest_diffbench.judge.guidance.formula_diffusers import (
    flux,
    lumina2,
    qwen_image,
    stable_diffusion,
    stable_diffusion_3,
    wan,
    z_image,
)

if TYPE_CHECKING:
    from pytest_diffbench.records import Guidance

__all__ = [
    "FORMULAS",
    "Call",
    "Expected",
    "Formula",
    "NotCoveredError",
    "Renorm",
    "UnknownArgumentError",
    "formula_of",
    "register",
]

FORMULAS: dict[str, Formula] = {
    "Lumina2Pipeline": lumina2,
    "FluxPipeline": flux,
    "QwenImagePipeline": qwen_image,
    "StableDiffusion3Pipeline": stable_diffusion_3,
    "StableDiffusionPipeline": stable_diffusion,
    "StableDiffusionXLPipeline": stable_diffusion,
    "WanPipeline": wan,
    "ZImagePipeline": z_image,
}
"""By the name of the pipeline's class."""


def register(pipeline: str | type, formula: Formula, *, replace: bool = False) -> None:
    """Make the guidance gate judge a pipeline of your own, from a `conftest.py` or a plugin.

    A subclass that inherits its call from a known class needs no formula of its own.

    Args:
        pipeline: the class whose `__call__` the formula describes, or its name.
        formula: says what a call asks for; see `Call` and `Expected`.
        replace: take the place of the formula that the class has.

    Raises:
        OptionError: the class has another formula already.

    Example:
        >>> from pytest_diffbench.judge.guidance.formulas import Call, Expected, register
        >>> def first_half(call: Call) -> Expected:
        ...     count = call.steps()
        ...     return Expected(
        ...         steps=count,
        ...         guided=frozenset(range(count // 2)),
        ...         scale=call.number("guidance_scale"),
        ...         sign=1,
        ...         enabled=True,
        ...         truncation="guided in the first half",
        ...     )
        >>> register("HalfGuidedPipeline", first_half)
    """
    name = pipeline if isinstance(pipeline, str) else pipeline.__name__
    known = FORMULAS.get(name)
    # A conftest.py that is imported anew brings its formula as another object.
    if known is not None and not replace and _identity(known) != _identity(formula):
        raise OptionError(
            f"{name} already has a guidance formula, {'.'.join(_identity(known))}. "
            "Give the pipeline's class another name, or register with replace=True."
        )
    FORMULAS[name] = formula


def formula_of(guidance: Guidance) -> Formula | None:
    """The formula of a pipeline's class, else that of the class which it inherits its call from."""
    return FORMULAS.get(guidance.pipeline) or FORMULAS.get(guidance.call_class or "")


def _identity(formula: Formula) -> tuple[str, str]:
    kind = type(formula)
    return (
        getattr(formula, "__module__", kind.__module__),
        getattr(formula, "__qualname__", kind.__qualname__),
    )
