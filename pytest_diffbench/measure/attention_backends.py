"""FLOPs of attention that torch's formulas don't know: kernels of other packages, chosen by diffusers' dispatcher."""

from __future__ import annotations

import contextlib
import functools
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def attention_flops(query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...]) -> int:
    """FLOPs of attention, a multiply-add being two: scores, and their product with the values.

    Args:
        query: shape (batch, length, heads, width), as diffusers' dispatcher takes it.
        key: shape (batch, key length, heads of keys, width).
        value: shape (batch, key length, heads of keys, value width).
    """
    batch, length, heads, width = query
    return 2 * batch * heads * length * key[1] * (width + value[-1])


@contextlib.contextmanager
def counted_by_shapes(total: Callable[[], int], add: Callable[[int], None]) -> Iterator[None]:
    """Count attention by its shapes wherever a backend ran no operator that a formula counts.

    Args:
        total: FLOPs counted so far.
        add: adds some.
    """
    dispatch = sys.modules.get("diffusers.models.attention_dispatch")
    backends: dict[Any, Any] | None = getattr(getattr(dispatch, "_AttentionBackendRegistry", None), "_backends", None)
    if backends is None:  # nobody uses the dispatcher
        yield
        return
    before = dict(backends)
    backends.update({name: _counting(backend, total, add) for name, backend in before.items()})
    try:
        yield
    finally:
        backends.update(before)


def _counting(backend: Any, total: Callable[[], int], add: Callable[[int], None]) -> Any:
    @functools.wraps(backend)
    def attention(*args: Any, **kwargs: Any) -> Any:
        before = total()
        result = backend(*args, **kwargs)
        if total() == before:
            parts = [kwargs[name] if name in kwargs else args[n] for n, name in enumerate(("query", "key", "value"))]
            add(attention_flops(*(tuple(part.shape) for part in parts)))
        return result

    return attention
