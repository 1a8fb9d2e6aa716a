"""A fixed piece of work, timed beside the rounds: tells a slow machine from slow code."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Calibration:
    """Does the same arithmetic every time it is called and returns the seconds that it took.

    Matrix products (compute) and additions over a buffer larger than most caches (bandwidth), about 10 ms on two
    slow cores, so that timing it before each round costs little beside the round. It shares the round's thread
    count and clocks but none of the code under test.

    Its buffers, 80 MiB on a GPU, are there from the first call until they're released: variants that are measured
    together share them, and none has them in its memory.

    Args:
        device: torch device.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._work: Callable[[], float] | None = None

    def __call__(self) -> float:
        """Seconds of host time, the device's work included."""
        if self._work is None:
            self._work = _prepared(self._device)
        return self._work()

    def release(self) -> None:
        """Give the buffers back; a later call makes new ones."""
        self._work = None


def _prepared(device: str) -> Callable[[], float]:
    import torch

    from pytest_diffbench.measure import clock as host

    kind = device.partition(":")[0]
    generator = torch.Generator().manual_seed(0)
    edge, repeats, length = (256, 12, 1 << 20) if kind == "cpu" else (2048, 24, 1 << 24)
    matrix = (torch.randn(edge, edge, generator=generator) / edge**0.5).to(device)
    buffer = torch.zeros(length, device=device)
    clock = host.clock_for(device)

    def work() -> float:
        clock.synchronize()
        begin_ns = host.now_ns()
        product = matrix
        for _ in range(repeats):
            product = matrix @ product
        for _ in range(repeats):
            buffer.add_(1.0)
        clock.synchronize()
        return (host.now_ns() - begin_ns) / 1e9

    work()  # the first call allocates and picks kernels
    return work
