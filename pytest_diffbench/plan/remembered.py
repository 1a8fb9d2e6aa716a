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
from pytest_diffbench.placeholders.tensors import Layout, Placeholder

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
            leaves = [
                planner.mode.placeholder(leave) if isinstance(leave, Layout) else leave for leave in known.leaves
            ]
            names.give(leaves)
            return pytree.tree_unflatten(leaves, known.spec)
        read = planner.mode.read
        with planner.counting() as counted, planner.unnamed():
            output = inner(*args, **kwargs)
        leaves, out_spec = pytree.tree_flatten(output)
        if not self._forgets and _rebuildable(leaves):
            layouts = tuple(Layout.of(leave) if isinstance(leave, Placeholder) else leave for leave in leaves)
            self._calls[keys[planner.mode.read != read]] = _Call(
                layouts, out_spec, counted.tally, counted.above_bytes
            )
        names.give(leaves)
        return output


class _ResultNames:
    """Names for what a module returns: entry by entry, after the same entry of its arguments."""

    def __init__(self, module: int, call: int, given: list[Any]) -> None:
        self._call = (module, call)
        tensors = [value for value in given if isinstance(value, torch.Tensor)]
        plain = tuple(repr(value) for value in given if not isinstance(value, torch.Tensor))
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
        for place, leaf in enumerate(leaves):
            if not isinstance(leaf, Placeholder):
                continue
            rows = self._rows.get(len(leaf), []) if leaf.ndim else []
            if rows:
                entries = [Name(hash((key, place)), frozenset({(mark, i)})) for i, key in enumerate(rows)]
                leaf.content = Content(None, tuple(entries))
            else:
                leaf.content = Content(Name(hash((self._whole, place)), frozenset({(mark, -1)})))


def _key(given: list[Any], spec: Any, *, by_value: bool) -> Any:
    return spec, tuple(_part(value, by_value=by_value) for value in given)


def _part(value: Any, *, by_value: bool) -> Any:
    if isinstance(value, torch.Tensor):
        counts = not isinstance(value, Placeholder) and not _is_real_number(value.dtype) and value.numel() > 1
        # a time step may be a view of all time steps, which begins where the last one ended
        layout = Layout.of(value)._replace(offset=0)
        return layout, content_of(value).key if counts or (by_value and type(value) is torch.Tensor) else None
    return type(value), repr(value)


def _is_real_number(dtype: torch.dtype) -> bool:
    return dtype.is_floating_point or dtype.is_complex


def _rebuildable(leaves: list[Any]) -> bool:
    """Whether all that was returned can be made up again from its layout."""
    return all(isinstance(leave, (Placeholder, int, float, str, type(None))) for leave in leaves)


def _hooked(module: torch.nn.Module) -> bool:
    return any(
        # naming a call for caches leaves an empty registry of hooks behind
        getattr(getattr(part, "_diffusers_hook", None), "hooks", None)
        or (part is not module and (part._forward_hooks or part._forward_pre_hooks))
        for part in module.modules()
    )
