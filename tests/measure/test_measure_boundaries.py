"""Bracketing components: everything is seen, and nothing stays behind."""

from __future__ import annotations

import gc
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pytest_diffbench.measure.boundaries import observed
from pytest_diffbench.measure.branches import BranchFinder
from pytest_diffbench.measure.components import (
    Site,
    attention_modules,
    components_of,
    denoisers_of,
    sites_of,
)
from pytest_diffbench.measure.state import preserved


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def enter(self, site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.lines.append(f">{site.name}")

    def leave(self, site: Site, output: Any) -> None:
        self.lines.append(f"<{site.name}")


class Autoencoder(nn.Module):
    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return z


class TextModel(nn.Linear):
    main_input_name = "input_ids"


class ImageModel(nn.Linear):
    main_input_name = "pixel_values"


class SelfAttention(nn.Linear):
    pass


class Scheduler:
    def set_timesteps(self) -> None: ...

    def step(self, model_output: torch.Tensor, t: int, sample: torch.Tensor) -> tuple[torch.Tensor]:
        return (sample - model_output,)


class Pipeline:
    def __init__(self) -> None:
        self.components: dict[str, Any] = {
            "encoder": TextModel(2, 2),
            "checker": ImageModel(2, 2),
            "net": nn.Sequential(nn.Linear(2, 2), SelfAttention(2, 2)),
            "vae": Autoencoder(),
            "scheduler": Scheduler(),
            "tokenizer": object(),
            "missing": None,
        }

    def encode_prompt(self, prompt: str) -> torch.Tensor:
        return self.components["encoder"](torch.ones(1, 2))  # type: ignore[no-any-return]  # components are untyped

    def __call__(self) -> torch.Tensor:
        parts = self.components
        text = self.encode_prompt("a")
        (latents,) = parts["scheduler"].step(parts["net"](text), 0, text)
        return parts["vae"].decode(latents)  # type: ignore[no-any-return]  # components are untyped


def test_roles_follow_from_what_components_can_do() -> None:
    roles = {site.name: site.role for site in sites_of(Pipeline())}
    assert roles == {
        "encode_prompt": "text",
        "encoder": "text",
        "checker": "other",
        "net": "denoiser",
        "vae.decode": "vae_decode",
        "vae.encode": "vae_encode",
        "scheduler.step": "step",
    }


def test_every_passage_is_noticed_in_order() -> None:
    pipeline, log = Pipeline(), Log()
    with observed(sites_of(pipeline), log):
        pipeline()
    order = ">encode_prompt >encoder <encoder <encode_prompt >net <net >scheduler.step <scheduler.step "
    assert " ".join(log.lines) == order + ">vae.decode <vae.decode"


@pytest.mark.parametrize("fails", [False, True], ids=["returns", "raises"])
def test_nothing_stays_behind(fails: bool) -> None:
    pipeline, log = Pipeline(), Log()
    parts = pipeline.components
    before = [sorted(vars(part)) for part in (pipeline, parts["vae"], parts["scheduler"])]
    with pytest.raises(RuntimeError, match="boom") if fails else preserved(), observed(sites_of(pipeline), log):
        if fails:
            raise RuntimeError("boom")
    assert [sorted(vars(part)) for part in (pipeline, parts["vae"], parts["scheduler"])] == before
    for module in (parts["net"], parts["encoder"]):
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    pipeline()
    assert log.lines == []


def test_a_method_patched_before_stays_patched() -> None:
    pipeline = Pipeline()
    scheduler = pipeline.components["scheduler"]
    patched = scheduler.step
    scheduler.step = patched
    with observed(sites_of(pipeline), Log()):
        assert scheduler.step is not patched
    assert vars(scheduler)["step"] is patched


def test_a_compiled_module_is_bracketed_outside_the_graph() -> None:
    net, log = nn.Linear(2, 2), Log()
    net._compiled_call_impl = compiled = lambda x: x  # what module.compile() sets
    with observed([Site("net", None, "denoiser", net)], log):
        net(torch.ones(1, 2))
        assert not net._forward_hooks
    assert log.lines == [">net", "<net"]
    assert net._compiled_call_impl is compiled


def test_a_plain_function_has_no_parts() -> None:
    assert components_of(print) == {}
    assert list(sites_of(print)) == []


def test_attention_is_recognised_by_name_or_by_the_processor() -> None:
    net = denoisers_of(Pipeline())["net"]
    assert [type(layer) for layer in attention_modules(net)] == [SelfAttention]
    odd = nn.Sequential(nn.Linear(2, 2))
    odd[0].processor = object()  # type: ignore[assignment]  # modules take any attribute
    assert attention_modules(odd) == [odd[0]]


def test_randomness_threads_and_garbage_collection_are_put_back() -> None:
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index]  # the tuple form
    gc.disable()
    try:
        with preserved(threads=1):
            assert torch.get_num_threads() == 1
            gc.enable()
            random.random()
            np.random.rand()
            torch.rand(1)
        assert not gc.isenabled()
    finally:
        gc.enable()
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == states  # type: ignore[index]  # the tuple form


