"""Sketches: linear, norm-preserving, and the same for ever."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pytest_diffbench.measure.trace import digest, first_tensor, outer_tensors, sketch, tensors_in
from pytest_diffbench.outputs.projection import SKETCH_SIZE
from pytest_diffbench.records.artifacts import MOMENT_NAMES


def random_tensor(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_norms_and_distances_survive() -> None:
    estimates = []
    for seed in range(20):
        a = random_tensor(seed, 1, 16, 32, 32)
        b = a + 0.01 * random_tensor(seed + 100, 1, 16, 32, 32)
        estimates.append(np.linalg.norm(sketch(a) - sketch(b)) / (a - b).norm().item())
    # One estimate has a relative standard deviation of about 1 / sqrt(2 * SKETCH_SIZE) = 4.4 %.
    assert np.mean(estimates) == pytest.approx(1, abs=0.03)
    assert max(abs(ratio - 1) for ratio in estimates) < 0.2


def test_a_sketch_is_linear() -> None:
    a, b = random_tensor(0, 1000), random_tensor(1, 1000)
    assert sketch(2 * a - b) == pytest.approx(2 * sketch(a) - sketch(b), abs=1e-4)


def test_the_projection_never_changes() -> None:
    # Baselines hold sketches, so a change of the projection would part every trace at its beginning.
    first = sketch(torch.arange(8, dtype=torch.float32))
    assert first.shape == (SKETCH_SIZE,)
    assert {int(i): float(first[i]) for i in first.nonzero()[0]} == GOLDEN


GOLDEN = {60: 7.0, 79: -2.0, 155: -4.0, 225: -6.0, 234: -5.0, 236: 3.0, 244: -1.0}


def projected_at_once(tensor: torch.Tensor) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The same projection, written down as its definition: over the whole tensor, element by element."""
    sketch = np.zeros(SKETCH_SIZE)
    for position, value in enumerate(tensor.flatten().tolist()):
        mixed = (position + 1) * 0x9E3779B97F4A7C15 % 2**64
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % 2**64
        mixed ^= mixed >> 31
        sketch[mixed % SKETCH_SIZE] += value if mixed >> 63 else -value
    return sketch


@pytest.mark.parametrize("size", [0, 1, 1000, (1 << 16) - 1, 1 << 16, (1 << 17) + 5])
def test_parts_of_a_tensor_add_up_to_the_whole(size: int) -> None:
    tensor = 3 + random_tensor(0, size)
    sketched, moments = digest(tensor)
    assert sketched == pytest.approx(projected_at_once(tensor), rel=1e-5, abs=1e-3)
    values = tensor.double().numpy()
    expected = [np.linalg.norm(values), *((f(values) if size else 0) for f in (np.mean, np.std, np.min, np.max)), 0]
    assert moments == pytest.approx(np.array(expected), rel=1e-6)


def test_a_mean_far_from_zero_costs_the_deviation_no_digits() -> None:
    tensor = 1e6 + random_tensor(0, 200_000).double()
    moments = dict(zip(MOMENT_NAMES, digest(tensor)[1], strict=True))
    assert moments["std"] == pytest.approx(tensor.numpy().std(), rel=1e-5)


def test_non_finite_values_are_counted_and_left_out() -> None:
    tensor = random_tensor(0, 4, 1000)
    rest = tensor.clone()
    for position, value in enumerate((float("nan"), float("inf"), -float("inf"))):
        tensor[position, 7] = value
        rest[position, 7] = 0
    sketched, moments = digest(tensor)
    values_by_name = dict(zip(MOMENT_NAMES, moments, strict=True))
    assert sketched == pytest.approx(sketch(rest))
    assert values_by_name["not_finite"] == 3
    assert values_by_name["max"] == rest.max()
    assert values_by_name["mean"] == pytest.approx(float(rest.sum()) / 3997, rel=1e-4)
    nothing, lost = digest(torch.full((5,), float("nan")))
    assert not nothing.any()
    assert lost.tolist() == [0, 0, 0, 0, 0, 5]


def test_what_float32_cannot_hold_is_cut_to_the_largest() -> None:
    sketched, moments = digest(torch.full((1000,), 3e38))
    assert np.isfinite(sketched).all()
    assert np.isfinite(moments).all()
    assert moments[0] == np.finfo(np.float32).max


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int64])
def test_dtypes_and_strides_do_not_matter(dtype: torch.dtype) -> None:
    tensor = (10 * random_tensor(0, 1, 8, 16, 16)).to(dtype)
    whole, other = digest(tensor), digest(tensor.to(memory_format=torch.channels_last))
    assert (whole[0] == other[0]).all()
    assert whole[0] == pytest.approx(sketch(tensor.float()), rel=1e-6, abs=1e-4)


def test_a_tensor_is_located_in_any_output_of_pipelines() -> None:
    tensor = torch.ones(2)
    assert first_tensor((tensor, 1)) is tensor
    assert first_tensor({"sample": tensor}) is tensor
    assert first_tensor("text") is None
    assert tensors_in((None, [tensor], {"x": tensor})) == [tensor, tensor]
    assert outer_tensors({"last": tensor, "layers": (tensor, tensor), "more": None}) == [tensor]
    assert outer_tensors(tensor) == [tensor]
