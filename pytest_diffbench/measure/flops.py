"""Counting floating-point operations with torch's own formulas."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType


class FlopMeter:
    """Counts the FLOPs of all that runs inside it, one multiply-add as two.

    torch's counter knows the formulas; it lacks those of the fused attention that CPUs and third-party devices use,
    which would count as nothing. Compiled code runs eagerly in here, so that its fused kernels count too.
    """

    def __init__(self) -> None:
        from torch.utils.flop_counter import FlopCounterMode

        self._counter = FlopCounterMode(display=False, custom_mapping=_missing_formulas())

    def __enter__(self) -> FlopMeter:
        import torch

        with contextlib.ExitStack() as undo:
            # The counter's hooks are global, and do no harm to a module that torch.compile() has wrapped.
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
        return int(self._counter.get_total_flops())


def _missing_formulas() -> dict[Any, Any]:
    import torch

    def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        # torch's own formula, without its demand in older versions that keys have as many heads as queries.
        batch, heads, length, width = query
        return int(2 * batch * heads * length * key[-2] * (width + value[-1]))

    names = ("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_fused_attention_overrideable")
    return {getattr(torch.ops.aten, name): attention for name in names if hasattr(torch.ops.aten, name)}
