"""The values of arguments, written down such that another value reads differently, on whatever machine."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import hashlib
import inspect
import io
import math
import os
import sysconfig
import tokenize
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_diffbench.records.facts import fact_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_BY_REPR = (
    range,
    complex,
    decimal.Decimal,
    fractions.Fraction,
    uuid.UUID,
    datetime.date,
    datetime.time,
    datetime.timedelta,
)
_BY_TEXT = ("torch.dtype", "torch.device", "torch.layout")
_LAYOUT = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)


def describe(value: Any) -> Any:
    """An argument as plain JSON: as it is where it can be, by shape and digest where it is data, else by what it is.

    A function of the user's own is told by its source and the plain values that it closes over, one of a library by
    its name. What is left is described by its class: what it holds may change with every call.
    """
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
    for described in (_data, _plain, _composed, _function):
        description = described(value)
        if description is not None:
            return description
    return {"type": _kind_of(value)}


def _data(value: Any) -> dict[str, Any] | None:
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
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"bytes": len(bytes(value)), "digest": _digest(bytes(value))}
    return None


def _plain(value: Any) -> dict[str, Any] | None:
    kind = _kind_of(value)
    if isinstance(value, enum.Enum):
        return {kind: value.name}
    if isinstance(value, _BY_REPR):
        return {kind: repr(value)}
    if isinstance(value, os.PathLike):
        return {"path": os.fspath(value)}
    return {kind: str(value)} if kind in _BY_TEXT or kind.startswith("numpy.dtypes.") else None


def _composed(value: Any) -> dict[str, Any] | None:
    if isinstance(value, (set, frozenset)):
        return {"set": sorted((describe(inner) for inner in value), key=repr)}
    if isinstance(value, functools.partial):
        return {"partial": describe(value.func), "args": describe(value.args), "kwargs": describe(value.keywords)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: describe(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"type": _kind_of(value), "fields": fields}
    config = getattr(value, "config", None)
    if isinstance(config, dict):  # diffusers' callbacks, guiders, schedulers
        return {"type": _kind_of(value), "config": describe(dict(config))}
    return None


def _function(value: Any) -> dict[str, Any] | None:
    plain = getattr(value, "__func__", value)
    if not inspect.isroutine(plain) and not isinstance(value, type):
        return None
    description = {
        "function": f"{getattr(value, '__module__', '?')}.{getattr(value, '__qualname__', repr(type(value)))}"
    }
    if inspect.isfunction(plain) and not _is_of_a_library(plain):
        if (source := _source_of(plain)) is not None:
            description["digest"] = _digest(source.encode())
        nonlocals = inspect.getclosurevars(plain).nonlocals if plain.__closure__ else {}
        if held := {name: fact for name, inner in sorted(nonlocals.items()) if (fact := _fact(inner)) is not None}:
            return {**description, "holds": describe(held)}
    return description


def _fact(value: Any) -> Any:
    try:
        return fact_of(value)
    except TypeError:
        return None


def _is_of_a_library(function: Any) -> bool:
    """Whether another version of it may come with an update, which is software, and no other case."""
    file = Path(function.__code__.co_filename)
    libraries = {sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    return any(file.is_relative_to(library) for library in libraries if library)


def _source_of(function: Any) -> str | None:
    """Its source without comments and layout; None where there is none."""
    try:
        source = inspect.getsource(function)
        if function.__name__ == "<lambda>":
            source = _lambda_in(inspect.getsource(inspect.getmodule(function) or function), function) or source
    except (OSError, TypeError):
        return None
    words: list[str] = []
    with contextlib.suppress(tokenize.TokenError, IndentationError):  # the lines of a lambda that wasn't found
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        words.extend(token.string for token in tokens if token.type not in _LAYOUT)
    return " ".join(words) if words else source


def _lambda_in(source: str, function: Any) -> str | None:
    """A lambda's own part of a module's source: of its line alone, the function doesn't tell which it is."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    code = function.__code__
    places = {
        (line, column)
        for line, _, column, end in code.co_positions()
        if line is not None and column is not None and end is not None and end > column
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Lambda) and node.lineno == code.co_firstlineno and places:
            body = node.body
            first, last = (body.lineno, body.col_offset), (body.end_lineno or 0, body.end_col_offset or 0)
            if all(first <= place < last for place in places):
                return ast.unparse(node)
    return None


def _kind_of(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def identified_by_class(arguments: Mapping[str, Any]) -> list[str]:
    """Sentences about the arguments of which a change isn't seen, without their ends."""
    return [
        f"argument {name} is recorded only by its class: another object of that class counts as the same"
        for name, described in arguments.items()
        if held_by_class_alone(described)
    ]


def held_by_class_alone(described: Any) -> bool:
    """Whether a description, or a part of it, is of a class and nothing more: another object of it reads the same."""
    if isinstance(described, dict):
        return set(described) == {"type"} or any(map(held_by_class_alone, described.values()))
    return isinstance(described, list) and any(map(held_by_class_alone, described))


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()
