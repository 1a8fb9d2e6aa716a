"""The table of faults of diffusers that `diffbench verify` found; `benchmarks/verify_zoo.py` is held against it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import faults_by_hand as by_hand

if TYPE_CHECKING:
    from collections.abc import Callable


class Shown(NamedTuple):
    """A fault of a class.

    Attributes:
        name: of the class.
        code: of the invariant that finds it.
        show: shows it in plain diffusers, see `faults_by_hand`.
        about: what is wrong, for the table.
        upstream: number of the issue or pull request that says so, where one was found.
        without: arguments of the zoo's call that hide it.
    """

    name: str
    code: str
    show: Callable[..., float]
    about: str
    upstream: str = ""
    without: tuple[str, ...] = ()

    def arguments(self, call: dict[str, Any]) -> dict[str, Any]:
        """The zoo's call, without what hides the fault."""
        return {name: value for name, value in call.items() if name not in self.without}


_ORDER = "masks are repeated as `[a, b, a, b]`, embeddings as `[a, a, b, b]`"

FAULTS = [
    Shown("LuminaPipeline", "batch.prompts_and_images", by_hand.masks_in_other_order, _ORDER, "#13634"),
    Shown("Lumina2Pipeline", "batch.prompts_and_images", by_hand.masks_in_other_order, _ORDER),
    Shown("SanaPipeline", "batch.prompts_and_images", by_hand.masks_in_other_order, _ORDER),
    Shown("SanaSprintPipeline", "batch.prompts_and_images", by_hand.masks_in_other_order, _ORDER),
    Shown("HunyuanDiTPipeline", "batch.prompts_and_images", by_hand.masks_in_other_order, _ORDER),
    Shown("Kandinsky3Pipeline", "batch.prompts_and_images", by_hand.masks_in_other_order, _ORDER),
    Shown("QwenImagePipeline", "batch.prompts_and_images", by_hand.masks_in_other_order, _ORDER, "#14147"),
    Shown("HunyuanImagePipeline", "batch.prompts_and_images", by_hand.masks_in_other_order, _ORDER),
    Shown(
        "KandinskyCombinedPipeline",
        "batch.prompts_and_images",
        by_hand.masks_in_other_order,
        "the decoder gets prompts as `[a, b, a, b]`, image embeddings as `[a, a, b, b]`",
        without=("negative_prompt",),
    ),
    *(
        Shown(name, "batch.prompts", by_hand.padding_in_a_batch, "the shorter prompt of a batch changes")
        for name in ("Kandinsky5T2VPipeline", "Kandinsky5I2IPipeline", "Kandinsky5I2VPipeline")
    ),
    Shown("CogView4Pipeline", "batch.prompts", by_hand.padding_in_a_batch, "no mask: padding takes part", "#13621"),
    Shown(
        "Kandinsky5T2IPipeline", "batch.prompts", by_hand.padding_in_a_batch, "the shorter prompt of a batch changes"
    ),
    Shown(
        "Kandinsky5T2IPipeline",
        "batch.prompts_and_images",
        by_hand.masks_in_other_order,
        "pooled embeddings are repeated as `[a, b, a, b]`, the others as `[a, a, b, b]`",
    ),
    Shown(
        "CogView3PlusPipeline",
        "text.embeddings",
        by_hand.negative_embeddings_ignored,
        "`negative_prompt_embeds` are overwritten by zeros",
    ),
    Shown(
        "ChromaPipeline", "text.masked_tokens", by_hand.padding_not_masked, "a mask of 0.0 and 1.0 is added", "#13619"
    ),
    Shown("ChromaPipeline", "text.longer_padding", by_hand.padding_not_masked, "as above", "#12116"),
    Shown(
        "Ideogram4Pipeline",
        "off.unconditional_calls",
        by_hand.unconditional_calls_in_vain,
        "a scale of 1.0 still calls the unconditional transformer in each step",
    ),
    Shown(
        "KandinskyCombinedPipeline",
        "off.negative_prompt",
        by_hand.negative_prompt_without_guidance,
        "documented as ignored; the prior's batch, and so its noise, changes",
        without=("negative_prompt",),
    ),
    Shown(
        "KandinskyV22CombinedPipeline",
        "off.negative_prompt",
        by_hand.negative_prompt_without_guidance,
        "documented as ignored; the prior's batch, and so its noise, changes",
        without=("negative_prompt",),
    ),
    *(
        Shown(name, code, show, "with one picture, its latents or noise are drawn with the first generators alone")
        for name in (
            "StableDiffusionInpaintPipeline",
            "StableDiffusionControlNetInpaintPipeline",
            "StableDiffusionPAGInpaintPipeline",
            "StableDiffusionUpscalePipeline",
            "StableDiffusionXLInpaintPipeline",
            "StableDiffusionXLControlNetInpaintPipeline",
            "StableDiffusionXLPAGInpaintPipeline",
            "StableDiffusion3InpaintPipeline",
            "FluxImg2ImgPipeline",
            "FluxInpaintPipeline",
            "FluxControlNetImg2ImgPipeline",
            "FluxControlNetInpaintPipeline",
            "FluxControlImg2ImgPipeline",
            "FluxControlInpaintPipeline",
            "FluxFillPipeline",
            "ChromaImg2ImgPipeline",
            "QwenImageImg2ImgPipeline",
            "QwenImageInpaintPipeline",
            "ZImageImg2ImgPipeline",
            "ZImageInpaintPipeline",
            "StableDiffusionXLControlNetUnionInpaintPipeline",
            "StableDiffusionControlNetPAGInpaintPipeline",
            "StableUnCLIPImg2ImgPipeline",
            "QwenImageEditInpaintPipeline",
        )
        for code, show in (
            ("batch.images_per_prompt", by_hand.second_image),
            ("batch.prompts_and_images", by_hand.masks_in_other_order),
        )
    ),
    *(
        Shown(name, code, show, "with one picture, its latents or noise are drawn with the first generators alone")
        for name in ("StableDiffusionInpaintPipelineLegacy", "Kandinsky5I2VPipeline")
        for code, show in (
            ("batch.images_per_prompt", by_hand.second_image),
            ("batch.prompts_and_images", by_hand.two_per_picture),
        )
    ),
    *(
        Shown(name, "batch.prompts_and_images", by_hand.masks_in_other_order, _ORDER)
        for name in (
            "Kandinsky3Img2ImgPipeline",
            "HunyuanDiTPAGPipeline",
            "HunyuanDiTControlNetPipeline",
            "SanaPAGPipeline",
            "SanaControlNetPipeline",
            "SanaSprintImg2ImgPipeline",
            "SanaVideoPipeline",
            "QwenImageControlNetPipeline",
            "LTXPipeline",
            "LTXConditionPipeline",
            "MochiPipeline",
            "QwenImageEditPipeline",
            "LTX2Pipeline",
            "LTX2ConditionPipeline",
            "LTX2InContextPipeline",
            "LTX2HDRPipeline",
            "LTX2DFRPipeline",
        )
    ),
    Shown(
        "VisualClozeGenerationPipeline",
        "batch.images_per_prompt",
        by_hand.second_image,
        "with one picture, its latents or noise are drawn with the first generators alone",
    ),
    Shown(
        "PaintByExamplePipeline",
        "batch.images_per_prompt",
        by_hand.second_image,
        "the second image isn't that of a call alone",
    ),
    Shown(
        "StableVideoDiffusionPipeline",
        "batch.images_per_prompt",
        by_hand.second_image,
        "the second film isn't that of a call alone",
    ),
    *(
        Shown(name, code, show, "samples of a batch influence each other")
        for name, codes in (
            ("StableDiffusionPanoramaPipeline", "images_per_prompt prompts order prompts_and_images"),
            ("LattePipeline", "images_per_prompt prompts prompts_and_images"),
            ("CogView4ControlPipeline", "images_per_prompt prompts order prompts_and_images"),
        )
        for code, show in (
            ("batch.images_per_prompt", by_hand.second_image),
            ("batch.prompts", by_hand.padding_in_a_batch),
            ("batch.order", by_hand.other_place_in_batch),
            ("batch.prompts_and_images", by_hand.masks_in_other_order),
        )
        if code.partition(".")[2] in codes.split()
    ),
    Shown(
        "CogView4ControlPipeline",
        "repeat.generator_alone",
        by_hand.global_generator,
        "the control image is encoded with torch's global generator",
    ),
    Shown(
        "ChromaImg2ImgPipeline",
        "text.masked_tokens",
        by_hand.padding_not_masked,
        "a mask of 0.0 and 1.0 is added",
        "#13619",
    ),
    Shown("ChromaImg2ImgPipeline", "text.longer_padding", by_hand.padding_not_masked, "as above", "#12116"),
    Shown("LTXPipeline", "text.longer_padding", by_hand.longer_padding, "the text encoder is handed no mask"),
    Shown("LTXImageToVideoPipeline", "text.longer_padding", by_hand.longer_padding, "as above"),
    *(
        Shown(name, "waste.idle_steps", by_hand.idle_steps, "the last step has dt = 0")
        for name in (
            "CosmosTextToWorldPipeline",
            "CosmosVideoToWorldPipeline",
            "Cosmos2TextToImagePipeline",
            "Cosmos2VideoToWorldPipeline",
        )
    ),
    *(
        Shown(name, "chunks.vae_tiling", by_hand.tiling_without_effect, "`enable_tiling` of its VAE does nothing")
        for name in ("CosmosTextToWorldPipeline", "CosmosVideoToWorldPipeline")
    ),
    Shown(
        "EasyAnimatePipeline",
        "chunks.vae_slicing",
        by_hand.slices_refused,
        "a second slice is decoded with what the first left in the convolutions, and raises",
    ),
    *(
        Shown(name, code, show, "the masked picture is encoded with torch's global generator")
        for name in ("QwenImageControlNetInpaintPipeline",)
        for code, show in (
            ("repeat.generator_alone", by_hand.global_generator),
            ("batch.images_per_prompt", by_hand.second_image),
            ("batch.prompts", by_hand.padding_in_a_batch),
            ("batch.order", by_hand.other_place_in_batch),
            ("batch.prompts_and_images", by_hand.masks_in_other_order),
        )
    ),
    Shown(
        "OmniGenPipeline (input picture)",
        "repeat.generator_alone",
        by_hand.global_generator,
        "the input picture is encoded with torch's global generator",
    ),
    Shown(
        "OmniGenPipeline",
        "off.unconditional_calls",
        by_hand.unconditional_half_in_vain,
        "a scale of 1.0, documented to turn guidance off, still computes the unconditional half in each step",
    ),
    Shown(
        "CycleDiffusionPipeline",
        "batch.prompts",
        by_hand.padding_in_a_batch,
        "of a batch, the unconditional embeddings alone are used, the first two rows",
    ),
    Shown("CycleDiffusionPipeline", "batch.order", by_hand.other_place_in_batch, "as above"),
    Shown(
        "CycleDiffusionPipeline",
        "waste.encoded_twice",
        by_hand.texts_encoded_twice,
        "the empty negative prompt is encoded for each of the two prompts",
    ),
    Shown("PNDMPipeline", "waste.idle_steps", by_hand.idle_steps, "the last step has dt = 0"),
    Shown(
        "LTXI2VLongMultiPromptPipeline",
        "repeat.generator_used",
        by_hand.generator_without_effect,
        "`seed`, 0 by default, seeds all noise; the generator that is passed has no effect",
        without=("output_type",),
    ),
    *(
        Shown(
            name,
            "callback.cut_off",
            by_hand.guided_after_the_cut_off,
            "after the callback that cuts guidance off, `audio_guidance_scale` keeps it on",
        )
        for name in (
            "LTX2Pipeline",
            "LTX2ImageToVideoPipeline",
            "LTX2ConditionPipeline",
            "LTX2InContextPipeline",
        )
    ),
]
"""Those of diffusers 0.42.1."""
