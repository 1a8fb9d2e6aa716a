"""Faults that diffusers once had, put back into the installed version: what finds each without a baseline.

The numbers are those of issues and pull requests of huggingface/diffusers. The pieces that bring a fault back are
written anew here.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import diffusers
import plants
import pytest
import torch
import zoo_kinds as zoo

from pytest_diffbench.invariants import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Plant = Callable[[Any], contextlib.AbstractContextManager[object]]


@dataclasses.dataclass(frozen=True)
class Historic:
    """A fault that was fixed, or is still there.

    Attributes:
        number: of the issue or pull request.
        name: of the class.
        codes: invariants that find it.
        plant: brings it back; None where the installed version has it.
        prepare: makes the pipeline what the fault needs.
        call: arguments beside the zoo's.
    """

    number: str
    name: str
    codes: tuple[str, ...]
    plant: Plant | None
    prepare: Callable[[Any], None] = lambda _pipeline: None
    call: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def guidance_needs_masks(pipeline: Any) -> contextlib.AbstractContextManager[object]:
    """Embeddings without a mask don't count as a negative prompt; masks of ones alone are none."""
    sound = "negative_prompt is not None or negative_prompt_embeds is not None"
    return plants.line((sound, f"{sound} and negative_prompt_embeds_mask is not None"))(pipeline)


def ends_with_two_zeros(pipeline: Any) -> contextlib.AbstractContextManager[object]:
    sound = "sigmas = get_default_z_image_sigmas(num_inference_steps)"
    return plants.line((sound, "sigmas = torch.linspace(1.0, 0.0, num_inference_steps).tolist()"))(pipeline)


def global_noise(_pipeline: Any) -> contextlib.AbstractContextManager[object]:
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler
    sound = scheduler.step

    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        return sound(self, *args, **{**kwargs, "generator": None})

    return plants.replaced_in_class(scheduler, "step", step)


def stochastic(pipeline: Any) -> None:
    pipeline.scheduler = diffusers.FlowMatchEulerDiscreteScheduler.from_config(
        pipeline.scheduler.config, stochastic_sampling=True
    )


def mask_not_handed_on(pipeline: Any) -> contextlib.AbstractContextManager[object]:
    return plants.argument("transformer.forward", lambda arguments: arguments | {"encoder_hidden_states_mask": None})(
        pipeline
    )


def half_vae(pipeline: Any) -> None:
    pipeline.vae.to(torch.float16)
    pipeline.vae.register_to_config(force_upcast=True)


@contextlib.contextmanager
def uninitialised_pad(pipeline: Any) -> Iterator[None]:
    """The token that fills a text up is whatever lies in the memory that it is given."""
    sound = pipeline.transformer.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        before = pipeline.transformer.cap_pad_token.data
        pipeline.transformer.cap_pad_token.data = torch.empty_like(before)
        try:
            return sound(*args, **kwargs)
        finally:
            pipeline.transformer.cap_pad_token.data = before

    with plants.replaced(pipeline.transformer, "forward", forward):
        yield


def dynamic_shift(pipeline: Any) -> None:
    pipeline.scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)


HISTORY = [
    Historic("13377", "QwenImagePipeline", ("text.embeddings",), guidance_needs_masks),
    Historic("13730", "ZImagePipeline", ("waste.idle_steps",), ends_with_two_zeros),
    Historic("13678", "FluxPipeline", ("repeat.generator_alone",), global_noise, stochastic),
    Historic("12294", "QwenImagePipeline", ("batch.prompts",), mask_not_handed_on),
    Historic("12508", "ChromaPipeline", ("text.masked_tokens", "text.longer_padding"), None),
    Historic("12913", "Lumina2Pipeline", ("schedule.shift",), None, dynamic_shift),
    Historic("14184", "AuraFlowPipeline", ("repeat.as_it_was",), None, half_vae),
    Historic("13805", "ZImagePipeline", ("repeat.uninitialised_memory",), uninitialised_pad),
    Historic("13634", "LuminaPipeline", ("batch.prompts_and_images",), None),
]


def answers(historic: Historic, plant: Plant | None) -> dict[str, str]:
    pipeline = zoo.build(historic.name)
    historic.prepare(pipeline)
    arguments = zoo.arguments(historic.name, pipeline, guided=True) or zoo.arguments(
        historic.name, pipeline, guided=False
    )
    assert arguments is not None
    with plant(pipeline) if plant is not None else contextlib.nullcontext():
        verification = verify(pipeline, arguments | dict(historic.call), only=historic.codes)
    return {check.code: check.answer for check in verification.checks}


@pytest.mark.parametrize("historic", HISTORY, ids=lambda historic: f"{historic.number}-{historic.name}")
def test_a_fault_of_the_past_is_found_without_a_baseline(historic: Historic) -> None:
    assert answers(historic, historic.plant) == dict.fromkeys(historic.codes, "broken")


@pytest.mark.parametrize(
    "historic",
    [historic for historic in HISTORY if historic.plant not in (None, global_noise)],
    ids=lambda historic: f"{historic.number}-{historic.name}",
)
def test_it_is_not_found_where_it_is_fixed(historic: Historic) -> None:
    assert answers(historic, None) == dict.fromkeys(historic.codes, "holds")
