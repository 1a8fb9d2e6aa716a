"""Lines of the zoo's table: variants of classes that denoise pictures with a transformer."""

from __future__ import annotations

from typing import Any

import zoo_gemma as gemma
import zoo_language as language
import zoo_parts as parts
import zoo_qwen as qwen
import zoo_transformers as transformers
from zoo_entry import Entry, derived, photograph
from zoo_parts import WIDTH

_TRUE = ("true_cfg_scale",)
_PAG_SCALES = ("guidance_scale", "pag_scale")
_DISTILLED = "distilled into the model"
_THREE_LAYERS = {"text_encoder_out_layers": (1, 2, 3)}


def _reconfigured(model: Any, **config: Any) -> Any:
    was = {name: value for name, value in model.config.items() if not name.startswith("_")}
    return type(model)(**was | config)


def _with_channels(channels: int) -> Any:
    """A transformer that is handed a picture beside the latents, in further channels."""
    return lambda base: _reconfigured(base.transformer, in_channels=channels, out_channels=16)


def _sd3_control_net(base: Any, further: int = 0) -> Any:
    import diffusers

    return parts.stirred(
        diffusers.SD3ControlNetModel(
            sample_size=16, patch_size=2, in_channels=4, num_layers=1, attention_head_dim=8, num_attention_heads=4,
            joint_attention_dim=2 * WIDTH, caption_projection_dim=WIDTH, pooled_projection_dim=2 * WIDTH,
            out_channels=4,
            extra_conditioning_channels=further,
        )
    )  # fmt: skip


def _flux_control_net(base: Any) -> Any:
    import diffusers

    return parts.stirred(
        diffusers.FluxControlNetModel(
            **parts.PACKED, joint_attention_dim=WIDTH, pooled_projection_dim=WIDTH, guidance_embeds=True,
            axes_dims_rope=[4, 4, 8],
        )
    )  # fmt: skip


def _qwen_control_net(base: Any, further: int = 0) -> Any:
    import diffusers

    return parts.stirred(
        diffusers.QwenImageControlNetModel(
            in_channels=16,
            out_channels=4,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(4, 6, 6),
            extra_condition_channels=further,
        )
    )


def _hunyuan_control_net(base: Any) -> Any:
    import diffusers

    return parts.stirred(
        diffusers.HunyuanDiT2DControlNetModel(
            sample_size=8, transformer_num_layers=2, patch_size=2, attention_head_dim=16, num_attention_heads=2,
            in_channels=4, hidden_size=32, cross_attention_dim=WIDTH, cross_attention_dim_t5=WIDTH,
            pooled_projection_dim=16,
        )
    )  # fmt: skip


def _sana_control_net(base: Any) -> Any:
    import diffusers

    taken = ("in_channels", "out_channels", "num_attention_heads", "attention_head_dim", "num_layers",
             "num_cross_attention_heads", "cross_attention_head_dim", "cross_attention_dim", "caption_channels",
             "sample_size", "patch_size")  # fmt: skip
    return parts.stirred(diffusers.SanaControlNetModel(**{name: base.transformer.config[name] for name in taken}))


def _flux(kind: str, **further: Any) -> Any:
    return derived(kind, transformers.flux, **further)


def _sd3(kind: str, **further: Any) -> Any:
    return derived(kind, transformers.stable_diffusion_3, **further)


def _distilled(build: Any, **rest: Any) -> Entry:
    return Entry(build=build, scales=(), no_guidance=_DISTILLED, **rest)


_SIXTEEN: dict[str, Any] = {
    "vae": lambda _: parts.wide_autoencoder(),
    "transformer": lambda base: _reconfigured(base.transformer, in_channels=16, out_channels=16),
}

