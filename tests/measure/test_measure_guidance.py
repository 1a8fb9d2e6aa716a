"""Deriving guidance: synthetic predictions whose scale, renorm, branch and sign are known."""

from __future__ import annotations

import pytest
import torch

from pytest_diffbench.measure.guidance import _has_variance, derive_step


def predictions(dtype: torch.dtype = torch.float32, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    cond = torch.randn(1, 4, 16, 16, generator=generator)
    uncond = cond + 0.3 * torch.randn(1, 4, 16, 16, generator=generator)
    return cond.to(dtype), uncond.to(dtype)


def guided(cond: torch.Tensor, uncond: torch.Tensor, scale: float, renorm_dim: int | None) -> torch.Tensor:
    mixed = uncond + scale * (cond - uncond)
    if renorm_dim is not None:
        mixed = mixed * (cond.norm(dim=renorm_dim, keepdim=True) / mixed.norm(dim=renorm_dim, keepdim=True))
    return mixed


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("scale", [1.5, 4.0, 10.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_scale_and_sign_are_recovered_with_renorm(dtype: torch.dtype, scale: float, sign: int) -> None:
    cond, uncond = predictions(dtype)
    step = derive_step([("cond", cond), ("uncond", uncond)], sign * guided(cond, uncond, scale, -1))
    eps = torch.finfo(dtype).eps
    assert (step.used, step.sign) == ("guided", sign)
    assert step.scale == pytest.approx(scale, rel=8 * eps)
    assert step.norm_ratio_min == pytest.approx(1, abs=4 * eps)
    assert step.norm_ratio_max == pytest.approx(1, abs=4 * eps)


def test_without_renorm_rows_keep_their_gain_and_lose_their_norm() -> None:
    cond, uncond = predictions()
    step = derive_step([("cond", cond), ("uncond", uncond)], -guided(cond, uncond, 4.0, None))
    assert (step.gain_min, step.gain_max) == pytest.approx((1.0, 1.0), abs=1e-5)
    assert step.norm_ratio_max is not None
    assert step.norm_ratio_max > 1.2


def test_renorm_over_a_different_dimension_breaks_the_ratio_of_rows() -> None:
    cond, uncond = predictions()
    step = derive_step([("cond", cond), ("uncond", uncond)], -guided(cond, uncond, 4.0, -2))
    assert step.norm_ratio_min is not None
    assert step.norm_ratio_min < 0.95


@pytest.mark.parametrize("used", ["cond", "uncond"])
def test_a_step_with_a_single_used_branch_names_the_branch(used: str) -> None:
    cond, uncond = predictions()
    handed = {"cond": cond, "uncond": uncond}[used]
    assert derive_step([("cond", cond), ("uncond", uncond)], -handed).used == used
    alone = derive_step([(used, handed)], -handed)  # type: ignore[list-item]  # parametrised literals
    assert (alone.used, alone.sign, alone.residual_rel) == (used, -1, 0.0)


def test_what_cannot_be_explained_is_unknown() -> None:
    cond, uncond = predictions()
    stranger, _ = predictions(seed=1)
    assert derive_step([("cond", cond), ("uncond", uncond)], stranger).used == "unknown"
    assert derive_step([("cond", cond)], stranger).used == "unknown"
    assert derive_step([("cond", cond)], torch.zeros_like(cond)).used == "unknown"
    assert derive_step([("cond", cond)], torch.full_like(cond, float("nan"))).used == "unknown"


def test_agreeing_branches_reveal_no_scale() -> None:
    cond, _ = predictions()
    step = derive_step([("cond", cond), ("uncond", cond.clone())], -cond)
    assert (step.used, step.scale) == ("cond", None)


def test_a_variance_is_the_second_half_of_the_channels_handed_on_as_predicted() -> None:
    cond = predictions()[0].repeat(1, 2, 1, 1).double().numpy()
    handed = cond.copy()
    assert not _has_variance(handed, cond), "the first half is the conditional prediction's too: nothing was guided"
    handed[:, :4] += 1
    assert _has_variance(handed, cond)
    assert _has_variance(handed[..., 0], cond[..., 0]), "a sound has one axis behind its channels"
    assert not _has_variance(handed[..., 0, 0], cond[..., 0, 0]), "a vector has none"
    handed[:, 4] += 1
    assert not _has_variance(handed, cond)
    assert not _has_variance(handed[:, :7], cond[:, :7]), "an odd number has no halves"
