"""Branches of calls as embeddings and batches tell them: what is neither branch is unknown, not a guess."""

from __future__ import annotations

import pytest
import torch

from pytest_diffbench.measure.branches import BranchFinder
from pytest_diffbench.measure.guidance import call_class_of, derive_step, prediction_in


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


LATENTS = drawn(1, 4, 8, 8)
COND, UNCOND = drawn(1, 5, 16, seed=1), drawn(1, 5, 16, seed=2)


@pytest.fixture
def finder() -> BranchFinder:
    """One that knows the prompt's embedding and the negative one."""
    branch_finder = BranchFinder()
    branch_finder.encoded([COND, UNCOND])
    return branch_finder


def test_the_order_in_a_joint_batch_matches_the_embeddings(finder: BranchFinder) -> None:
    twice = LATENTS.repeat(2, 1, 1, 1)
    for halves, order in (((UNCOND, COND), "uncond_cond"), ((COND, UNCOND), "cond_uncond")):
        finder.next_step()
        arguments = {"sample": twice, "encoder_hidden_states": torch.cat(halves)}
        assert finder.branch_of(arguments) == "joint"
        assert finder.order_of(arguments) == order


def test_a_list_of_samples_is_a_batch(finder: BranchFinder) -> None:
    sample = LATENTS[0]
    joint = {"x.0": sample, "x.1": sample, "cap_feats.0": COND, "cap_feats.1": UNCOND}
    assert (finder.branch_of(joint), finder.order_of(joint)) == ("joint", "cond_uncond")
    finder.next_step()
    assert finder.branch_of({"x.0": sample, "cap_feats.0": COND}) == "cond"
    assert finder.branch_of({"x.0": sample, "cap_feats.0": UNCOND}) == "uncond"


def test_a_batch_of_three_is_unknown(finder: BranchFinder) -> None:
    # InstructPix2Pix: the latents thrice, the image behind them twice, and nothing in its place once
    image = drawn(1, 4, 8, 8, seed=3)
    sample = torch.cat([LATENTS.repeat(3, 1, 1, 1), torch.cat([image, image, torch.zeros_like(image)])], dim=1)
    assert finder.branch_of({"sample": sample, "text": torch.cat([COND, UNCOND, UNCOND])}) == "unknown"


def test_the_prompt_in_both_halves_is_unknown(finder: BranchFinder) -> None:
    twice = LATENTS.repeat(2, 1, 1, 1)
    assert finder.branch_of({"sample": twice, "text": torch.cat([COND, COND])}) == "unknown"


def test_a_call_beside_a_joint_call_is_unknown(finder: BranchFinder) -> None:
    joint = {"sample": LATENTS.repeat(2, 1, 1, 1), "text": torch.cat([UNCOND, COND])}
    alone = {"sample": LATENTS, "text": COND}
    assert [finder.branch_of(arguments, "unet") for arguments in (joint, alone)] == ["joint", "unknown"]
    assert finder.branch_of(alone, "controlnet") == "cond"
    finder.next_step()
    assert finder.branch_of(alone, "unet") == "cond"


def test_equal_samples_of_two_prompts_are_no_joint_batch(finder: BranchFinder) -> None:
    both = torch.cat([COND, drawn(1, 5, 16, seed=4)])
    other = BranchFinder()
    other.encoded([both, torch.cat([UNCOND, UNCOND])])
    assert other.branch_of({"sample": LATENTS.repeat(2, 1, 1, 1), "text": both}) == "cond"


def test_a_third_prediction_in_the_mix_is_recognised_by_the_share() -> None:
    cond, uncond, perturbed = (drawn(1, 4, 8, 8, seed=seed) for seed in (5, 6, 7))
    mixed = uncond + 4.0 * (cond - uncond)
    calls = [("cond", cond), ("uncond", uncond), ("cond", perturbed)]
    perturbing = derive_step(calls, mixed + 0.1 * (cond - perturbed))  # type: ignore[arg-type]  # literals
    assert (perturbing.used, perturbing.branches) == ("mixed", ("cond", "uncond", "unknown"))
    assert perturbing.shares == pytest.approx((4.1, -3.0, -0.1), rel=1e-5)
    assert perturbing.scale is None
    spoilt = derive_step(calls, mixed + 0.1 * drawn(1, 4, 8, 8, seed=8))  # type: ignore[arg-type]  # literals
    assert spoilt.used == "unknown"
    # A call that had no part in it doesn't matter.
    idle = derive_step(calls, mixed)  # type: ignore[arg-type]  # literals
    assert idle.used == "guided"
    assert idle.scale == pytest.approx(4.0, rel=1e-5)


def test_of_calls_steering_the_latents_the_newest_counts() -> None:
    """As Attend-and-Excite has it: a call for each gradient step, then those that the step takes."""
    steering = [("cond", drawn(1, 4, 8, 8, seed=seed)) for seed in range(10, 14)]
    cond, uncond = drawn(1, 4, 8, 8, seed=5), drawn(1, 4, 8, 8, seed=6)

    alone = derive_step([*steering, ("cond", cond)], cond)  # type: ignore[list-item]  # literals
    assert (alone.used, alone.branches) == ("cond", (*["unknown"] * 4, "cond"))

    calls = [*steering, ("uncond", uncond), ("cond", cond)]
    guided = derive_step(calls, uncond + 4.0 * (cond - uncond))  # type: ignore[arg-type]  # literals
    assert (guided.used, guided.branches) == ("guided", (*["unknown"] * 4, "uncond", "cond"))
    assert guided.scale == pytest.approx(4.0, rel=1e-5)


@pytest.mark.parametrize("order", ["uncond_cond", "cond_uncond"])
def test_a_given_order_is_not_guessed_at(order: str) -> None:
    first, second = drawn(1, 4, 8, 8, seed=5), drawn(1, 4, 8, 8, seed=6)
    step = derive_step([("joint", torch.cat([first, second]))], first + 3.0 * (second - first), order=order)  # type: ignore[arg-type]  # literals
    assert step.scale == pytest.approx(3.0 if order == "uncond_cond" else -2.0, rel=1e-5)
    assert step.joint_order is None


def test_a_prediction_in_a_list_is_a_batch() -> None:
    samples = [drawn(4, 1, 8, 8, seed=seed) for seed in (1, 2)]
    for output in ((samples,), {"sample": samples}, samples):
        batch = prediction_in(output)
        assert batch is not None
        assert batch.equal(torch.stack(samples))
    assert prediction_in(([drawn(4, 8), drawn(4, 9)],)) is None
    alone = prediction_in((samples[0],))
    assert alone is not None
    assert alone.equal(samples[0])


def test_the_class_of_a_calls_origin() -> None:
    class Parent:
        def __call__(self) -> None: ...

    class Child(Parent):
        pass

    class Grandchild(Child):
        def __call__(self) -> None: ...

    assert [call_class_of(kind()) for kind in (Parent, Child, Grandchild)] == ["Parent", "Parent", "Grandchild"]
