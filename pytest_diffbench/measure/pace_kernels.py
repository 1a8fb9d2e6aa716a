"""Fixed pieces of work that stand for what a call of a pipeline does."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

Kernel: TypeAlias = "Callable[[], object]"
"""Does the same work whenever it's called."""

_OBJECTS = 2000
_PRODUCTS = 48
_CONVOLUTIONS = 6
_COPIES = 4
_COPIED_VALUES = 1 << 20
"""4 MiB, more than a core's own caches hold; both buffers together 8 MiB."""

_DEVICE_EDGE = 4096
_DEVICE_COPIED_BYTES = 1 << 27
"""More than the caches of a device hold."""


def processor_kernels() -> dict[str, Kernel]:
    """What a pipeline on the processor is made of, each about 2 ms on a slow core; 8 MiB of buffers.

    They draw nothing from a global generator, and obey neither a default device nor a default dtype.
    """
    import torch

    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")

    tokens, weight, bias = random(64, 128), random(128, 128), random(128)
    picture, filters, shift = random(1, 32, 32, 32), random(32, 32, 3, 3), random(32)
    source, target = (torch.ones(_COPIED_VALUES, dtype=torch.float32, device="cpu") for _ in range(2))

    def products() -> None:
        for _ in range(_PRODUCTS):
            torch.nn.functional.linear(tokens, weight, bias).mul_(0.5).add_(tokens)

    def convolution() -> None:
        for _ in range(_CONVOLUTIONS):
            torch.nn.functional.conv2d(picture, filters, shift, padding=1)

    def copy() -> None:
        for _ in range(_COPIES):
            target.copy_(source)

    return {"interpreter": _interpret, "products": products, "convolution": convolution, "copy": copy}


@dataclasses.dataclass
class _Layer:
    scale: int
    shift: int = 0

    def forward(self, value: int, *, mask: tuple[int, ...] | None = None, **options: int) -> tuple[int, int]:
        held = {"value": value, **options}
        return self.moved(held["value"]), len(mask or ())

    def moved(self, value: int) -> int:
        return (value * self.scale + self.shift) & 0xFFFF


def _interpret() -> int:
    value = 1
    for index in range(_OBJECTS):
        layer = _Layer(3, shift=index)
        value, _ = layer.forward(value, mask=(index, value), step=index)
    return value


def device_kernels(
    device: str, dtype: str, edge: int = _DEVICE_EDGE, copied_bytes: int = _DEVICE_COPIED_BYTES
) -> dict[str, Kernel]:
    """Large products and copies, for a device that works by itself.

    Args:
        device: torch device.
        dtype: of the products; float32 where the device multiplies no matrices of it.
        edge: of the matrices.
        copied_bytes: size of the buffer that is copied.
    """
    import torch

    # Values of all kinds, since what a chip draws, and so its clocks, depends on their bits. No number is drawn.
    values = torch.arange(edge * edge, dtype=torch.float32, device=device).sin().view(edge, edge)
    try:
        matrix = values.to(getattr(torch, dtype))
        product = torch.mm(matrix, matrix)
    except (RuntimeError, AttributeError, TypeError):
        matrix, product = values, torch.mm(values, values)
    source = torch.ones(copied_bytes // 4, dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    return {"products": lambda: torch.mm(matrix, matrix, out=product), "copy": lambda: target.copy_(source)}
