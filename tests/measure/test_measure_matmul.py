"""The peak of a device that the table of peaks hasn't got, from a matrix product."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from pytest_diffbench.measure import matmul
from pytest_diffbench.measure.matmul import matmul_facts, matmul_flops_per_s

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    matmul._measured_once.cache_clear()
    yield
    matmul._measured_once.cache_clear()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_rate_is_measured_and_no_random_number_is_drawn(dtype: str) -> None:
    before = torch.get_rng_state()
    assert 0 < matmul_flops_per_s("cpu", dtype, edge=64) < 1e15
    assert torch.get_rng_state().equal(before)


def test_a_rate_is_the_work_over_the_best_time(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0, 5_000_000_000, 6_000_000_000, 6_100_000_000])
    monkeypatch.setattr("pytest_diffbench.measure.clock.now_ns", lambda: next(times))
    # the first product takes five seconds, so that one batch more is all there is
    assert matmul_flops_per_s("cpu", "float32", edge=10) == pytest.approx(2 * 10**3 / 0.1)


def test_a_device_is_measured_once_where_nothing_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def measured(device: str, dtype: str) -> float:
        asked.append((device, dtype))
        return 1e14

    monkeypatch.setattr(matmul, "matmul_flops_per_s", measured)
    expected = {"matmul_bfloat16_flops_per_s": 1e14}
    assert matmul_facts("cuda", "bfloat16", "Some GPU") == matmul_facts("cuda", "bfloat16", "Some GPU") == expected
    assert matmul_facts("mps", "float32") == {"matmul_float32_flops_per_s": 1e14}
    assert asked == [("cuda", "bfloat16"), ("mps", "float32")]
    assert matmul_facts("cuda", "float16", "NVIDIA H100 80GB HBM3") == {}
    assert matmul_facts("cpu", "float32") == {}
    assert len(asked) == 2


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("full"), RuntimeError("no such kernel")])
def test_a_refusing_device_has_no_peak(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(*_: str) -> float:
        raise error

    monkeypatch.setattr(matmul, "matmul_flops_per_s", refuse)
    assert matmul_facts("cuda", "bfloat16", "Some GPU") == {}


@pytest.mark.gpu
def test_a_gpu_multiplies_faster_in_half_precision() -> None:
    single, half = (matmul_flops_per_s("cuda", dtype) for dtype in ("float32", "bfloat16"))
    assert half > single > 1e12
