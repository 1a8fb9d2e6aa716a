"""Plants that leave calls, shapes and FLOPs as they are, and do the same in more pieces."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch
from plants import replaced

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def masks_all_true(_pipeline: Any) -> Iterator[None]:
    """Hand attention a mask that hides nothing, wherever it was handed none."""
    fused = torch.nn.functional.scaled_dot_product_attention

    def masked(query: Any, key: Any, value: Any, attn_mask: Any = None, **given: Any) -> Any:
        if attn_mask is None and not given.get("is_causal"):
            attn_mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool)
        return fused(query, key, value, attn_mask, **given)

    with replaced(torch.nn.functional, "scaled_dot_product_attention", masked):
        yield


@contextlib.contextmanager
def modules_walked(pipeline: Any) -> Iterator[None]:
    """Look at every module of the denoiser before each of its calls."""

    def walk(module: Any, _args: Any) -> None:
        for submodule in module.modules():
            submodule.extra_repr()

    hook = pipeline.transformer.register_forward_pre_hook(walk)
    try:
        yield
    finally:
        hook.remove()


@contextlib.contextmanager
def cast_twice(pipeline: Any) -> Iterator[None]:
    """Bring each linear layer's result to double precision and back."""

    def there_and_back(_module: Any, _args: Any, output: Any) -> Any:
        return output.double().to(output.dtype)

    layers = [module for module in pipeline.transformer.modules() if isinstance(module, torch.nn.Linear)]
    hooks = [layer.register_forward_hook(there_and_back) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
