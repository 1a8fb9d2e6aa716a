"""Faults of diffusers that `diffbench verify` found, each shown in plain diffusers, without this package.

Each function takes a pipeline and the arguments of a call, and returns how far apart two outputs are that should be
equal: the root mean square of their difference over the first one's standard deviation. 0 is no fault. Of waste, it
returns the number of calls made in vain.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

SHORT, LONG = "a red circle", "two small green squares on a white ground, seen from above"


class Shown(NamedTuple):
    """A fault of a class.

    Attributes:
        name: of the class.
        code: of the invariant that finds it.
        show: see above.
        about: what is wrong, for the table.
        upstream: number of the issue or pull request that says so, where one was found.
    """

    name: str
    code: str
    show: Callable[..., float]
    about: str
    upstream: str = ""


def pictures(pipeline: Any, seeds: list[int], **call: Any) -> Any:
    """What a call returns for each seed, as an array."""
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    one = generators if len(seeds) > 1 else generators[0]
    return np.asarray(pipeline(**call, generator=one, output_type="np", return_dict=False)[0], dtype=np.float64)


def gap(first: Any, second: Any) -> float:
    """See above."""
    return float(np.sqrt(np.mean((first - second) ** 2)) / first.std())


def masks_in_another_order(pipeline: Any, **call: Any) -> float:
    """The first image of each of two prompts, beside the same without a second image."""
    call |= {"prompt": [SHORT, LONG]} | ({"negative_prompt": ["", ""]} if "negative_prompt" in call else {})
    two_each = pictures(pipeline, [0, 1, 2, 3], **call, num_images_per_prompt=2)
    return gap(pictures(pipeline, [0, 2], **call), two_each[[0, 2]])


def padding_in_a_batch(pipeline: Any, **call: Any) -> float:
    """A short prompt beside a longer one, and alone."""
    lists = {"prompt": [SHORT, LONG]} | ({"negative_prompt": ["", ""]} if "negative_prompt" in call else {})
    together = pictures(pipeline, [0, 1], **call | lists)
    return gap(pictures(pipeline, [0], **call | {"prompt": SHORT}), together[:1])


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


_ORDER = "masks are repeated as `[a, b, a, b]`, embeddings as `[a, a, b, b]`"

FAULTS = [
    Shown("LuminaPipeline", "batch.prompts_and_images", masks_in_another_order, _ORDER, "#13634"),
    Shown("Lumina2Pipeline", "batch.prompts_and_images", masks_in_another_order, _ORDER),
    Shown("SanaPipeline", "batch.prompts_and_images", masks_in_another_order, _ORDER),
    Shown("SanaSprintPipeline", "batch.prompts_and_images", masks_in_another_order, _ORDER),
    Shown("HunyuanDiTPipeline", "batch.prompts_and_images", masks_in_another_order, _ORDER),
    Shown("Kandinsky3Pipeline", "batch.prompts_and_images", masks_in_another_order, _ORDER),
    Shown("QwenImagePipeline", "batch.prompts_and_images", masks_in_another_order, _ORDER, "#14147"),
    Shown("HunyuanImagePipeline", "batch.prompts_and_images", masks_in_another_order, _ORDER),
    Shown(
        "KandinskyCombinedPipeline",
        "batch.prompts_and_images",
        masks_in_another_order,
        "the decoder gets prompts as `[a, b, a, b]`, image embeddings as `[a, a, b, b]`",
    ),
    Shown("CogView4Pipeline", "batch.prompts", padding_in_a_batch, "no mask: padding takes part", "#13621"),
    Shown("Kandinsky5T2IPipeline", "batch.prompts", padding_in_a_batch, "the shorter prompt of a batch changes"),
    Shown(
        "Kandinsky5T2IPipeline",
        "batch.prompts_and_images",
        masks_in_another_order,
        "pooled embeddings are repeated as `[a, b, a, b]`, the others as `[a, a, b, b]`",
    ),
    Shown(
        "CogView3PlusPipeline",
        "text.embeddings",
        negative_embeddings_ignored,
        "`negative_prompt_embeds` are overwritten by zeros",
    ),
    Shown("ChromaPipeline", "text.masked_tokens", padding_not_masked, "a mask of 0.0 and 1.0 is added", "#13619"),
    Shown("ChromaPipeline", "text.longer_padding", padding_not_masked, "as above", "#12116"),
    Shown(
        "Ideogram4Pipeline",
        "off.unconditional_calls",
        unconditional_calls_in_vain,
        "a scale of 1.0 still calls the unconditional transformer in each step",
    ),
    Shown(
        "KandinskyCombinedPipeline",
        "off.negative_prompt",
        negative_prompt_without_guidance,
        "documented as ignored; the prior's batch, and so its noise, changes",
    ),
    Shown(
        "KandinskyV22PriorPipeline",
        "off.negative_prompt",
        negative_prompt_without_guidance,
        "as above, for the image embeddings",
    ),
    Shown(
        "KandinskyV22CombinedPipeline",
        "off.negative_prompt",
        negative_prompt_without_guidance,
        "documented as ignored; the prior's batch, and so its noise, changes",
    ),
]
"""Those of diffusers 0.42.1."""
