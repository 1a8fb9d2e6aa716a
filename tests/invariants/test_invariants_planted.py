"""Each invariant is broken by a fault of its kind that is planted into a real pipeline, and kept without it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import diffusers
import guidance_pipelines as zoo
import plants
import pytest
import torch
from tiny_pipelines import build_tiny

from pytest_diffbench.invariants import CODES, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_diffbench.records import Check

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("real_libraries")]

PROMPT = "a large red circle on a blue background"
SMALL: dict[str, Any] = {"prompt": PROMPT, "num_inference_steps": 3, "height": 64, "width": 64}


@dataclasses.dataclass(frozen=True)
class Planted:
    """A fault, and the invariant that it breaks.

    Attributes:
        code: of the invariant.
        build: makes the pipeline, which is used by other tests as well.
        plant: the fault; None where diffusers has it.
        words: some of what the check names.
    """

    code: str
    build: Callable[[], Any]
    plant: Callable[[Any], contextlib.AbstractContextManager[object]] | None
    words: str = ""


lumina2 = functools.cache(lambda: build_tiny("lumina2"))


def method(owner: str, name: str, change: Callable[..., Any]) -> Callable[[Any], Any]:
    """Put `change(sound, pipeline, *args, **kwargs)` in the place of a component's method."""

    def plant(pipeline: Any) -> contextlib.AbstractContextManager[None]:
        holder = getattr(pipeline, owner) if owner else pipeline
        sound = getattr(holder, name)

        def broken(*args: Any, **kwargs: Any) -> Any:
            return change(sound, pipeline, *args, **kwargs)

        return plants.replaced(holder, name, functools.wraps(sound)(broken))

    return plant


def decoded(change: Callable[[torch.Tensor, Any], torch.Tensor]) -> Callable[[Any], Any]:
    """Change what the VAE decodes."""

    def broken(sound: Any, pipeline: Any, *args: Any, **kwargs: Any) -> Any:
        first, *rest = sound(*args, **kwargs)
        return (change(first, pipeline), *rest)

    return method("vae", "decode", broken)


def counting() -> Callable[[torch.Tensor, Any], torch.Tensor]:
    count = 0

    def change(tensor: torch.Tensor, _pipeline: Any) -> torch.Tensor:
        nonlocal count
        count += 1
        return tensor + 0.1 * count

    return change


def training(tensor: torch.Tensor, pipeline: Any) -> torch.Tensor:
    pipeline.vae.quant_conv.train()
    return tensor


def first_alone(tensor: torch.Tensor, _pipeline: Any) -> torch.Tensor:
    return torch.cat([tensor[:1] + 0.5, tensor[1:]])


def sliced(tensor: torch.Tensor, pipeline: Any) -> torch.Tensor:
    return tensor.flip(0) if pipeline.vae.use_slicing else tensor


def own_noise(sound: Any, _pipeline: Any, *args: Any, **kwargs: Any) -> Any:
    generators = [item for item in args if isinstance(item, torch.Generator)]
    for generator in generators:
        generator.manual_seed(0)
    return sound(*args, **kwargs)


def twice(sound: Any, _pipeline: Any, *args: Any, **kwargs: Any) -> Any:
    sound(*args, **kwargs)
    return sound(*args, **kwargs)


def louder_without_negative(sound: Any, _pipeline: Any, *args: Any, **kwargs: Any) -> Any:
    embeds, negative = sound(*args, **kwargs)
    return embeds, negative * (1.5 if kwargs.get("negative_prompt", args[4]) is None else 1.0)


def louder_embeddings(sound: Any, _pipeline: Any, *args: Any, **kwargs: Any) -> Any:
    embeds, negative = sound(*args, **kwargs)
    return (embeds * 1.2 if kwargs.get("prompt_embeds") is not None else embeds), negative


def late(left: torch.Tensor, right: torch.Tensor, extent: int) -> torch.Tensor:
    """Blend with the columns beside those that overlap."""
    share = torch.arange(extent) / extent
    right[..., :extent] = left[..., -extent - 1 : -1] * (1 - share) + right[..., :extent] * share
    return right


def no_slices(sound: Any, pipeline: Any, *args: Any, **kwargs: Any) -> Any:
    sound(*args, **kwargs)
    for layer in pipeline.unet.modules():
        if hasattr(layer, "processor") and hasattr(layer, "scale"):
            layer.processor = _Unscaled(layer.processor)


class _Unscaled:
    """A processor that leaves the scale of attention out."""

    def __init__(self, sound: Any) -> None:
        self.sound = sound

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return 1.5 * self.sound(*args, **kwargs)


