"""What a device achieves in one large matrix product: the peak of those that the table of peaks hasn't got."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from pytest_diffbench.measure import clock as host
from pytest_diffbench.measure.clock import clock_for
from pytest_diffbench.pipelines.devices import return_memory
from pytest_diffbench.records.peaks import matmul_fact, peak_reported

if TYPE_CHECKING:
    from pytest_diffbench.records import Fact

_EDGE = 4096
_BATCH_S = 0.02
"""Products are timed in batches of at least this, so that launching them and the clock don't matter."""

_BATCHES = 10
_BUDGET_S = 0.5


def matmul_facts(device: str, dtype: str, reported: Fact = None) -> dict[str, Fact]:
    """The measured peak as a fact of the environment.

    Empty on a CPU, where it depends on who else is there, for a device whose published peak is known, and where it
    can't be measured. A device is measured once in a process.

    Args:
        device: a torch device.
        dtype: of the arithmetic.
        reported: the driver's name for it.
    """
    known = isinstance(reported, str) and peak_reported(reported) is not None
    if known or device.partition(":")[0] == "cpu":
        return {}
    rate = _measured_once(device, dtype)
    return {} if rate is None else {matmul_fact(dtype): rate}


def matmul_flops_per_s(device: str, dtype: str, edge: int = _EDGE) -> float:
    """The best rate of square matrix products in FLOP/s, a multiply-add being two. Takes about half a second."""
    import torch

    clock = clock_for(device)
    # Values of all kinds, since chips are faster on bits that are all alike; and no random number is drawn.
    matrix = (
        torch.arange(edge * edge, dtype=torch.float32, device=device).sin().to(getattr(torch, dtype)).view(edge, edge)
    )
    product = torch.empty_like(matrix)

    def seconds(count: int) -> float:
        clock.synchronize()
        begin_ns = host.now_ns()
        for _ in range(count):
            torch.mm(matrix, matrix, out=product)
        clock.synchronize()
        return (host.now_ns() - begin_ns) / 1e9

    spent_s = seconds(1)  # picks a kernel
    count, best_s = 1, float("inf")
    for _ in range(_BATCHES):
        batch_s = seconds(count)
        best_s = min(best_s, batch_s / count)
        spent_s += batch_s
        if spent_s > _BUDGET_S:
            break
        if batch_s < _BATCH_S:
            count = min(2 * count if batch_s <= 0 else max(2 * count, round(count * _BATCH_S / batch_s)), 10_000)
    return 2.0 * edge**3 / best_s


@functools.cache
def _measured_once(device: str, dtype: str) -> float | None:
    try:
        rate = matmul_flops_per_s(device, dtype)
    except (RuntimeError, AttributeError):  # no room, or no such arithmetic: then there is no peak to show
        rate = None
    return_memory()
    return rate
