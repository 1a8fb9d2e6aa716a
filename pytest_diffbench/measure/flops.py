"""Counting operators, and their floating-point operations with torch's own formulas."""

from __future__ import annotations

import collections
import contextlib
import functools
import sys
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class FlopMeter:
    """Counts the operators of all that runs inside it, and their FLOPs, one multiply-add as two.

    The formulas are those of `torch.utils.flop_counter`; it lacks those of the fused attention that CPUs and
    third-party devices use, which would count as nothing. Compiled code runs eagerly in here, so that its fused
    kernels count too.

    torch's own `FlopCounterMode` counts the same, by module, and takes three times as long as a small pipeline does
    for that: it asks each operator anew whether it can be decomposed, and follows every layer. Here the sum is
    wanted.

    Args:
        on_result: is handed what operators return that make new tensors.
    """

    def __init__(self, on_result: Callable[[Any], None] = lambda _: None) -> None:
        self._counter = _counter_class()(on_result)

    def __enter__(self) -> FlopMeter:
        import torch

        with contextlib.ExitStack() as undo:
            undo.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", r"Using `torch\.compile\(module\)` when there are global hooks")
            undo.enter_context(torch.compiler.set_stance("force_eager"))
            undo.enter_context(self._counter)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.__exit__(kind, error, trace)

    def total(self) -> int:
        """FLOPs so far."""
        return int(self._counter.flops)

    def add(self, flops: int) -> None:
        """Count what no operator showed."""
        if self._counter.place is not None:
            self._counter.flops += flops

    def uncounted(self) -> dict[str, int]:
        """How often operators of other packages ran that no formula knows, by namespace and name."""
        return dict(self._counter.uncounted)

    def operators(self) -> dict[tuple[str, str], int]:
        """How often each operator ran, by the place that it ran at and its name; views aren't among them."""
        return dict(self._counter.operators)

    def pauses(self, hook: Any) -> None:
        """Take the interpreter's profiling hook off while an operator is counted; None where it's somebody else's."""
        self._counter.hook = hook

    def at(self, place: str | None) -> None:
        """Count for another place from now on; None to count nothing."""
        self._counter.place = place


@functools.cache
def flop_formulas() -> dict[Any, Callable[..., int]]:
    """By operator, the function of its arguments and its result (`out_val`) that gives its FLOPs."""
    from torch.utils.flop_counter import flop_registry

    return {**flop_registry, **_missing_formulas()}


@functools.cache
def _counter_class() -> Any:
    # made when it is first wanted, since its base class comes with torch
    from torch.utils._python_dispatch import TorchDispatchMode

    formulas = flop_formulas()

    class Counter(TorchDispatchMode):
        """Adds up what each operator's formula says; operators that are made of others are taken apart first."""

        supports_higher_order_operators = True

        def __init__(self, on_result: Callable[[Any], None]) -> None:
            super().__init__()  # type: ignore[no-untyped-call]  # torch's own class
            self.on_result = on_result
            self.flops = 0
            self.place: str | None = ""
            self.hook: Any = None
            self.operators: collections.Counter[tuple[str, str]] = collections.Counter()
            self.uncounted: collections.Counter[str] = collections.Counter()
            # By identity: an operator's own hash is a Python function.
            self._known: dict[int, tuple[bool, str, bool, Callable[..., int] | None]] = {}
            self._counted: dict[Any, int] = {}

        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            # torch would wrap the method below against being compiled, which costs as much as all of it. There is no
            # compiling in here: `FlopMeter` forces everything to run eagerly.
            return False

        def __torch_dispatch__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            place = self.place
            if place is None:
                return func(*args, **kwargs) if kwargs else func(*args)
            hook = self.hook
            if hook is not None:
                # What counting does isn't to be counted; each of its calls would be offered to the hook all the same.
                sys.setprofile(None)
            try:
                composite, name, makes, formula = self._known.get(id(func)) or self._look_up(func)
                if composite:
                    with self:
                        return func.decompose(*args, **kwargs or {})
                out = func(*args, **kwargs) if kwargs else func(*args)
                if name:
                    self.operators[place, name] += 1
                    if makes:
                        self.on_result(out)
                if formula is not None:
                    self.flops += self._flops_of(func, formula, args, kwargs or {}, out)
                elif name and func.namespace not in _OF_TORCH:
                    self.uncounted[f"{func.namespace}::{name}"] += 1
                return out
            finally:
                if hook is not None:
                    sys.setprofile(hook)

        def _flops_of(
            self, func: Any, formula: Callable[..., int], args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
        ) -> int:
            # The formulas know shapes alone, and torch takes long to find them: every layer of a kind asks the same.
            key = None if kwargs else _shapes_of(func, args)
            if key is None:
                return int(formula(*args, **kwargs, out_val=out))
            if key not in self._counted:
                self._counted[key] = int(formula(*args, out_val=out))
            return self._counted[key]

        def _look_up(self, func: Any) -> tuple[bool, str, bool, Callable[..., int] | None]:
            packet = getattr(func, "overloadpacket", func)  # operators of higher order have no overloads
            composite = packet not in formulas and hasattr(func, "decompose") and func._can_decompose()
            # Views compute nothing and move nothing, and which of them leads to a shape is a matter of style.
            name = "" if getattr(func, "is_view", False) else packet.__name__
            makes = not getattr(getattr(func, "_schema", None), "is_mutable", False)
            self._known[id(func)] = description = composite, name, makes, formulas.get(packet)
            return description

    return Counter


_OF_TORCH = frozenset({"aten", "prims", "prim", "profiler", "_c10d_functional", "c10d", "higher_order"})
"""Namespaces of operators that torch's formulas know as far as they compute anything."""


def _shapes_of(func: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """A key for an operator and the shapes and numbers that it is given; None where there is something else, too."""
    from torch import Tensor

    key: list[Any] = [id(func)]  # an operator's own hash is a Python function
    for value in args:
        if isinstance(value, Tensor):
            key.append(value.shape)
        elif value is None or isinstance(value, (bool, int, float)):
            key.append(value)
        else:
            return None
    return tuple(key)


def _missing_formulas() -> dict[Any, Any]:
    import torch

    def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        # torch's own formula, without its demand in older versions that keys have as many heads as queries.
        batch, heads, length, width = query.shape
        return int(2 * batch * heads * length * key.shape[-2] * (width + value.shape[-1]))

    def product(left: Any, _weight: Any, *_: Any, out_val: Any, **__: Any) -> int:
        # Packed weights have shapes of their own; what they are multiplied with and what comes out have not.
        return int(2 * left.shape[-1] * out_val.numel())

    formulas = {
        "_scaled_dot_product_flash_attention_for_cpu": attention,
        "_scaled_dot_product_fused_attention_overrideable": attention,
        "_scaled_dot_product_attention_math_for_mps": attention,
        "_int_mm": product,
        "_weight_int8pack_mm": product,
        "_weight_int4pack_mm": product,
        "_weight_int4pack_mm_for_cpu": product,
        "_dyn_quant_matmul_4bit": product,
    }
    return {
        getattr(torch.ops.aten, name): formula for name, formula in formulas.items() if hasattr(torch.ops.aten, name)
    }
