"""Writing down what is called with which arguments, such that two calls can be told apart."""

from __future__ import annotations

import contextlib
import inspect
import math
import types
from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.measure.components import components_of
from pytest_diffbench.records.facts import fact_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pytest_diffbench.records import Fact


_ANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


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
    signature = _signature_of(target)
    return {} if signature is None else signature.parameters


def bind(target: object, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments by name. Raises MeasureError, naming the pipeline, for those that it doesn't take."""
    signature = _signature_of(target)
    if signature is None or not signature.parameters:
        return {f"argument_{i}": value for i, value in enumerate(args)} | dict(kwargs)
    try:
        bound = signature.bind_partial(*args, **kwargs)
    except TypeError as error:
        known = ", ".join(signature.parameters)
        raise MeasureError(f"{name_of(target)} can't be called like this: {error}. It takes: {known}.") from None
    named: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            named |= {f"{name}_{i}": element for i, element in enumerate(value)}
        elif kind is inspect.Parameter.VAR_KEYWORD:
            named |= value
        else:
            named[name] = value
    return named


def _signature_of(target: object) -> inspect.Signature | None:
    """What a target takes, by the names of whoever takes it at last; None where Python can't tell.

    A subclass, a decorator or a patch that hands on `*args` and `**kwargs` says nothing of them: the names are those
    of what it wraps, so that an argument is the same one by position and by keyword.
    """
    signatures = [
        signature
        for function in _innermost(callable_of(target))
        if (signature := _own_signature(function)) is not None
    ]
    if not signatures:
        return None
    whole = signatures[-1]
    for outer in reversed(signatures[:-1]):
        whole = _handed_on(outer, whole)
    return whole


def _own_signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (ValueError, TypeError):  # builtins
        return None


def _innermost(target: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """A callable, and those that it hands its arguments on to, for as long as that can be seen."""
    owner, name = (target.__self__, target.__name__) if inspect.ismethod(target) else (target, "__call__")
    methods = [call for kind in type(owner).__mro__ if inspect.isfunction(call := vars(kind).get(name))]
    bound = inspect.ismethod(target)
    if not methods or inspect.isfunction(target) or (bound and getattr(target, "__func__", None) is not methods[0]):
        # a method that was put into an instance isn't its class's, whatever its name
        yield from _through(target, owner if bound else None, visited=set())
        return
    handing_on = True
    for call in methods:  # a pipeline's own, and those that it overrides
        if handing_on:
            for inner in _through(types.MethodType(call, owner), owner, visited=set()):
                yield inner
                handing_on = _hands_on(inner)
    forward = getattr(owner, "forward", None)  # of a module
    if handing_on and name == "__call__" and inspect.ismethod(forward):
        yield forward


def _through(function: Callable[..., Any], owner: object, visited: set[int]) -> Iterator[Callable[..., Any]]:
    """A callable, and what its closure holds for it to call; `owner` is what methods among that are bound to."""
    yield function
    plain = getattr(function, "__func__", function)
    visited.add(id(plain))
    if not _hands_on(function):
        return
    held = _contents(getattr(plain, "__closure__", None) or ())
    inner = [
        routine
        for routine in held
        if inspect.isroutine(routine) and id(getattr(routine, "__func__", routine)) not in visited
    ]
    if len(inner) == 1:  # of several, nobody knows which is called
        (routine,) = inner
        bound = types.MethodType(routine, owner) if owner is not None and inspect.isfunction(routine) else routine
        yield from _through(bound, owner, visited)


def _contents(cells: Iterable[Any]) -> Iterator[Any]:
    for cell in cells:
        with contextlib.suppress(ValueError):  # a cell that is still empty
            yield cell.cell_contents


def _hands_on(function: Callable[..., Any]) -> bool:
    signature = _own_signature(function)
    kinds = {parameter.kind for parameter in signature.parameters.values()} if signature is not None else set()
    return inspect.Parameter.VAR_POSITIONAL in kinds or inspect.Parameter.VAR_KEYWORD in kinds


def _handed_on(outer: inspect.Signature, inner: inspect.Signature) -> inspect.Signature:
    """The parameters of a callable that hands on what it doesn't name itself."""
    own = [parameter for parameter in outer.parameters.values() if parameter.kind not in _ANY]
    by_position = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in outer.parameters.values())
    by_name = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in outer.parameters.values())
    rest = [
        parameter
        for parameter in inner.parameters.values()
        if parameter.name not in outer.parameters or parameter.kind in _ANY
    ]
    if not by_position:
        rest = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) if parameter.kind not in _ANY else parameter
            for parameter in rest
            if parameter.kind is not inspect.Parameter.VAR_POSITIONAL
        ]
    if not by_name:
        rest = [parameter for parameter in rest if parameter.kind not in (*_ANY[1:], inspect.Parameter.KEYWORD_ONLY)]
    try:
        return inspect.Signature(sorted([*own, *rest], key=lambda parameter: parameter.kind))
    except ValueError:  # a default before a parameter without one: nothing that could be called by position
        return outer


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
