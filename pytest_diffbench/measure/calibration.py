"""A fixed piece of work, timed beside the rounds: tells a slow machine from slow code."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def calibration_for(device: str) -> Callable[[], float]:
    """A function that does the same arithmetic every time and returns the seconds that it took.

    Matrix products (compute) and additions over a buffer larger than most caches (bandwidth), about 10 ms on two
    slow cores, so that timing it before each round costs little beside the round. It shares the round's thread
    count and clocks but none of the code under test.
    """
    import torch

    from pytest_diffbench.measure import clock as host

    kind = device.partition(":")[0]
    generator = torch.Generator().manual_seed(0)
    edge, repeats, length = (256, 12, 1 << 20) if kind == "cpu" else (2048, 24, 1 << 24)
    matrix = (torch.randn(edge, edge, generator=generator) / edge**0.5).to(device)
    buffer = torch.zeros(length, device=device)
    clock = host.clock_for(device)

    def calibrate() -> float:
        clock.synchronize()
        begin_ns = host.now_ns()
        product = matrix
        for _ in range(repeats):
            product = matrix @ product
        for _ in range(repeats):
            buffer.add_(1.0)
        clock.synchronize()
        return (host.now_ns() - begin_ns) / 1e9

    calibrate()  # the first call allocates and picks kernels
    return calibrate
