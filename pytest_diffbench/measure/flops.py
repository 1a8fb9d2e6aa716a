"""Counting floating-point operations with torch's own formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType


class FlopMeter:
    """Counts the FLOPs of all that runs inside it, one multiply-add as two.

    torch's counter knows the formulas; it lacks those of the fused attention that CPUs and third-party devices use,
    which would count as nothing.
    """

    def __init__(self) -> None:
        from torch.utils.flop_counter import FlopCounterMode

        self._counter = FlopCounterMode(display=False, custom_mapping=_missing_formulas())

    def __enter__(self) -> FlopMeter:
        self._counter.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._counter.__exit__(kind, error, trace)

    def total(self) -> int:
        """FLOPs so far."""
        return int(self._counter.get_total_flops())


def _missing_formulas() -> dict[Any, Any]:
    import torch
    from torch.utils.flop_counter import sdpa_flop_count

    def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return int(sdpa_flop_count(query, key, value))

    names = ("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_fused_attention_overrideable")
    return {getattr(torch.ops.aten, name): attention for name in names if hasattr(torch.ops.aten, name)}
