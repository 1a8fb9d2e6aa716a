"""What operations cost, from the shapes of their arguments and results: FLOPs, bytes moved, and a roofline time."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_diffbench.measure.flops import flop_formulas
from pytest_diffbench.placeholders.content import tensors_in
from pytest_diffbench.placeholders.tensors import signature

if TYPE_CHECKING:
    import torch

    from pytest_diffbench.records.peaks import Peak

_ROWS_ALONE = frozenset({"embedding", "index", "index_select", "gather"})
"""Operations that read of their first argument only what they return."""

_WRITE_ALONE = frozenset({"copy_", "fill_", "zero_", "index_put_", "scatter_"})
"""Operations in place that needn't read what they write over."""


class Cost(NamedTuple):
    """Of one operation.

    Attributes:
        flops: one multiply-add as two.
        moved_bytes: arguments read once and results written once.
        dtype: that it computes in, as `bfloat16`.
        tokens: of a fused attention, the length of its longer sequence.
    """

    flops: int
    moved_bytes: int
    dtype: str
    tokens: int = 0


@dataclasses.dataclass(slots=True)
class Tally:
    """What a part of a call cost. Each kind of operation is kept with how often it ran."""

    flops: int = 0
    attention_flops: int = 0
    tokens: int = 0
    """The longest sequence that an attention looked at."""

    operations: Counter[Cost] = dataclasses.field(default_factory=Counter)

    def add(self, cost: Cost, *, attention: bool) -> None:
        """Count one operation."""
        self.tokens = max(self.tokens, cost.tokens)
        self.flops += cost.flops
        if attention:
            self.attention_flops += cost.flops
        self.operations[cost] += 1

    def merge(self, other: Tally) -> None:
        """Count all that another one counted."""
        self.flops += other.flops
        self.attention_flops += other.attention_flops
        self.tokens = max(self.tokens, other.tokens)
        self.operations.update(other.operations)

    def without(self, part: Tally) -> Tally:
        """What is left beside a part of it."""
        return Tally(
            self.flops - part.flops,
            self.attention_flops - part.attention_flops,
            operations=self.operations - part.operations,
        )

    def roofline_s(self, peak: Peak) -> float:
        """Least time on a device: each operation alone, at the peak of its arithmetic or of the memory."""
        return sum(
            count * max(cost.flops / peak.flops_per_s(cost.dtype), cost.moved_bytes / peak.bytes_per_s)
            for cost, count in self.operations.items()
        )


class CostTable:
    """Costs of operations, looked up by the shapes of their arguments."""

    def __init__(self) -> None:
        self._known: dict[Any, Cost] = {}

    def of(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Cost:
        """Cost of one operation, its result in hand."""
        try:
            key = signature(func, args, kwargs)
            cost = self._known.get(key)
        except TypeError:  # an argument without a hash
            return _cost(func, args, kwargs, out)
        if cost is None:
            cost = self._known[key] = _cost(func, args, kwargs, out)
        return cost


def _cost(func: Any, args: Any, kwargs: Any, out: Any) -> Cost:
    formula = flop_formulas().get(func._overloadpacket)
    flops = int(formula(*args, **kwargs, out_val=out)) if formula is not None else 0
    name = func._overloadpacket.__name__
    results = list(tensors_in([out]))
    given = list({id(tensor): tensor for tensor in tensors_in((*args, *kwargs.values()))}.values())
    if name in _ROWS_ALONE:
        given = [*results, *given[1:]]
    elif name in _WRITE_ALONE:
        given = given[1:]
    moved = sum(_footprint_bytes(tensor) for tensor in (*given, *results))
    floating = [result for result in (*results, *given) if result.is_floating_point() or result.is_complex()]
    dtype = (
        str((floating or results or given)[0].dtype).removeprefix("torch.") if floating or results or given else ""
    )
    tokens = max(args[0].shape[-2], args[1].shape[-2]) if name.startswith("_scaled_dot_product") else 0
    return Cost(flops, moved, dtype, tokens)


def _footprint_bytes(tensor: torch.Tensor) -> int:
    """Bytes of the elements that differ: one that is repeated along an axis is read once."""
    count = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        count *= size if stride or size == 0 else 1
    return count * tensor.dtype.itemsize
