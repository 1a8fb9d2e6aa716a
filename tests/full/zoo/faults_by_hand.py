"""Faults of diffusers shown in plain diffusers, without this package.

Each function that stands in the table of `upstream_faults` takes a pipeline and the arguments of a call, and returns
how far apart two outputs are that should be equal: the root mean square of their difference over the first one's
standard deviation. 0 is no fault. Of waste, it returns the number of calls made in vain.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from PIL import Image

SHORT, LONG = "a red circle", "two small green squares on a white ground, seen from above"


def pictures(pipeline: Any, seeds: list[int], **call: Any) -> Any:
    """What a call returns for each seed, as an array."""
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    generator = generators if len(seeds) > 1 else generators[0]
    output = pipeline(**call, generator=generator, output_type="np", return_dict=False)
    return np.asarray(output[0] if isinstance(output, tuple) else output, dtype=np.float64)


def gap(first: Any, second: Any) -> float:
    """See above."""
    return float(np.sqrt(np.mean((first - second) ** 2)) / first.std())


def per_prompt(pipeline: Any) -> str:
    """What a class calls the number of pictures or films of a prompt."""
    return next(name for name in inspect.signature(pipeline.__call__).parameters if name.endswith("_per_prompt"))


def for_two(call: dict[str, Any]) -> dict[str, Any]:
    """A call for two prompts, with the same picture for each."""
    lists: dict[str, Any] = {name: [value] * 2 for name, value in call.items() if isinstance(value, Image.Image)}
    lists |= {name: ["", ""] for name in call if name == "negative_prompt"}
    return call | lists | {"prompt": [SHORT, LONG]}


def masks_in_other_order(pipeline: Any, **call: Any) -> float:
    """Two images of each of two prompts, beside the same with one image of each."""
    return _two_per_prompt(pipeline, for_two(call))


def two_per_picture(pipeline: Any, **call: Any) -> float:
    """As above, of a class that takes no list of pictures."""
    images = {name: value for name, value in call.items() if isinstance(value, Image.Image)}
    return _two_per_prompt(pipeline, for_two(call) | images)


def _two_per_prompt(pipeline: Any, call: dict[str, Any]) -> float:
    two_per_prompt = pictures(pipeline, [0, 1, 2, 3], **call, **{per_prompt(pipeline): 2})
    singles = [pictures(pipeline, [seed, seed + 2], **call) for seed in (0, 1)]
    return max(gap(singles[0], two_per_prompt[[0, 2]]), gap(singles[1], two_per_prompt[[1, 3]]))


def second_image(pipeline: Any, **call: Any) -> float:
    """The second image of a prompt, beside the same alone."""
    two = pictures(pipeline, [0, 1], **call, **{per_prompt(pipeline): 2})
    return gap(pictures(pipeline, [1], **call), two[1:])


def other_place_in_batch(pipeline: Any, **call: Any) -> float:
    """Two prompts in one order, and in the other."""
    call = for_two(call)
    first = pictures(pipeline, [0, 1], **call)
    turned = pictures(pipeline, [1, 0], **call | {"prompt": [LONG, SHORT]})
    return gap(first, turned[[1, 0]])


def longer_padding(pipeline: Any, **call: Any) -> float:
    """The same text, filled up to another length."""
    length = call["max_sequence_length"]
    return gap(
        pictures(pipeline, [0], **call),
        pictures(pipeline, [0], **call | {"max_sequence_length": length + length // 2}),
    )


def global_generator(pipeline: Any, **call: Any) -> float:
    """The same seed, and another one of the global generator."""
    outputs = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        outputs.append(pictures(pipeline, [0], **call))
    return gap(*outputs)


def idle_steps(pipeline: Any, **call: Any) -> float:
    """Steps of the scheduler that return the sample that they were handed."""
    sound, idle = type(pipeline.scheduler).step, []

    def step(self: Any, model_output: Any, timestep: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
        before = sample.clone()
        output = sound(self, model_output, timestep, sample, *args, **kwargs)
        idle.append(bool(torch.equal(output[0], before)))
        return output

    type(pipeline.scheduler).step = step
    try:
        pictures(pipeline, [0], **call)
    finally:
        type(pipeline.scheduler).step = sound
    return float(sum(idle))


def padding_in_a_batch(pipeline: Any, **call: Any) -> float:
    """Two prompts together, and each alone."""
    together = pictures(pipeline, [0, 1], **for_two(call))
    alone = [pictures(pipeline, [seed], **call | {"prompt": text}) for seed, text in enumerate((SHORT, LONG))]
    return max(gap(alone[0], together[:1]), gap(alone[1], together[1:]))


def negative_embeddings_ignored(pipeline: Any, **call: Any) -> float:
    """Embeddings of a negative prompt, passed in its place."""
    rest = {name: value for name, value in call.items() if not name.endswith("prompt")}
    positive, negative = pipeline.encode_prompt(SHORT, "", do_classifier_free_guidance=True)
    embeddings = {"prompt_embeds": positive, "negative_prompt_embeds": negative}
    as_text = pictures(pipeline, [0], **rest, prompt=SHORT, negative_prompt="")
    return gap(as_text, pictures(pipeline, [0], **rest, **embeddings))


def padding_not_masked(pipeline: Any, **call: Any) -> float:
    """Embeddings of masked tokens replaced by zeros."""
    rest = {name: value for name, value in call.items() if not name.endswith("prompt")}
    embeds, _, mask, negative, _, negative_mask = pipeline.encode_prompt(SHORT, "", do_classifier_free_guidance=True)
    more = {
        "prompt_attention_mask": mask,
        "negative_prompt_embeds": negative,
        "negative_prompt_attention_mask": negative_mask,
    }
    whole = pictures(pipeline, [0], **rest, **more, prompt_embeds=embeds)
    return gap(whole, pictures(pipeline, [0], **rest, **more, prompt_embeds=embeds * mask[..., None].to(embeds)))


def negative_prompt_without_guidance(pipeline: Any, **call: Any) -> float:
    """With and without a negative prompt, at scales that are documented to ignore it."""
    takes = inspect.signature(pipeline.__call__).parameters
    scales = dict.fromkeys((name for name in takes if name.endswith("guidance_scale")), 1.0)
    rest = {name: value for name, value in call.items() if not name.endswith(("prompt", "guidance_scale"))}
    without = pictures(pipeline, [0], **rest, **scales, prompt=SHORT)
    return gap(without, pictures(pipeline, [0], **rest, **scales, prompt=SHORT, negative_prompt=LONG))


def unconditional_calls_in_vain(pipeline: Any, **call: Any) -> float:
    """Calls of the transformer for the unconditional branch, at a scale that doesn't use them."""
    calls: list[None] = []
    hook = pipeline.unconditional_transformer.register_forward_hook(lambda *_: calls.append(None))
    try:
        pictures(pipeline, [0], **call | {"guidance_scale": 1.0})
    finally:
        hook.remove()
    return float(len(calls))


