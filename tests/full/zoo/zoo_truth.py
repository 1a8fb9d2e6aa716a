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
    found = Count()
    with contextlib.ExitStack() as undo:
        for name, part in pipeline.components.items():
            if isinstance(part, torch.nn.Module):
                undo.enter_context(_replaced(part, "forward", found, name))
                if hasattr(part, "decode"):
                    undo.enter_context(_replaced(part, "decode", found, f"{name}.decode"))
            elif hasattr(part, "step"):
                undo.enter_context(_replaced(part, "step", found, f"{name}.step"))
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            pipeline(**arguments)
    return found


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
    found: dict[str, set[str]] = {}
    samples: dict[str, torch.Tensor] = {}
    for (name, mine), (_, theirs) in zip(first.arguments, second.arguments, strict=True):
        if not mine:
            continue
        sample = next(iter(mine.values()))
        if samples.setdefault(name, sample).shape == sample.shape and samples[name].equal(sample):
            found.setdefault(name, set()).add(_branch(mine, theirs))
    return found


def _branch(mine: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> str:
    batch = len(next(iter(mine.values())))  # the sample comes first
    reached: set[str] = set()
    for name, tensor in mine.items():
        other = theirs[name]
        if tensor.shape == other.shape and tensor.equal(other):
            continue
        halves = zip(tensor.chunk(2), other.chunk(2), strict=True)
        same = [one.shape == two.shape and one.equal(two) for one, two in halves] if len(tensor) == batch else []
        reached.add({(True, False): "second", (False, True): "first"}.get(tuple(same), "all"))  # type: ignore[arg-type]  # of any length
    if not reached:
        return "uncond"
    return "joint" if len(reached - {"all"}) == 1 else "cond"


@contextlib.contextmanager
def _replaced(owner: Any, method: str, found: Count, name: str) -> Iterator[None]:
    original: Callable[..., Any] = getattr(owner, method)
    had = method in vars(owner)

    def counting(*args: Any, **kwargs: Any) -> Any:
        found.calls[name] += 1
        if method == "forward":
            named = {str(place): value for place, value in enumerate(args)} | kwargs
            if isinstance(next(iter(named.values())), list):  # batches are lists
                named = {
                    key: torch.stack(value) if isinstance(value, list) else value for key, value in named.items()
                }
            found.arguments.append((name, dict(_tensors(named))))
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
        for place, one in enumerate(value):
            yield from _tensors(one, f"{name}.{place}")
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _tensors(one, f"{name}.{key}")