@contextlib.contextmanager
def always_guided(pipeline: Any) -> Iterator[None]:
    """Guidance that never is off, and no weaker than 1.5."""
    line = plants.line(
        ("noise_pred_uncond + self.guidance_scale *", "noise_pred_uncond + max(1.5, self.guidance_scale) *")
    )
    with line(pipeline):
        type(pipeline).do_classifier_free_guidance = property(lambda _self: True)
        yield


def unread_prediction(pipeline: Any) -> Any:
    formula = "noise_pred_uncond + self.guidance_scale * (noise_pred_text - noise_pred_uncond)"
    return plants.line((formula, "noise_pred_text"))(pipeline)


def shifted_by_size(pipeline: Any) -> contextlib.AbstractContextManager[None]:
    """Diffusers' Lumina2Pipeline itself works the shift out from the number of channels."""
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    return plants.replaced(pipeline, "scheduler", scheduler)


def without_mask(pipeline: Any) -> Any:
    def masks_all_true(arguments: dict[str, Any]) -> dict[str, Any]:
        mask = arguments["encoder_attention_mask"]
        return arguments | {"encoder_attention_mask": torch.ones_like(mask)}

    return plants.argument("transformer.forward", masks_all_true)(pipeline)


def deaf_callback(_pipeline: Any) -> contextlib.AbstractContextManager[None]:
    return plants.replaced_in_class(
        diffusers.callbacks.SDCFGCutoffCallback, "callback_fn", lambda _self, _pipe, _step, _t, tensors: tensors
    )


PLANTED = [
    Planted("repeat.as_it_was", zoo.stable_diffusion, decoded(training), "vae: layers in training"),
    Planted("repeat.second_call", zoo.stable_diffusion, decoded(counting())),
    Planted(
        "repeat.generator_alone",
        zoo.stable_diffusion,
        decoded(lambda tensor, _pipeline: tensor + 0.1 * torch.randn_like(tensor)),
    ),
    Planted("repeat.generator_used", zoo.stable_diffusion, method("", "prepare_latents", own_noise)),
    Planted(
        "repeat.uninitialised_memory",
        zoo.stable_diffusion,
        decoded(lambda tensor, _pipeline: tensor + torch.empty(3).isnan().all()),
    ),
    Planted(
        "waste.idle_steps",
        lumina2,
        plants.schedule(lambda scheduler: scheduler.sigmas.__setitem__(1, scheduler.sigmas[2])),
        "steps 1",
    ),
    Planted("waste.encoded_twice", zoo.stable_diffusion, method("", "encode_prompt", twice), "text_encoder: 2 calls"),
    Planted("waste.unused_branch", zoo.stable_diffusion, unread_prediction, "steps 0-2"),
    Planted("off.unconditional_calls", zoo.stable_diffusion, always_guided, "guidance_scale=1"),
    Planted("off.picture", zoo.stable_diffusion, always_guided, "steps 0-2"),
    Planted("off.negative_prompt", zoo.stable_diffusion, always_guided, "guidance_scale=1"),
    Planted("off.empty_negative_prompt", zoo.stable_diffusion, method("", "encode_prompt", louder_without_negative)),
    Planted("schedule.shift", lumina2, shifted_by_size, "axis 1 of [1, 4, 8, 8]"),
    Planted(
        "batch.images_per_prompt",
        zoo.stable_diffusion,
        decoded(lambda tensor, _pipeline: tensor + tensor.mean(0, keepdim=True)),
        "samples 0, 1",
    ),
    Planted(
        "batch.prompts",
        zoo.stable_diffusion,
        decoded(lambda tensor, _pipeline: tensor + tensor.mean(0, keepdim=True)),
        "samples 0, 1",
    ),
    Planted("batch.order", zoo.stable_diffusion, decoded(first_alone)),
    Planted("batch.prompts_and_images", lumina2, None, "samples 1, 2"),
    Planted("text.embeddings", zoo.stable_diffusion, method("", "encode_prompt", louder_embeddings), "prompt_embeds"),
    Planted("text.longer_padding", lumina2, without_mask, "max_sequence_length=384, not 256"),
    Planted("text.masked_tokens", lumina2, without_mask, "masked tokens replaced"),
    Planted(
        "callback.nothing",
        zoo.stable_diffusion,
        plants.line(('callback_outputs.pop("latents", latents)', '1.05 * callback_outputs.pop("latents", latents)')),
    ),
    Planted("callback.cut_off", zoo.stable_diffusion, deaf_callback, "steps 1-2"),
    Planted("chunks.vae_slicing", zoo.stable_diffusion, decoded(sliced)),
    Planted(
        "chunks.vae_tiling",
        zoo.stable_diffusion,
        lambda pipeline: plants.replaced(pipeline.vae, "blend_h", lambda _left, right, _extent: right),
        "column 24",
    ),
    Planted(
        "chunks.vae_tiling",
        zoo.stable_diffusion,
        lambda pipeline: plants.replaced(pipeline.vae, "blend_h", late),
        "columns",
    ),
    Planted("chunks.attention_slicing", zoo.stable_diffusion, method("", "enable_attention_slicing", no_slices)),
]


