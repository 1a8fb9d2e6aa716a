"""Writing down what is called with which arguments, such that two calls can be told apart."""

from __future__ import annotations

import hashlib
import inspect
import math
from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.facts import fact_of
from pytest_diffbench.measure.components import components_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_diffbench.records import Fact


def callable_of(target: object) -> Callable[..., Any]:
    """The function whose signature says what a target takes. Raises MeasureError for what can't be called."""
    if not callable(target):
        raise MeasureError(f"diffbench() was given {target!r}, which can't be called. Pass a pipeline or a function.")
    return target


def name_of(target: object) -> str:
    """Name of a pipeline's class, or of a function."""
    if components_of(target):
        return type(target).__name__
    return str(getattr(target, "__qualname__", type(target).__qualname__))


def parameters_of(target: object) -> Mapping[str, inspect.Parameter]:
    """Parameters of a target's call by name; empty where Python can't tell."""
    try:
        return inspect.signature(callable_of(target)).parameters
    except ValueError:  # builtins
        return {}


def bind(target: object, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments by name. Raises MeasureError, naming the pipeline, for those that it doesn't take."""
    parameters = parameters_of(target)
    if not parameters:
        return {f"argument_{i}": value for i, value in enumerate(args)} | dict(kwargs)
    try:
        bound = inspect.signature(callable_of(target)).bind_partial(*args, **kwargs)
    except TypeError as error:
        known = ", ".join(name for name in parameters if name != "self")
        raise MeasureError(f"{name_of(target)} can't be called like this: {error}. It takes: {known}.") from None
    named: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            named |= {f"{name}_{i}": one for i, one in enumerate(value)}
        elif kind is inspect.Parameter.VAR_KEYWORD:
            named |= value
        else:
            named[name] = value
    return named


def resolved_facts(target: object, arguments: Mapping[str, Any]) -> dict[str, Fact]:
    """The plain values among the arguments, with the target's own defaults filled in."""
    defaults = {
        name: parameter.default
        for name, parameter in parameters_of(target).items()
        if parameter.default is not inspect.Parameter.empty
    }
    facts: dict[str, Fact] = {}
    for name, value in (defaults | dict(arguments)).items():
        try:
            fact = fact_of(value)
        except TypeError:
            continue
        if not isinstance(fact, float) or math.isfinite(fact):
            facts[name] = fact
    return facts


def describe(value: Any) -> Any:
    """An argument as plain JSON: as it is where it can be, by shape and digest where it is data, else by its type."""
    try:
        fact = fact_of(value)
    except TypeError:
        pass
    else:
        return str(fact) if isinstance(fact, float) and not math.isfinite(fact) else fact
    if isinstance(value, dict):
        return {fact_of(str(key)): describe(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [describe(inner) for inner in value]
    if hasattr(value, "initial_seed"):  # torch.Generator
        return {"generator_seed": value.initial_seed()}
    if hasattr(value, "detach"):  # torch.Tensor
        import torch

        data = value.detach().to("cpu").contiguous()
        raw = data.view(torch.uint8).numpy().tobytes() if data.numel() and data.ndim else repr(data).encode()
        return {"tensor": list(value.shape), "dtype": str(value.dtype), "digest": _digest(raw)}
    if hasattr(value, "tobytes") and hasattr(value, "size"):  # PIL.Image.Image, numpy.ndarray
        size = getattr(value, "shape", value.size)
        kind = str(getattr(value, "mode", getattr(value, "dtype", "")))
        return {"data": list(size), "kind": kind, "digest": _digest(value.tobytes())}
    if callable(value):
        return {
            "function": f"{getattr(value, '__module__', '?')}.{getattr(value, '__qualname__', repr(type(value)))}"
        }
    return {"type": f"{type(value).__module__}.{type(value).__qualname__}"}


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()
