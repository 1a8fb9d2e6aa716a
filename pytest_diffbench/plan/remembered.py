"""Calls of a module that are like an earlier one, answered from memory while a pipeline is planned."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from pytest_diffbench.measure.boundaries import StandIn, put
from pytest_diffbench.placeholders.content import Content, Name, content_of, rows_of
from pytest_diffbench.placeholders.tensors import Blank, Layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_diffbench.measure.costs import Tally
    from pytest_diffbench.plan.planning import Planner


@dataclasses.dataclass(frozen=True, slots=True)
class _Call:
    """What is kept of a call: layouts of its results, and its cost."""

    leaves: tuple[Any, ...]
    spec: pytree.TreeSpec
    tally: Tally
    above_bytes: int
    """By how much the peak of memory was above what was in use before."""


class Memory:
    """Remembers calls of one module.

    Two calls are alike when their arguments have the same layouts; those with whole numbers or masks in them must
    have the same values too, since they may decide about shapes. Of single numbers, such as a time step, the value
    doesn't matter, unless the module was seen to read one: then all real arguments must have the same values.

    Modules with hooks of diffusers' own (caches of layers and steps) or of the user's within aren't remembered: what
    they do may depend on the step.
    """

    def __init__(self, planner: Planner, module: torch.nn.Module, number: int) -> None:
        self._planner = planner
        self._module = module
        self._number = number
        self._forgets = _hooked(module)
        self._calls: dict[Any, _Call] = {}
        self._results = 0

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Stand between the module and its callers."""
        inner = self._module.forward
        with contextlib.ExitStack() as undo:
            put(self._module, "forward", StandIn(inner, functools.partial(self._called, inner)), undo)
            yield

    def _called(self, inner: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        planner = self._planner
        given, spec = pytree.tree_flatten((args, kwargs))
        keys = _key(given, spec, by_value=False), _key(given, spec, by_value=True)
        self._results += 1
        names = _ResultNames(self._number, self._results, given)
        known = self._calls.get(keys[0]) or self._calls.get(keys[1])
        if known is not None:
            planner.count_again(known.tally, known.above_bytes)
            leaves = [planner.mode.blank(leave) if isinstance(leave, Layout) else leave for leave in known.leaves]
            names.give(leaves)
            return pytree.tree_unflatten(leaves, known.spec)
        read = planner.mode.read
        with planner.counting() as counted, planner.unnamed():
            output = inner(*args, **kwargs)
        leaves, out_spec = pytree.tree_flatten(output)
        if not self._forgets and _rebuildable(leaves):
            told = tuple(Layout.of(leave) if isinstance(leave, Blank) else leave for leave in leaves)
            self._calls[keys[planner.mode.read != read]] = _Call(told, out_spec, counted.tally, counted.above_bytes)
        names.give(leaves)
        return output


class _ResultNames:
    """Names for what a module returns: entry by entry, after the same entry of its arguments."""

    def __init__(self, module: int, call: int, given: list[Any]) -> None:
        self._call = (module, call)
        tensors = [one for one in given if isinstance(one, torch.Tensor)]
        plain = tuple(repr(one) for one in given if not isinstance(one, torch.Tensor))
        self._whole = hash((module, plain, tuple(content_of(tensor).key for tensor in tensors)))
        self._rows: dict[int, list[int]] = {}
        for batch in {len(tensor) for tensor in tensors if tensor.ndim}:
            parts = [rows_of(tensor) if tensor.ndim and len(tensor) == batch else None for tensor in tensors]
            wholes = [content_of(tensor).key for tensor in tensors]
            self._rows[batch] = [
                hash(
                    (
                        module,
                        plain,
                        tuple(rows[i].key if rows else whole for rows, whole in zip(parts, wholes, strict=True)),
                    )
                )
                for i in range(batch if any(parts) else 0)
            ]

    def give(self, leaves: list[Any]) -> None:
        module, call = self._call
        mark = (module << 32) | call
        for place, one in enumerate(leaves):
            if not isinstance(one, Blank):
                continue
            rows = self._rows.get(len(one), []) if one.ndim else []
            if rows:
                entries = [Name(hash((key, place)), frozenset({(mark, i)})) for i, key in enumerate(rows)]
                one.content = Content(None, tuple(entries))
            else:
                one.content = Content(Name(hash((self._whole, place)), frozenset({(mark, -1)})))


def _key(given: list[Any], spec: Any, *, by_value: bool) -> Any:
    return spec, tuple(_part(one, by_value=by_value) for one in given)


def _part(one: Any, *, by_value: bool) -> Any:
    if isinstance(one, torch.Tensor):
        counts = not isinstance(one, Blank) and not _is_real_number(one.dtype) and one.numel() > 1
        return Layout.of(one), content_of(one).key if counts or (by_value and type(one) is torch.Tensor) else None
    return type(one), repr(one)


def _is_real_number(dtype: torch.dtype) -> bool:
    return dtype.is_floating_point or dtype.is_complex


def _rebuildable(leaves: list[Any]) -> bool:
    """Whether all that was returned can be made up again from its layout."""
    return all(isinstance(leave, (Blank, int, float, str, type(None))) for leave in leaves)


def _hooked(module: torch.nn.Module) -> bool:
    return any(
        hasattr(part, "_diffusers_hook") or (part is not module and (part._forward_hooks or part._forward_pre_hooks))
        for part in module.modules()
    )
