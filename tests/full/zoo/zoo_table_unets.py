"""Lines of the zoo's table: what Stable Diffusion's parts are used for, and other pipelines with a UNet."""

from __future__ import annotations

import inspect
from typing import Any

import zoo_adapters as adapters
import zoo_parts as parts
import zoo_unets as unets
import zoo_upscalers as upscalers
from zoo_entry import LEFT_OUT, Entry, derived, mask, photograph

_UNSAFE: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
_NEVER_GUIDED = "unconditional"


def _sd(kind: str, **further: Any) -> Any:
    return derived(kind, unets.stable_diffusion, **_UNSAFE | further)


def _xl(kind: str, **further: Any) -> Any:
    return derived(kind, unets.stable_diffusion_xl, add_watermarker=False, **further)


def control_net(base: Any) -> Any:
    import diffusers

    return diffusers.ControlNetModel.from_unet(base.unet, conditioning_channels=3)


def _union(base: Any) -> Any:
    import diffusers

    taken = inspect.signature(diffusers.ControlNetUnionModel).parameters
    config = {name: value for name, value in base.unet.config.items() if name in taken}
    return parts.stirred(
        diffusers.ControlNetUnionModel(
            **config,
            conditioning_embedding_out_channels=(8, 8, 8, 8),
            num_trans_channel=8,
            num_trans_head=2,
            num_proj_channel=8,
        )
    )


def _stirred_control_net(base: Any) -> Any:
    return parts.stirred(control_net(base))


def _adapter(kind: str) -> Any:
    import diffusers

    return diffusers.T2IAdapter(
        in_channels=3, channels=[8, 16], num_res_blocks=1, downscale_factor=8, adapter_type=kind
    )


def _wide(channels: int, **arguments: Any) -> Any:
    return parts.unet(in_channels=channels, **arguments)


def _unconditional(kind: str, **rest: Any) -> Entry:
    return Entry(build=lambda: upscalers.unconditional(kind), scales=(), no_guidance=_NEVER_GUIDED, **rest)


_XL_UNET: dict[str, Any] = {
    "cross_attention_dim": 2 * parts.WIDTH,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 6 * 8 + parts.WIDTH,
}


_ATTENDING_FIRST: dict[str, Any] = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}


_PAG: dict[str, Any] = {"pag_applied_layers": "mid"}
_PAG_SCALES = ("guidance_scale", "pag_scale")
_SINGLE_CONTROL = {"control_mode": [0], "control_image": lambda: [photograph()]}
_FROM_ZERO = {"height": 32, "width": 32, "video_length": 2, "t0": 0, "t1": 1}
_PRIOR = {"prior_num_inference_steps": 2}
_PRIOR_SCALES = ("guidance_scale", "prior_guidance_scale")
_PIX = {"image_guidance_scale": 2.0}
_PIX_SCALES = ("guidance_scale", "image_guidance_scale")

