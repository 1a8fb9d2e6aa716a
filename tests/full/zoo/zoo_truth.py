"""What a call of a pipeline really did, counted by plain wrappers around its parts that know nothing of measuring."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclasses.dataclass(slots=True)
class Count:
    """Passages through the parts of a pipeline in one call.

    Attributes:
        calls: by component, and by component and method for methods.
        arguments: of each call of a module, in order: its component, and its tensors.
    """

    calls: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    arguments: list[tuple[str, dict[str, torch.Tensor]]] = dataclasses.field(default_factory=list)


def count(pipeline: Any, arguments: dict[str, Any]) -> Count:
    """Call a pipeline with a seed of its own, and count."""
    counted = Count()
    with contextlib.ExitStack() as undo:
        for name, part in pipeline.components.items():
            if isinstance(part, torch.nn.Module):
                undo.enter_context(_replaced(part, "forward", counted, name))
                if hasattr(part, "decode"):
                    undo.enter_context(_replaced(part, "decode", counted, f"{name}.decode"))
            elif hasattr(part, "step"):
                undo.enter_context(_replaced(part, "step", counted, f"{name}.step"))
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            pipeline(**arguments)
    return counted


def count_twice(pipeline: Any, arguments: dict[str, Any], other_prompt: str) -> tuple[Count, Count]:
    """Count a call, and the same call with another prompt."""
    first, second = (
        count(pipeline, arguments | {"prompt": prompt}) for prompt in (arguments["prompt"], other_prompt)
    )
    assert [name for name, _ in first.arguments] == [name for name, _ in second.arguments]
    return first, second


def branches_of_first_calls(first: Count, second: Count) -> dict[str, set[str]]:
    """Branches in the first step of each component, told by what another prompt changes in the calls.

    Both calls begin with the same noise. What the prompt doesn't reach is unconditional; where it reaches one half of
    a batch and not the other, both branches are in it. From the second step on the prompt has reached the sample: the
    first step is over where a component is handed a sample that it wasn't handed at first.
    """
    branches_by_name: dict[str, set[str]] = {}
    samples: dict[str, torch.Tensor] = {}
    for (name, first_arguments), (_, second_arguments) in zip(first.arguments, second.arguments, strict=True):
        if not first_arguments:
            continue
        sample = next(iter(first_arguments.values()))
        if samples.setdefault(name, sample).shape == sample.shape and samples[name].equal(sample):
            branches_by_name.setdefault(name, set()).add(_branch(first_arguments, second_arguments))
    return branches_by_name


def _branch(first_arguments: dict[str, torch.Tensor], second_arguments: dict[str, torch.Tensor]) -> str:
    batch = len(next(iter(first_arguments.values())))  # the sample comes first
    reached: set[str] = set()
    for name, tensor in first_arguments.items():
        other = second_arguments[name]
        if tensor.shape == other.shape and tensor.equal(other):
            continue
        halves = zip(tensor.chunk(2), other.chunk(2), strict=True)
        same = (
            [
                first_half.shape == second_half.shape and first_half.equal(second_half)
                for first_half, second_half in halves
            ]
            if len(tensor) == batch
            else []
        )
        reached.add({(True, False): "second", (False, True): "first"}.get(tuple(same), "all"))  # type: ignore[arg-type]  # of any length
    if not reached:
        return "uncond"
    return "joint" if len(reached - {"all"}) == 1 else "cond"


@contextlib.contextmanager
def _replaced(owner: Any, method: str, counted: Count, name: str) -> Iterator[None]:
    original: Callable[..., Any] = getattr(owner, method)
    had = method in vars(owner)

    def counting(*args: Any, **kwargs: Any) -> Any:
        counted.calls[name] += 1
        if method == "forward":
            named = {str(place): value for place, value in enumerate(args)} | kwargs
            if isinstance(next(iter(named.values())), list):  # batches are lists
                named = {
                    key: torch.stack(value) if isinstance(value, list) else value for key, value in named.items()
                }
            counted.arguments.append((name, dict(_tensors(named))))
        return original(*args, **kwargs)

    object.__setattr__(owner, method, counting)
    try:
        yield
    finally:
        if had:
            object.__setattr__(owner, method, original)
        else:
            object.__delattr__(owner, method)


def _tensors(value: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        if value.ndim:
            yield name, value.clone()
    elif isinstance(value, (list, tuple)):
        for place, item in enumerate(value):
            yield from _tensors(item, f"{name}.{place}")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _tensors(item, f"{name}.{key}")
