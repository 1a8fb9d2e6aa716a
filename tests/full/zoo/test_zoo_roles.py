"""Roles, branches and guidance in the ways that single classes of the zoo have of their own, on parts made up."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from pytest_diffbench.measure.branches import BranchFinder
from pytest_diffbench.measure.components import denoisers_of, sites_of
from pytest_diffbench.measure.guidance import derive_step
from pytest_diffbench.measure.stages import Passage, attribute

LATENTS = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


PROMPT, NEGATIVE, OTHER = (drawn(1, 5, 16, seed=seed) for seed in (1, 2, 3))


class Timed(nn.Module):
    def forward(self, sample: torch.Tensor, timestep: int) -> torch.Tensor:
        return sample


class Shorthand(nn.Module):
    def forward(self, x: torch.Tensor, r: float, c: torch.Tensor) -> torch.Tensor:
        return x


class Untimed(nn.Module):
    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        return embeddings


class Wrapper(nn.Module):
    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return inputs


class Parameters(nn.Module):
    """Has no forward of its own."""


class Pipeline:
    def __init__(self, **components: Any) -> None:
        self.components = components

    def encode_prompt(self) -> None:
        return None

    def __call__(self) -> None:
        return None


@pytest.mark.parametrize(
    ("parts", "denoisers"),
    [
        ({"a": Timed(), "b": Untimed()}, ["a"]),  # a projection between a prior and its decoder
        ({"a": Shorthand(), "b": Timed()}, ["a", "b"]),  # two stages
        ({"a": Untimed()}, ["a"]),  # masked generation
        ({"a": Parameters(), "b": Untimed()}, ["b"]),
        ({"a": Wrapper(), "b": Untimed()}, ["a"]),
        ({"a": torch.compile(Timed()), "b": torch.compile(Untimed())}, ["a"]),
    ],
    ids=["projection", "stages", "masked", "parameters", "wrapper", "compiled"],
)
def test_a_denoiser_gets_a_time(parts: dict[str, nn.Module], denoisers: list[str]) -> None:
    pipeline = Pipeline(**parts)
    assert list(denoisers_of(pipeline)) == denoisers
    roles = {site.name: site.role for site in sites_of(pipeline) if site.component}
    assert roles == {name: "denoiser" if name in denoisers else "other" for name in parts}


def test_a_pipeline_of_pipelines_encodes_prompts_in_inner_pipelines() -> None:
    net = Timed()
    combined: Any = Pipeline(net=net)
    combined.prior_pipe, combined.decoder_pipe = Pipeline(net=net), Pipeline(net=net)
    owners = [site.owner for site in sites_of(combined) if site.name == "encode_prompt"]
    assert owners == [combined, combined.prior_pipe, combined.decoder_pipe]


def branch(finder: BranchFinder, component: str = "net", **arguments: torch.Tensor) -> str:
    return finder.branch_of({"sample": LATENTS} | arguments, component)


def test_every_encoder_begins_with_the_prompt() -> None:
    finder = BranchFinder()
    finder.encoded([PROMPT], by="prior's")
    finder.encoded([OTHER], by="decoder's")
    finder.encoded([NEGATIVE], by="decoder's")
    assert [branch(finder, text=text) for text in (PROMPT, OTHER, NEGATIVE)] == ["cond", "cond", "uncond"]


def test_equal_prompts_of_two_encoders_are_no_twins() -> None:
    finder = BranchFinder()
    for encoder in ("prior's", "decoder's"):
        finder.encoded([PROMPT], by=encoder)
    assert [branch(finder, text=PROMPT) for _ in range(2)] == ["cond", "cond"]


def test_what_is_handed_beside_the_prompt_is_unconditional() -> None:
    finder = BranchFinder()
    finder.encoded([PROMPT])
    for _ in range(2):
        assert branch(finder, "transformer", text=PROMPT) == "cond"
        assert branch(finder, "unconditional_transformer", text=torch.zeros(1, 5, 16)) == "uncond"
        finder.next_step()


def test_what_a_later_stage_is_handed_first_is_conditional() -> None:
    finder = BranchFinder()
    finder.encoded([PROMPT])
    assert branch(finder, "prior", text=PROMPT) == "cond"
    finder.next_step()
    assert branch(finder, "decoder", picture=OTHER) == "cond"
    assert branch(finder, "decoder", picture=NEGATIVE) == "uncond"


@pytest.mark.parametrize(
    ("texts", "branches"),
    [
        (((2, 1), (2, 5, 6, 1)), ("uncond", "cond")),  # the empty one first
        (((2, 5, 6, 1), (2, 1)), ("cond", "uncond")),
        (((2, 5, 6, 1), (2, 5, 6, 7, 1)), ("cond", "uncond")),  # a negative prompt that holds the prompt's words
        (((2, 5, 1), (2, 6, 7, 1)), ("cond", "uncond")),
        (((), ()), ("cond", "uncond")),  # not known
    ],
)
def test_an_empty_text_read_first_is_no_prompt(texts: tuple[tuple[int, ...], ...], branches: tuple[str, ...]) -> None:
    finder = BranchFinder()
    for embedding, tokens in zip((PROMPT, NEGATIVE), texts, strict=True):
        finder.encoded([embedding], tokens=frozenset(tokens))
    assert (branch(finder, text=PROMPT), branch(finder, text=NEGATIVE)) == branches
    joint = {"sample": LATENTS.repeat(2, 1, 1, 1), "text": torch.cat([PROMPT, NEGATIVE])}
    assert finder.order_of(joint) == ("cond_uncond" if branches[0] == "cond" else "uncond_cond")


def test_a_pooled_embedding_alone_belongs_to_the_text_of_origin() -> None:
    finder = BranchFinder()
    for text, pooled in ((PROMPT, drawn(1, 16, seed=4)), (NEGATIVE, drawn(1, 16, seed=5))):
        finder.read([text, pooled], by="encoder")
    finder.encoded([PROMPT, drawn(1, 16, seed=4)[None], NEGATIVE, drawn(1, 16, seed=5)[None]])
    assert branch(finder, pooled=drawn(1, 16, seed=4)[None]) == "cond"
    assert branch(finder, pooled=drawn(1, 16, seed=5)[None]) == "uncond"


def test_tokens_are_the_sample_where_there_are_no_latents() -> None:
    finder = BranchFinder()
    for step in range(4):
        picture = torch.full((2, 8), step)
        assert finder.branch_of({"input_ids": picture, "text": torch.cat([NEGATIVE, PROMPT])}, "net") == "joint"
    other = BranchFinder()
    for step in range(4):  # beside latents they are a prompt
        assert other.branch_of({"hidden_states": LATENTS + step, "input_ids": torch.ones(1, 8)}, "net") == "cond"


@pytest.mark.parametrize("last", [False, True], ids=["tokens first", "tokens last"])
def test_the_prediction_is_located_among_more_tokens(last: bool) -> None:
    cond, uncond, text = drawn(1, 6, 16, seed=6), drawn(1, 6, 16, seed=7), drawn(1, 3, 16, seed=8)
    longer = torch.cat([text, cond] if last else [cond, text], dim=1)
    step = derive_step([("cond", longer), ("uncond", uncond)], -(uncond + 4.0 * (cond - uncond)), timestep=7.0)
    assert (step.used, step.sign, step.branches, step.timestep) == ("guided", -1, ("cond", "uncond"), 7.0)
    assert step.scale == pytest.approx(4.0, rel=1e-5)


def test_unrelated_tokens_stay_unknown() -> None:
    cond, uncond = drawn(1, 9, 16, seed=6), drawn(1, 6, 16, seed=7)
    assert derive_step([("cond", cond), ("uncond", uncond)], drawn(1, 6, 16, seed=8)).used == "unknown"


def test_a_variance_behind_the_noise_is_not_guided() -> None:
    cond, uncond = drawn(1, 6, 8, 8, seed=9), drawn(1, 6, 8, 8, seed=10)
    noise = uncond[:, :3] + 4.0 * (cond[:, :3] - uncond[:, :3])
    step = derive_step([("joint", torch.cat([uncond, cond]))], torch.cat([noise, cond[:, 3:]], dim=1))
    assert (step.used, step.branches) == ("guided", ("joint",))
    assert step.scale == pytest.approx(4.0, rel=1e-5)
    assert (step.gain_min, step.gain_max) == pytest.approx((1, 1), abs=1e-5)
    assert step.residual_rel == pytest.approx(0, abs=1e-6)


def test_what_lies_between_two_texts_is_encoding() -> None:
    roles: list[Any] = ["text", "text", "other", "text", "denoiser"]
    passages = [
        Passage(role, entered, at_s=2.0 * place + 1.0 + (not entered))
        for place, role in enumerate(roles)
        for entered in (True, False)
    ]
    # texts from 1 to 2, 3 to 4 and 7 to 8; what is about the helper at 5 is nobody's
    assert attribute(passages, 11.0).stages_s == {"text_encode": 4.0, "denoise": 1.0, "unattributed": 6.0}