ENTRIES: dict[str, Entry] = {
    "StableDiffusionImg2ImgPipeline": Entry(build=_sd("StableDiffusionImg2ImgPipeline")),
    "StableDiffusionInpaintPipeline": Entry(build=_sd("StableDiffusionInpaintPipeline", unet=lambda _: _wide(9))),
    "StableDiffusionDepth2ImgPipeline": Entry(
        build=_sd(
            "StableDiffusionDepth2ImgPipeline",
            unet=lambda _: _wide(5),
            depth_estimator=lambda _: upscalers.depth_estimator(),
        ),
        call={"depth_map": upscalers.depth_map},
    ),
    "StableDiffusionControlNetPipeline": Entry(
        build=_sd("StableDiffusionControlNetPipeline", controlnet=control_net)
    ),
    "StableDiffusionControlNetImg2ImgPipeline": Entry(
        build=_sd("StableDiffusionControlNetImg2ImgPipeline", controlnet=_stirred_control_net)
    ),
    "StableDiffusionControlNetInpaintPipeline": Entry(
        build=_sd("StableDiffusionControlNetInpaintPipeline", controlnet=_stirred_control_net)
    ),
    "StableDiffusionPAGPipeline": Entry(build=_sd("StableDiffusionPAGPipeline", **_PAG), scales=_PAG_SCALES),
    "StableDiffusionPAGImg2ImgPipeline": Entry(
        build=_sd("StableDiffusionPAGImg2ImgPipeline", **_PAG), scales=_PAG_SCALES
    ),
    "StableDiffusionPAGInpaintPipeline": Entry(
        build=_sd("StableDiffusionPAGInpaintPipeline", **_PAG), scales=_PAG_SCALES
    ),
    "StableDiffusionControlNetPAGPipeline": Entry(
        build=_sd("StableDiffusionControlNetPAGPipeline", controlnet=control_net, **_PAG), scales=_PAG_SCALES
    ),
    "StableDiffusionInstructPix2PixPipeline": Entry(
        build=_sd("StableDiffusionInstructPix2PixPipeline", unet=lambda _: _wide(8)), scales=_PIX_SCALES, call=_PIX
    ),
    "StableDiffusionImageVariationPipeline": Entry(
        build=_sd("StableDiffusionImageVariationPipeline", **upscalers.IMAGE_READER),
    ),
    "PaintByExamplePipeline": Entry(
        build=_sd(
            "PaintByExamplePipeline",
            unet=lambda _: _wide(9),
            image_encoder=lambda _: upscalers.example_encoder(),
            **{"feature_extractor": lambda _: parts.clip_images()},
        ),
        call={"example_image": photograph, "negative_prompt": LEFT_OUT},
    ),
    "StableDiffusionLDM3DPipeline": Entry(
        build=_sd(
            "StableDiffusionLDM3DPipeline",
            image_encoder=None,
            feature_extractor=lambda _: parts.clip_images(),
            vae=lambda _: parts.tiny_autoencoder(in_channels=6, out_channels=6),
        ),
        call={"output_type": "np"},  # its own way to a depth picture asks Pillow for a mode that it no longer has
        kind="map",
    ),
    "StableDiffusionPanoramaPipeline": Entry(build=_sd("StableDiffusionPanoramaPipeline", image_encoder=None)),
    "StableDiffusionSAGPipeline": Entry(
        build=_sd("StableDiffusionSAGPipeline", image_encoder=None), call={"sag_scale": 0.0}
    ),
    "StableDiffusionGLIGENPipeline": Entry(
        build=_sd("StableDiffusionGLIGENPipeline", unet=lambda _: parts.unet(attention_type="gated")),
        call={"gligen_phrases": ["a circle"], "gligen_boxes": [[0.1, 0.1, 0.6, 0.6]]},
    ),
    "StableDiffusionAdapterPipeline": Entry(
        build=_sd(
            "StableDiffusionAdapterPipeline",
            adapter=lambda _: _adapter("full_adapter"),
            unet=lambda _: parts.unet(**_ATTENDING_FIRST),
        )
    ),
    "StableDiffusionUpscalePipeline": Entry(build=upscalers.upscaler, call={"image": lambda: photograph(16)}),
    "StableDiffusionLatentUpscalePipeline": Entry(build=upscalers.latent_upscaler),
    "StableDiffusionDiffEditPipeline": Entry(
        build=_sd("StableDiffusionDiffEditPipeline", inverse_scheduler=upscalers.inverse),
        call={
            "image_latents": upscalers.latents,
            "mask_image": upscalers.binary_mask,
            "inpaint_strength": 1.0,
        },
    ),
    "LatentConsistencyModelImg2ImgPipeline": Entry(
        build=derived("LatentConsistencyModelImg2ImgPipeline", unets.latent_consistency, **_UNSAFE),
        scales=(),
        no_guidance="distilled",
    ),
    "StableDiffusionXLImg2ImgPipeline": Entry(build=_xl("StableDiffusionXLImg2ImgPipeline")),
    "StableDiffusionXLInpaintPipeline": Entry(build=_xl("StableDiffusionXLInpaintPipeline")),
    "StableDiffusionXLControlNetPipeline": Entry(
        build=_xl("StableDiffusionXLControlNetPipeline", controlnet=control_net)
    ),
    "StableDiffusionXLControlNetImg2ImgPipeline": Entry(
        build=_xl("StableDiffusionXLControlNetImg2ImgPipeline", controlnet=control_net)
    ),
    "StableDiffusionXLControlNetInpaintPipeline": Entry(
        build=_xl("StableDiffusionXLControlNetInpaintPipeline", controlnet=control_net)
    ),
    "StableDiffusionXLControlNetUnionPipeline": Entry(
        build=_xl("StableDiffusionXLControlNetUnionPipeline", controlnet=_union), call={"control_mode": 0}
    ),
    "StableDiffusionXLPAGPipeline": Entry(build=_xl("StableDiffusionXLPAGPipeline", **_PAG), scales=_PAG_SCALES),
    "StableDiffusionXLPAGImg2ImgPipeline": Entry(
        build=_xl("StableDiffusionXLPAGImg2ImgPipeline", **_PAG), scales=_PAG_SCALES
    ),
    "StableDiffusionXLPAGInpaintPipeline": Entry(
        build=_xl("StableDiffusionXLPAGInpaintPipeline", **_PAG), scales=_PAG_SCALES
    ),
    "StableDiffusionXLInstructPix2PixPipeline": Entry(
        build=_xl("StableDiffusionXLInstructPix2PixPipeline", unet=lambda _: _wide(8, **_XL_UNET)),
        scales=_PIX_SCALES,
        call=_PIX,
    ),
    "StableDiffusionPipeline (IP-Adapter)": Entry(
        build=adapters.with_ip_adapter(_sd("StableDiffusionPipeline", **upscalers.IMAGE_READER)),
        call={"ip_adapter_image": photograph},
    ),
    "StableDiffusionXLPipeline (IP-Adapter)": Entry(
        build=adapters.with_ip_adapter(_xl("StableDiffusionXLPipeline", **upscalers.IMAGE_READER)),
        call={"ip_adapter_image": photograph},
    ),
    "StableDiffusionXLControlNetUnionImg2ImgPipeline": Entry(
        build=_xl("StableDiffusionXLControlNetUnionImg2ImgPipeline", controlnet=_union), call=_SINGLE_CONTROL
    ),
    "StableDiffusionXLControlNetUnionInpaintPipeline": Entry(
        build=_xl("StableDiffusionXLControlNetUnionInpaintPipeline", controlnet=_union), call=_SINGLE_CONTROL
    ),
    "StableDiffusionXLControlNetPAGPipeline": Entry(
        build=_xl("StableDiffusionXLControlNetPAGPipeline", controlnet=control_net, **_PAG), scales=_PAG_SCALES
    ),
    "StableDiffusionXLControlNetPAGImg2ImgPipeline": Entry(
        build=_xl("StableDiffusionXLControlNetPAGImg2ImgPipeline", controlnet=control_net, **_PAG),
        scales=_PAG_SCALES,
    ),
    "StableDiffusionControlNetPAGInpaintPipeline": Entry(
        build=_sd("StableDiffusionControlNetPAGInpaintPipeline", controlnet=_stirred_control_net, **_PAG),
        scales=_PAG_SCALES,
    ),
    "StableDiffusionXLAdapterPipeline": Entry(
        build=_xl(
            "StableDiffusionXLAdapterPipeline",
            adapter=lambda _: _adapter("full_adapter"),
            unet=lambda _: parts.unet(**_XL_UNET, **_ATTENDING_FIRST),
        )
    ),
    "SemanticStableDiffusionPipeline": Entry(build=_sd("SemanticStableDiffusionPipeline")),
    "StableDiffusionPipelineSafe": Entry(build=_sd("StableDiffusionPipelineSafe")),
    "StableDiffusionModelEditingPipeline": Entry(build=_sd("StableDiffusionModelEditingPipeline", with_augs=[])),
    "StableDiffusionAttendAndExcitePipeline": Entry(
        build=_sd("StableDiffusionAttendAndExcitePipeline"),
        call={"token_indices": [2], "attn_res": (4, 4), "max_iter_to_alter": 1},
    ),
    "StableDiffusionInpaintPipelineLegacy": Entry(build=_sd("StableDiffusionInpaintPipelineLegacy")),
    "CycleDiffusionPipeline": Entry(
        build=_sd("CycleDiffusionPipeline", scheduler=upscalers.invertible),
        call={"source_prompt": "a green cross", "strength": 0.8, "num_inference_steps": 4},
    ),
    "AltDiffusionPipeline": Entry(build=_sd("AltDiffusionPipeline")),
    "AltDiffusionImg2ImgPipeline": Entry(build=_sd("AltDiffusionImg2ImgPipeline")),
    "TextToVideoZeroPipeline": Entry(build=_sd("TextToVideoZeroPipeline", image_encoder=None), call=_FROM_ZERO),
    "TextToVideoZeroSDXLPipeline": Entry(build=_xl("TextToVideoZeroSDXLPipeline"), call=_FROM_ZERO),
    "StableUnCLIPPipeline": Entry(
        build=lambda: upscalers.stable_unclip("StableUnCLIPPipeline"), scales=_PRIOR_SCALES, call=_PRIOR
    ),
    "StableUnCLIPImg2ImgPipeline": Entry(build=lambda: upscalers.stable_unclip("StableUnCLIPImg2ImgPipeline")),
    "KolorsImg2ImgPipeline": Entry(
        build=derived("diffusers.pipelines.kolors.pipeline_kolors_img2img:KolorsImg2ImgPipeline", unets.kolors)
    ),
    "KolorsPAGPipeline": Entry(
        build=derived("diffusers.pipelines.pag.pipeline_pag_kolors:KolorsPAGPipeline", unets.kolors, **_PAG),
        scales=_PAG_SCALES,
    ),
    "AmusedImg2ImgPipeline": Entry(build=derived("AmusedImg2ImgPipeline", unets.amused)),
    "AmusedInpaintPipeline": Entry(build=derived("AmusedInpaintPipeline", unets.amused)),
    "IFImg2ImgPipeline": Entry(build=derived("IFImg2ImgPipeline", unets.deepfloyd, watermarker=None, **_UNSAFE)),
    "IFInpaintingPipeline": Entry(
        build=derived("IFInpaintingPipeline", unets.deepfloyd, watermarker=None, **_UNSAFE)
    ),
    "IFSuperResolutionPipeline": Entry(build=upscalers.deepfloyd_upscaler),
    "IFImg2ImgSuperResolutionPipeline": Entry(
        build=derived("IFImg2ImgSuperResolutionPipeline", upscalers.deepfloyd_upscaler),
        call={"original_image": photograph},
    ),
    "IFInpaintingSuperResolutionPipeline": Entry(
        build=derived("IFInpaintingSuperResolutionPipeline", upscalers.deepfloyd_upscaler),
        call={"original_image": photograph},
    ),
    "Kandinsky3Img2ImgPipeline": Entry(build=derived("Kandinsky3Img2ImgPipeline", unets.kandinsky_3)),
    "KandinskyV22Pipeline": Entry(build=upscalers.kandinsky_22_decoder, call=upscalers.EMBEDDED),
    "KandinskyV22Img2ImgPipeline": Entry(
        build=derived("KandinskyV22Img2ImgPipeline", upscalers.kandinsky_22_decoder), call=upscalers.EMBEDDED
    ),
    "KandinskyV22InpaintPipeline": Entry(
        build=derived("KandinskyV22InpaintPipeline", lambda: upscalers.kandinsky_22_decoder(9)),
        call=upscalers.EMBEDDED,
    ),
    "KandinskyV22PriorEmb2EmbPipeline": Entry(
        build=derived("KandinskyV22PriorEmb2EmbPipeline", unets.kandinsky_prior), kind="embeddings"
    ),
    "KandinskyV22ControlnetPipeline": Entry(
        build=derived("KandinskyV22ControlnetPipeline", upscalers.kandinsky_22_decoder),
        call=upscalers.EMBEDDED | {"hint": upscalers.hint},
    ),
    "KandinskyV22Img2ImgCombinedPipeline": Entry(
        build=derived("KandinskyV22Img2ImgCombinedPipeline", unets.kandinsky_22), scales=_PRIOR_SCALES, call=_PRIOR
    ),
    "KandinskyV22InpaintCombinedPipeline": Entry(
        build=derived(
            "KandinskyV22InpaintCombinedPipeline",
            unets.kandinsky_22,
            unet=lambda _: upscalers.kandinsky_22_decoder(9).unet,
        ),
        scales=_PRIOR_SCALES,
        call=_PRIOR,
    ),
    "KandinskyPriorPipeline": Entry(
        build=derived("KandinskyPriorPipeline", unets.kandinsky_prior), kind="embeddings"
    ),
    "WuerstchenDecoderPipeline": Entry(
        build=upscalers.decoder("WuerstchenDecoderPipeline", unets.wuerstchen),
        call={"image_embeddings": upscalers.from_prior(6)},
    ),
    "StableCascadeDecoderPipeline": Entry(
        build=upscalers.decoder("StableCascadeDecoderPipeline", unets.stable_cascade),
        call={"image_embeddings": upscalers.from_prior(4)},
    ),
    "WuerstchenPriorPipeline": Entry(
        build=upscalers.wuerstchen_prior, kind="embeddings", call={"height": 128, "width": 128}
    ),
    "StableCascadePriorPipeline": Entry(
        build=upscalers.cascade_prior, kind="embeddings", call={"height": 128, "width": 128}
    ),
    "UnCLIPImageVariationPipeline": Entry(
        build=upscalers.unclip_variation,
        scales=("decoder_guidance_scale",),
        call={"decoder_num_inference_steps": 2, "super_res_num_inference_steps": 2},
    ),
    "DiTPipeline": Entry(build=upscalers.class_to_image, call={"class_labels": [3]}),
    "DDPMPipeline": _unconditional("DDPMPipeline"),
    "DDIMPipeline": _unconditional("DDIMPipeline"),
    "ConsistencyModelPipeline": _unconditional("ConsistencyModelPipeline"),
    "PNDMPipeline": _unconditional("PNDMPipeline", call={"num_inference_steps": 8}),  # its first four are set apart
    "ScoreSdeVePipeline": _unconditional("ScoreSdeVePipeline", no_steps=True),
    "KarrasVePipeline": _unconditional("KarrasVePipeline"),
    "RePaintPipeline": _unconditional(
        "RePaintPipeline",
        call={
            "image": lambda: photograph(32),
            "mask_image": lambda: mask(32),
            "jump_length": 1,
            "jump_n_sample": 1,
        },
    ),
    "LDMPipeline": Entry(build=upscalers.latent_unconditional, scales=(), no_guidance=_NEVER_GUIDED),
    "LDMSuperResolutionPipeline": Entry(
        build=upscalers.latent_super_resolution,
        scales=(),
        no_guidance="one branch",
        call={"image": lambda: photograph(32)},
    ),
    "DanceDiffusionPipeline": Entry(
        build=upscalers.sound,
        scales=(),
        no_guidance=_NEVER_GUIDED,
        kind="audio",
        call={"audio_length_in_s": 512 / 16000},
    ),
    "MarigoldDepthPipeline": Entry(
        build=lambda: upscalers.marigold("Depth"), scales=(), no_guidance="one branch", kind="map"
    ),
    "MarigoldNormalsPipeline": Entry(
        build=lambda: upscalers.marigold("Normals"), scales=(), no_guidance="one branch", kind="map"
    ),
    "MarigoldIntrinsicsPipeline": Entry(
        build=lambda: upscalers.marigold("Intrinsics"), scales=(), no_guidance="one branch", kind="map"
    ),
}