ENTRIES: dict[str, Entry] = {
    "StableDiffusion3Img2ImgPipeline": Entry(build=_sd3("StableDiffusion3Img2ImgPipeline")),
    "StableDiffusion3InpaintPipeline": Entry(build=_sd3("StableDiffusion3InpaintPipeline", **_SIXTEEN)),
    "StableDiffusion3ControlNetPipeline": Entry(
        build=_sd3("StableDiffusion3ControlNetPipeline", controlnet=_sd3_control_net)
    ),
    "StableDiffusion3ControlNetInpaintingPipeline": Entry(
        build=_sd3("StableDiffusion3ControlNetInpaintingPipeline", controlnet=lambda base: _sd3_control_net(base, 1)),
    ),
    "StableDiffusion3PAGPipeline": Entry(
        build=_sd3("StableDiffusion3PAGPipeline", pag_applied_layers="blocks.0"), scales=_PAG_SCALES
    ),
    "StableDiffusion3PAGImg2ImgPipeline": Entry(
        build=_sd3("StableDiffusion3PAGImg2ImgPipeline", pag_applied_layers="blocks.0"), scales=_PAG_SCALES
    ),
    "FluxImg2ImgPipeline": Entry(build=_flux("FluxImg2ImgPipeline"), scales=_TRUE),
    "FluxInpaintPipeline": Entry(build=_flux("FluxInpaintPipeline"), scales=_TRUE),
    "FluxControlNetPipeline": Entry(
        build=_flux("FluxControlNetPipeline", controlnet=_flux_control_net), scales=_TRUE
    ),
    "FluxControlNetImg2ImgPipeline": _distilled(_flux("FluxControlNetImg2ImgPipeline", controlnet=_flux_control_net)),
    "FluxControlNetInpaintPipeline": _distilled(_flux("FluxControlNetInpaintPipeline", controlnet=_flux_control_net)),
    "FluxControlPipeline": _distilled(_flux("FluxControlPipeline", transformer=_with_channels(32))),
    "FluxControlImg2ImgPipeline": _distilled(_flux("FluxControlImg2ImgPipeline", transformer=_with_channels(32))),
    "FluxControlInpaintPipeline": _distilled(_flux("FluxControlInpaintPipeline", transformer=_with_channels(32))),
    "FluxFillPipeline": _distilled(_flux("FluxFillPipeline", transformer=_with_channels(16 + 16 + 256))),
    "FluxKontextPipeline": Entry(
        build=_flux("FluxKontextPipeline"), scales=_TRUE, call={"_auto_resize": False, "max_area": 64 * 64}
    ),
    "FluxKontextInpaintPipeline": Entry(
        build=_flux("FluxKontextInpaintPipeline"), scales=_TRUE, call={"_auto_resize": False, "max_area": 64 * 64}
    ),
    "ChromaImg2ImgPipeline": Entry(build=derived("ChromaImg2ImgPipeline", transformers.chroma)),
    "PixArtSigmaPAGPipeline": Entry(
        build=derived("PixArtSigmaPAGPipeline", transformers.pixart_sigma, pag_applied_layers="blocks.0"),
        scales=_PAG_SCALES,
    ),
    "HunyuanDiTPAGPipeline": Entry(
        build=derived(
            "HunyuanDiTPAGPipeline",
            transformers.hunyuan_dit,
            pag_applied_layers="blocks.1",
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ),
        scales=_PAG_SCALES,
    ),
    "HunyuanDiTControlNetPipeline": Entry(
        build=derived(
            "HunyuanDiTControlNetPipeline",
            transformers.hunyuan_dit,
            controlnet=_hunyuan_control_net,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    ),
    "SanaPAGPipeline": Entry(
        build=derived("SanaPAGPipeline", gemma.sana, pag_applied_layers="blocks.0"), scales=_PAG_SCALES
    ),
    "SanaControlNetPipeline": Entry(
        build=derived("SanaControlNetPipeline", gemma.sana, controlnet=_sana_control_net)
    ),
    "SanaSprintImg2ImgPipeline": _distilled(
        derived("SanaSprintImg2ImgPipeline", gemma.sana_sprint),
        call={"intermediate_timesteps": None, "strength": 1.0},
    ),
    "QwenImageImg2ImgPipeline": Entry(build=derived("QwenImageImg2ImgPipeline", qwen.qwen_image), scales=_TRUE),
    "QwenImageInpaintPipeline": Entry(build=derived("QwenImageInpaintPipeline", qwen.qwen_image), scales=_TRUE),
    "QwenImageControlNetPipeline": Entry(
        build=derived("QwenImageControlNetPipeline", qwen.qwen_image, controlnet=_qwen_control_net), scales=_TRUE
    ),
    "QwenImageControlNetInpaintPipeline": Entry(
        build=derived(
            "QwenImageControlNetInpaintPipeline", qwen.qwen_image, controlnet=lambda base: _qwen_control_net(base, 4)
        ),
        scales=_TRUE,
        draws="encoding the masked image",
    ),
    "QwenImageEditPipeline": Entry(build=qwen.qwen_edit("QwenImageEditPipeline"), scales=_TRUE),
    "QwenImageEditPlusPipeline": Entry(build=qwen.qwen_edit("QwenImageEditPlusPipeline"), scales=_TRUE),
    "QwenImageEditInpaintPipeline": Entry(build=qwen.qwen_edit("QwenImageEditInpaintPipeline"), scales=_TRUE),
    "Kandinsky5I2IPipeline": Entry(build=lambda: qwen.kandinsky_5_further("Kandinsky5I2IPipeline", picture=True)),
    "OmniGenPipeline": Entry(build=language.omnigen),
    "OmniGenPipeline (input picture)": Entry(
        build=language.omnigen,
        scales=("guidance_scale", "img_guidance_scale"),
        call={
            "prompt": "a red circle like <img><|image_1|></img>",
            "input_images": lambda: [photograph()],
            "img_guidance_scale": 2.0,
        },
        draws="encoding the input picture",
    ),
    "BriaFiboEditPipeline": Entry(
        build=derived("BriaFiboEditPipeline", language.bria_fibo),
        call={"_auto_resize": False, "prompt": '{"edit_instruction": "a red circle"}'},
    ),
    "PRXPixelPipeline": Entry(build=gemma.prx_pixel),
    "VisualClozeGenerationPipeline": _distilled(
        _flux("VisualClozeGenerationPipeline", transformer=_with_channels(16 + 16 + 256), resolution=32),
        call={
            "image": lambda: [[photograph(), photograph()], [photograph(), None]],
            "task_prompt": "paint",
            "content_prompt": "a red circle",
        },
    ),
    "ZImageControlNetPipeline": Entry(build=qwen.z_image_control("ZImageControlNetPipeline", 4)),
    "ZImageControlNetInpaintPipeline": Entry(build=qwen.z_image_control("ZImageControlNetInpaintPipeline", 9)),
    "ZImageImg2ImgPipeline": Entry(build=derived("ZImageImg2ImgPipeline", qwen.z_image)),
    "ZImageInpaintPipeline": Entry(build=derived("ZImageInpaintPipeline", qwen.z_image)),
    "Flux2KleinInpaintPipeline": Entry(
        build=derived("Flux2KleinInpaintPipeline", language.flux_2_klein), call=_THREE_LAYERS
    ),
    "Flux2KleinKVPipeline": _distilled(derived("Flux2KleinKVPipeline", language.flux_2_klein), call=_THREE_LAYERS),
    "CogView4ControlPipeline": Entry(
        build=derived(
            "CogView4ControlPipeline",
            language.cogview_4,
            transformer=lambda base: _reconfigured(base.transformer, in_channels=8),
        ),
        draws="encoding the control image",
    ),
}