def unconditional_half_in_vain(pipeline: Any, **call: Any) -> float:
    """Calls of the transformer with more than one sample, for one picture at scales that are documented as off."""
    batches: list[int] = []
    hook = pipeline.transformer.register_forward_pre_hook(
        lambda _module, _args, given: batches.append(len(given["hidden_states"])), with_kwargs=True
    )
    try:
        pictures(pipeline, [0], **call | {"guidance_scale": 1.0, "img_guidance_scale": 1.0})
    finally:
        hook.remove()
    return float(sum(batch > 1 for batch in batches))


def guided_after_the_cut_off(pipeline: Any, **call: Any) -> float:
    """Steps after the first that call the transformer for both branches, though guidance was cut off there."""
    from diffusers.callbacks import SDCFGCutoffCallback

    cut_off = SDCFGCutoffCallback(cutoff_step_ratio=None, cutoff_step_index=0)
    batches: list[list[int]] = [[]]

    def after_step(pipe: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        batches.append([])
        changed: dict[str, Any] = cut_off.callback_fn(pipe, index, timestep, tensors)
        return changed

    hook = pipeline.transformer.register_forward_pre_hook(
        lambda _module, _args, given: batches[-1].append(len(given["hidden_states"])), with_kwargs=True
    )
    try:
        pictures(
            pipeline,
            [0],
            **call,
            callback_on_step_end=after_step,
            callback_on_step_end_tensor_inputs=cut_off.tensor_inputs,
        )
    finally:
        hook.remove()
    return float(sum(max(of_step, default=0) > 1 for of_step in batches[1:]))


def texts_encoded_twice(pipeline: Any, **call: Any) -> float:
    """Calls of the text encoder with tokens that an earlier call had."""
    texts: list[bytes] = []
    hook = pipeline.text_encoder.register_forward_pre_hook(
        lambda _module, given: texts.append(given[0].numpy().tobytes())
    )
    try:
        pictures(pipeline, [0], **call)
    finally:
        hook.remove()
    return float(len(texts) - len(set(texts)))


def generator_without_effect(pipeline: Any, **call: Any) -> float:
    """1 where two seeds of the generator give the same output to the bit."""
    return float(np.array_equal(*(pictures(pipeline, [seed], **call) for seed in (0, 1))))


def tiling_without_effect(pipeline: Any, **_call: Any) -> float:
    """Width of what the decoder is handed at once, over that of all, where tiles half as wide were asked for."""
    vae = pipeline.vae
    latents = torch.zeros(1, vae.config.latent_channels, 1, 8, 8)
    with torch.no_grad():
        side_px = vae.decode(latents, return_dict=False)[0].shape[-1] // 2
    widths: list[int] = []
    hook = vae.decoder.register_forward_pre_hook(lambda _module, given: widths.append(given[0].shape[-1]))
    try:
        vae.enable_tiling(side_px, side_px)
        with torch.no_grad():
            vae.decode(latents)
    finally:
        hook.remove()
        vae.disable_tiling()
    return widths[0] / 8 if widths[0] == 8 else 0.0


def slices_refused(pipeline: Any, **_call: Any) -> float:
    """Two latents decoded at once, and one after the other, which raises."""
    vae = pipeline.vae
    latents = torch.zeros(2, vae.config.latent_channels, 2, 8, 8)
    with torch.no_grad():
        vae.decode(latents)
        vae.enable_slicing()
        try:
            vae.decode(latents)
        except RuntimeError:
            return 1.0
        finally:
            vae.disable_slicing()
    return 0.0