QUICK = {
    "repeat.generator_alone",
    "waste.encoded_twice",
    "off.picture",
    "schedule.shift",
    "batch.order",
    "text.embeddings",
    "text.masked_tokens",
    "callback.nothing",
    "chunks.vae_slicing",
    "chunks.vae_tiling",
}
"""Those of the quick tier: of each kind of invariant at least one."""


def tiered(planted: Planted) -> Any:
    marks = () if planted.code in QUICK else pytest.mark.full
    return pytest.param(planted, marks=marks, id=planted.code)


def check_of(code: str, pipeline: Any, plant: Any, **more: Any) -> Check:
    with plant(pipeline) if plant is not None else contextlib.nullcontext():
        (check,) = verify(pipeline, SMALL, only=[code], **more).checks
    return check


@pytest.mark.parametrize("planted", map(tiered, PLANTED))
def test_a_fault_of_every_kind_breaks_an_invariant(planted: Planted) -> None:
    check = check_of(planted.code, planted.build(), planted.plant)
    assert check.answer == "broken", check
    assert planted.words in "; ".join(check.where), check


def test_a_sound_pipeline_keeps_all_applicable_invariants() -> None:
    checks = verify(zoo.stable_diffusion(), SMALL | {"num_inference_steps": 2, "height": 32, "width": 32}).checks
    obstacles = {check.code: check.obstacle for check in checks if check.answer != "holds"}
    assert obstacles == {
        "repeat.processes": "one_process",
        "schedule.shift": "no_schedule",
        "text.longer_padding": "no_mask",
        "text.masked_tokens": "no_mask",
    }
    assert {check.answer for check in checks if check.code in obstacles} == {"not_applicable"}


@pytest.mark.full
@pytest.mark.parametrize(
    "planted", [planted for planted in PLANTED if planted.plant is not None], ids=lambda planted: planted.code
)
def test_the_sound_pipeline_keeps_the_invariant(planted: Planted) -> None:
    check = check_of(planted.code, planted.build(), None)
    assert check.answer == ("not_applicable" if planted.code == "schedule.shift" else "holds"), check


@pytest.mark.full
@pytest.mark.parametrize(("by", "answer"), [(0.0, "holds"), (0.1, "broken")])
def test_a_different_process_is_compared(by: float, answer: str) -> None:
    pipeline = zoo.stable_diffusion()
    generator = torch.Generator("cpu").manual_seed(0)
    images = pipeline(**SMALL, generator=generator, output_type="np").images
    check = check_of("repeat.processes", pipeline, None, elsewhere=lambda: {"images": images.astype("float64") + by})
    assert check.answer == answer, check


def test_a_sample_of_tokens_has_a_shift_by_the_number_of_tokens() -> None:
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    check = check_of(
        "schedule.shift", build_tiny("flux"), lambda pipeline: plants.replaced(pipeline, "scheduler", scheduler)
    )
    assert check.answer == "holds", check
    assert check.observed == check.expected == 16  # 64 pixels a side are 8 latents, and a token is two by two of them


def test_a_mix_by_1_wastes_calls_and_leaves_the_picture() -> None:
    """As OmniGen has it: at a scale of 1, u + (c - u) is the conditional prediction but for rounding."""

    def mixes(pipeline: Any) -> contextlib.AbstractContextManager[None]:
        return plants.replaced_in_class(type(pipeline), "do_classifier_free_guidance", property(lambda _self: True))

    answers = {
        code: check_of(code, zoo.stable_diffusion(), mixes).answer
        for code in ("off.unconditional_calls", "off.picture")
    }
    assert answers == {"off.unconditional_calls": "broken", "off.picture": "holds"}


def test_learned_tokens_in_the_place_of_padding_are_no_fault() -> None:
    """As LTX-2 has them: the mask that its denoiser is handed masks nothing, whatever the length of the text."""

    def learned(sound: Any, _pipeline: Any, *args: Any, **kwargs: Any) -> Any:
        encoded = sound(*args, **kwargs)
        pairs = zip(encoded[::2], encoded[1::2], strict=True)
        return tuple(
            tensor
            for embeds, mask in pairs
            for tensor in (torch.where(mask[..., None] != 0, embeds, 0.5), torch.ones_like(mask))
        )

    check = check_of("text.longer_padding", lumina2(), method("", "encode_prompt", learned))
    assert (check.answer, check.obstacle) == ("not_applicable", "no_mask")


def test_every_invariant_has_a_fault() -> None:
    assert {planted.code for planted in PLANTED} | {"repeat.processes"} == set(CODES)