def test_branches_follow_the_order_of_encoding() -> None:
    finder = BranchFinder()
    prompt, pooled, negative = torch.ones(1, 3, 4), torch.ones(1, 4), torch.zeros(1, 3, 4)
    finder.encoded([prompt, negative, pooled])
    assert finder.branch_of({"hidden_states": torch.rand(1, 2), "encoder_hidden_states": prompt}) == "cond"
    assert finder.branch_of({"hidden_states": torch.rand(1, 2), "encoder_hidden_states": negative}) == "uncond"
    assert finder.branch_of({"encoder_hidden_states": prompt, "pooled": pooled}) == "cond"


def test_changed_embeddings_are_distinguished_by_content() -> None:
    finder = BranchFinder()
    first, second = torch.rand(1, 3, 4), torch.rand(1, 3, 4)
    calls = [finder.branch_of({"sample": torch.rand(1, 4, 8, 8), "context": text}) for text in (first, second, first)]
    assert calls == ["cond", "uncond", "cond"]


class Timed(nn.Module):
    def forward(self, hidden_states: torch.Tensor, timestep: int) -> torch.Tensor:
        return hidden_states


class Vocoder(nn.Module):
    """As LTX-2's: its switch has a time in its name."""

    def forward(self, hidden_states: torch.Tensor, time_last: bool = False) -> torch.Tensor:
        return hidden_states


class ControlNet(nn.Module):
    def forward(self, sample: torch.Tensor, timestep: int, controlnet_cond: torch.Tensor) -> torch.Tensor:
        return sample


class Parts:
    def __init__(self, **components: Any) -> None:
        self.components = components


@pytest.mark.parametrize(
    ("parts", "roles"),
    [
        ({"net": Timed(), "vocoder": Vocoder()}, {"net": "denoiser", "vocoder": "other"}),
        ({"net": Timed(), "controlnet": ControlNet()}, {"net": "denoiser", "controlnet": "other"}),
        ({"net": ControlNet()}, {"net": "denoiser"}),  # a network that is steered in itself
    ],
)
def test_only_the_denoiser_gets_a_time(parts: dict[str, Any], roles: dict[str, str]) -> None:
    assert {site.component: site.role for site in sites_of(Parts(**parts))} == roles


def test_a_part_under_two_names_is_counted_once() -> None:
    net, scheduler = Timed(), Scheduler()
    pipeline = Parts(prior=net, prior_scheduler=scheduler, net=net, scheduler=scheduler)
    assert [site.name for site in sites_of(pipeline)] == ["prior", "prior_scheduler.step"]
    log = Log()
    with observed(sites_of(pipeline), log):
        net(torch.ones(1), 0)
        scheduler.step(torch.ones(1), 0, torch.ones(1))
    assert log.lines == [">prior", "<prior", ">prior_scheduler.step", "<prior_scheduler.step"]


def test_a_second_noisy_sample_is_no_conditioning() -> None:
    finder, text = BranchFinder(), torch.randn(1, 8, 16)
    branches = []
    for _ in range(4):
        finder.next_step()
        arguments = {
            "hidden_states": torch.randn(1, 9, 4),
            "audio_hidden_states": torch.randn(1, 5, 4),
            "encoder_hidden_states": text,
        }
        branches.append(finder.branch_of(arguments, "transformer"))
    assert branches == ["cond"] * 4
