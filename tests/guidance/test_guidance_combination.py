"""How predictions are combined, read where they reach the scheduler in another form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from pytest_diffbench.measure.combination import combination_of, handed_apart
from pytest_diffbench.measure.guidance import derive_step
from pytest_diffbench.records import Guidance, GuidanceStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_diffbench.records import Branch

VIDEO = (1, 4, 3, 8, 8)


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def mixed(cond: torch.Tensor, uncond: torch.Tensor, scale: float = 3.0) -> torch.Tensor:
    return uncond + scale * (cond - uncond)


def apart(cond: torch.Tensor, uncond: torch.Tensor) -> list[tuple[Branch, torch.Tensor]]:
    return [("cond", cond), ("uncond", uncond)]


def unpacked(tokens: torch.Tensor) -> torch.Tensor:
    """Tokens of 3 x 4 x 4 patches of 2 x 2 pixels and 4 channels, as a video."""
    grid = tokens.reshape(1, 3, 4, 4, 4, 2, 2)
    return grid.permute(0, 4, 1, 2, 5, 3, 6).reshape(1, 4, 3, 8, 8)


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        (VIDEO, lambda video: video[:, :, 1:]),  # the first frame is given
        (VIDEO, lambda video: video[:, :, :-1]),
        (VIDEO, lambda video: video[:, :, 2]),  # a frame that has a scheduler of its own
        (VIDEO, lambda video: video.movedim(2, 1).flatten(0, 1)),  # frames in the batch
        ((1, 48, 16), unpacked),
        ((1, 48, 16), lambda tokens: unpacked(tokens)[:, :, 1:]),
        ((1, 5, 8, 8), lambda picture: picture[:, :4]),  # a channel more than there are in latents
        ((1, 4, 8, 8), lambda picture: torch.cat([picture, picture])),  # as many as the denoiser is handed
    ],
    ids=["frames behind", "frames before", "frame", "folded", "tokens", "tokens and frames", "channels", "twice"],
)
def test_a_scale_is_read_in_a_different_layout(
    shape: tuple[int, ...], layout: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    cond, uncond = drawn(*shape, seed=1), drawn(*shape, seed=2)
    step = derive_step(apart(cond, uncond), layout(mixed(cond, uncond)))
    assert (step.used, step.sign, step.converted) == ("guided", 1, False)
    assert step.scale == pytest.approx(3.0, rel=1e-4)


@pytest.mark.parametrize("sigma", [0.05, 0.7, 40.0])
def test_a_scale_is_read_of_clean_samples(sigma: float) -> None:
    cond, uncond, latents = (drawn(*VIDEO, seed=seed) for seed in (1, 2, 3))
    clean = latents - sigma * mixed(cond, uncond)
    step = derive_step(apart(cond, uncond), clean, latents=latents)
    assert (step.used, step.converted, step.gain_min) == ("guided", True, None)
    assert step.scale == pytest.approx(3.0, rel=1e-3)
    alone = derive_step([("cond", cond)], latents - sigma * cond, latents=latents)
    assert (alone.used, alone.converted) == ("cond", True)


def test_given_frames_are_passed_over() -> None:
    cond, uncond, latents = (drawn(*VIDEO, seed=seed) for seed in (1, 2, 3))
    output = latents - 0.7 * mixed(cond, uncond)
    output[:, :, 0] = drawn(1, 4, 8, 8, seed=4)
    step = derive_step(apart(cond, uncond), output, latents=latents)
    assert (step.used, step.converted) == ("guided", True)
    assert step.scale == pytest.approx(3.0, rel=1e-3)


def test_three_predictions_in_a_batch_have_their_shares() -> None:
    text, picture, nothing = (drawn(1, 4, 8, 8, seed=seed) for seed in (1, 2, 3))
    output = nothing + 7.5 * (text - picture) + 1.5 * (picture - nothing)
    step = derive_step([("unknown", torch.cat([text, picture, nothing]))], output)
    assert (step.used, step.scale) == ("mixed", None)
    assert step.shares == pytest.approx((7.5, -6.0, -0.5), rel=1e-5)


def test_a_scale_growing_from_frame_to_frame_is_a_span() -> None:
    cond, uncond = drawn(1, 3, 4, 8, 8, seed=1), drawn(1, 3, 4, 8, 8, seed=2)
    scales = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1, 1)
    step = derive_step(apart(cond, uncond), uncond + scales * (cond - uncond))
    assert step.used == "guided"
    assert step.scale_span == pytest.approx((1.0, 3.0), rel=1e-4)
    assert step.scale == pytest.approx(2.0, rel=1e-4)
    assert derive_step(apart(cond, uncond), mixed(cond, uncond)).scale_span is None


def test_what_is_no_combination_stays_unknown() -> None:
    cond, uncond, latents, other = (drawn(*VIDEO, seed=seed) for seed in (1, 2, 3, 4))
    for output in (other, mixed(cond, uncond) + 0.05 * other, mixed(cond, uncond) * other):
        assert combination_of(apart(cond, uncond), output, latents) is None
    assert combination_of(apart(cond, uncond), latents, latents) is None, "no prediction takes part"


def test_almost_equal_predictions_say_nothing() -> None:
    cond = drawn(*VIDEO, seed=1)
    uncond = cond * (1 + 1e-9)
    assert combination_of(apart(cond.double(), uncond.double()), cond.double() + 0.01, None) is None


def test_both_branches_in_a_batch_are_handed_apart() -> None:
    cond, uncond = drawn(*VIDEO, seed=1), drawn(*VIDEO, seed=2)
    assert handed_apart(apart(cond, uncond), torch.cat([uncond, cond]))
    assert not handed_apart(apart(cond, uncond), torch.cat([uncond, uncond]))
    assert not handed_apart([("joint", torch.cat([uncond, cond]))], torch.cat([uncond, cond]))


def test_steps_with_other_shares_or_denoisers_are_groups_of_their_own() -> None:
    first = GuidanceStep(branches=("unknown",), used="mixed", sign=1, shares=(4.0, -3.0), components=("high",))
    steps = (
        first,
        GuidanceStep(branches=("unknown",), used="mixed", sign=1, shares=(4.0, -3.0), components=("low",)),
        GuidanceStep(branches=("unknown",), used="mixed", sign=1, shares=(4.2, -3.2), components=("low",)),
        first,
    )
    guidance = Guidance(pipeline="P", arguments={}, dtype_eps=1e-7, steps=steps)
    assert [(group.steps, group.components) for group in guidance.groups()] == [
        ("0,3", ("high",)),
        ("1", ("low",)),
        ("2", ("low",)),
    ]
    assert guidance.guided_steps == 4


@pytest.mark.parametrize("rescaled", [1.0, 0.8])
def test_four_predictions_turned_into_clean_samples_and_back_have_their_shares(rescaled: float) -> None:
    """As LTX-2 mixes text, perturbed attention and each modality by itself, and rescales the sum."""
    cond, uncond, perturbed, isolated, latents = (drawn(1, 40, 16, seed=seed) for seed in range(5))
    sigma = 0.6
    clean = {name: latents - sigma * p for name, p in zip("cupi", (cond, uncond, perturbed, isolated), strict=True)}
    guided = (
        clean["c"] + 2.0 * (clean["c"] - clean["u"]) + (clean["c"] - clean["p"]) + 2.0 * (clean["c"] - clean["i"])
    )
    velocity = (latents - rescaled * guided) / sigma
    calls: list[tuple[Branch, torch.Tensor]] = [
        ("joint", torch.cat([uncond, cond])),
        ("unknown", perturbed),
        ("unknown", isolated),
    ]
    step = derive_step(calls, velocity, latents=latents)
    assert (step.used, step.converted) == ("mixed", rescaled != 1.0)
    assert step.shares == pytest.approx((-2.0, 6.0, -1.0, -2.0), rel=1e-3)
