"""Lines of the zoo's table: videos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zoo_hunyuan as hunyuan
import zoo_ltx2 as ltx2
import zoo_parts as parts
import zoo_qwen as qwen
import zoo_table_unets
import zoo_video as video
import zoo_video_unets as unets
import zoo_wan as wan
from zoo_entry import LEFT_OUT, Entry, derived, film, multiply_attribute_of_guider

if TYPE_CHECKING:
    from collections.abc import Callable

_SMALL: dict[str, Any] = {"height": 32, "width": 32, "num_frames": 5}
_WAN_22 = ("guidance_scale", "guidance_scale_2")


def _video(build: Callable[[], Any], **rest: Any) -> Entry:
    """A class that makes a small video."""
    return Entry(build=build, **{"kind": "video", "call": _SMALL} | rest)


def _from_film(build: Callable[[], Any], argument: str = "video", **rest: Any) -> Entry:
    call = {"height": 32, "width": 32, argument: film} | rest.pop("call", {})
    return _video(build, call=call, **rest)


def _ltx_2(name: str, **rest: Any) -> Entry:
    """A class of LTX-2: four predictions of a step, mixed by three scales. The sound has scales of its own."""
    own = {"frame_rate": 25.0, **ltx2.BLOCKS}
    return _video(
        lambda: ltx2.ltx_2(name),
        scales=("guidance_scale", "stg_scale", "modality_scale"),
        **rest | {"call": _SMALL | own | rest.get("call", {})},
    )


def _hunyuan_15(kind: str, **rest: Any) -> Entry:
    """A class of HunyuanVideo 1.5, whose scale is a guider's."""
    further = {"image_encoder": parts.siglip, "feature_extractor": parts.siglip_images} if "Image" in kind else {}
    return _video(
        lambda: hunyuan.hunyuan_15(kind, **{name: make() for name, make in further.items()}),
        break_scale=multiply_attribute_of_guider,
        **rest,
    )


_LONGER = _SMALL | {"num_frames": 9}
_FORCING = _LONGER | {"ar_step": 0, "base_num_frames": 9, "overlap_history": LEFT_OUT}

ENTRIES: dict[str, Entry] = {
    "WanPipeline": _video(wan.wan),
    "WanPipeline (2.2)": _video(
        wan.wan_22, scales=_WAN_22, call=_SMALL | {"num_inference_steps": 6, "guidance_scale_2": 3.0}
    ),
    "WanImageToVideoPipeline": _video(wan.wan_image),
    "WanImageToVideoPipeline (2.2)": _video(
        wan.wan_22_image, scales=_WAN_22, call=_SMALL | {"num_inference_steps": 6, "guidance_scale_2": 3.0}
    ),
    "WanVideoToVideoPipeline": _from_film(lambda: wan.wan("WanVideoToVideoPipeline")),
    "WanVACEPipeline": _video(wan.wan_vace),
    "SkyReelsV2Pipeline": _video(lambda: wan.skyreels("SkyReelsV2Pipeline"), call=_LONGER),
    "SkyReelsV2ImageToVideoPipeline": _video(lambda: wan.skyreels("SkyReelsV2ImageToVideoPipeline"), call=_LONGER),
    "SkyReelsV2DiffusionForcingPipeline": _video(
        lambda: wan.skyreels("SkyReelsV2DiffusionForcingPipeline"), call=_FORCING
    ),
    "LTXPipeline": _video(video.ltx, call=_SMALL | {"num_frames": 9}),
    "LTXImageToVideoPipeline": _video(lambda: video.ltx("LTXImageToVideoPipeline"), call=_SMALL | {"num_frames": 9}),
    "LTXConditionPipeline": _video(
        lambda: video.ltx("LTXConditionPipeline"), call=_SMALL | {"num_frames": 9, "image": LEFT_OUT}
    ),
    "LTXLatentUpsamplePipeline": _video(
        video.ltx_upsampler,
        scales=(),
        no_guidance="no denoiser",
        no_steps=True,
        call=_SMALL | {"num_frames": LEFT_OUT, "latents": lambda: video.latents(1, 8, 2, 8, 8)},
    ),
    "HunyuanVideoPipeline": _video(video.hunyuan, scales=("true_cfg_scale",)),
    "CogVideoXPipeline": _video(video.cogvideo, call=_LONGER),
    "CogVideoXImageToVideoPipeline": _video(lambda: video.cogvideo("CogVideoXImageToVideoPipeline", 8), call=_LONGER),
    "CogVideoXVideoToVideoPipeline": _from_film(
        lambda: video.cogvideo("CogVideoXVideoToVideoPipeline"), call={"video": lambda: film(9)}
    ),
    "CogVideoXFunControlPipeline": _from_film(
        lambda: video.cogvideo("CogVideoXFunControlPipeline", 8),
        "control_video",
        call={"control_video": lambda: film(9)},
    ),
    "MochiPipeline": _video(video.mochi, call=_SMALL | {"num_frames": 7}),
    "AllegroPipeline": _video(video.allegro, call={"height": 64, "width": 64, "num_frames": 24}),  # a tile
    "LattePipeline": _video(video.latte, call={"height": 32, "width": 32, "video_length": 2}),
    "EasyAnimatePipeline": _video(video.easyanimate),
    "CosmosTextToWorldPipeline": _video(
        lambda: video.cosmos("CosmosTextToWorldPipeline"), call=_SMALL | {"num_frames": 9}
    ),
    "CosmosVideoToWorldPipeline": _video(
        lambda: video.cosmos("CosmosVideoToWorldPipeline", channels=5), call=_SMALL | {"num_frames": 9}
    ),
    "Cosmos2TextToImagePipeline": Entry(build=lambda: video.cosmos("Cosmos2TextToImagePipeline", second=True)),
    "Cosmos2VideoToWorldPipeline": _video(
        lambda: video.cosmos("Cosmos2VideoToWorldPipeline", second=True, channels=5)
    ),
    "AnimateDiffPipeline": _video(unets.animatediff, call=_SMALL | {"num_frames": 2}),
    "AnimateDiffVideoToVideoPipeline": _from_film(lambda: unets.animatediff("AnimateDiffVideoToVideoPipeline")),
    "AnimateDiffSDXLPipeline": _video(
        lambda: unets.animatediff("AnimateDiffSDXLPipeline"), call=_SMALL | {"num_frames": 2}
    ),
    "AnimateDiffPAGPipeline": _video(
        lambda: unets.animatediff("AnimateDiffPAGPipeline", pag_applied_layers="mid"),
        call=_SMALL | {"num_frames": 2},
        scales=("guidance_scale", "pag_scale"),
    ),
    "PIAPipeline": _video(lambda: unets.animatediff("PIAPipeline"), call=_SMALL | {"num_frames": 2}),
    "TextToVideoSDPipeline": _video(unets.text_to_video, call=_SMALL | {"num_frames": 2}),
    "VideoToVideoSDPipeline": _from_film(
        lambda: unets.text_to_video("VideoToVideoSDPipeline"), call={"height": LEFT_OUT, "width": LEFT_OUT}
    ),
    "StableVideoDiffusionPipeline": _video(
        unets.stable_video, scales=("max_guidance_scale",), call=_SMALL | {"num_frames": 4, "decode_chunk_size": 2}
    ),
    "SanaVideoPipeline": _video(video.sana_video, call={"height": 32, "width": 32, "frames": 5}),
    "SanaImageToVideoPipeline": _video(
        derived("SanaImageToVideoPipeline", video.sana_video), call={"height": 32, "width": 32, "frames": 5}
    ),
    "LTXI2VLongMultiPromptPipeline": _video(
        lambda: video.ltx("LTXI2VLongMultiPromptPipeline"),
        call=_SMALL
        | {"num_frames": 9, "num_inference_steps": 4, "output_type": "pil"}
        | {"decode_horizontal_tiles": 1, "decode_vertical_tiles": 1},
    ),
    "LTX2Pipeline": _ltx_2("LTX2Pipeline"),
    "LTX2ImageToVideoPipeline": _ltx_2("LTX2ImageToVideoPipeline", call={"image_crf": 0}),  # else it needs PyAV
    "LTX2ConditionPipeline": _ltx_2("LTX2ConditionPipeline"),
    "LTX2InContextPipeline": _ltx_2("LTX2InContextPipeline"),
    "LTX2HDRPipeline": _ltx_2("LTX2HDRPipeline", kind="tensor"),
    "LTX2DFRPipeline": _video(
        lambda: ltx2.ltx_2("LTX2DFRPipeline", use_keyframes_abs_pos_embedding=True),
        scales=(),
        no_guidance="distilled into the model",
        call=_SMALL | {"sigmas": [1.0, 0.5]},
    ),
    "LTX2LatentUpsamplePipeline": _video(
        ltx2.upsampler,
        scales=(),
        no_guidance="no denoiser",
        no_steps=True,
        call=_SMALL | {"num_frames": LEFT_OUT, "video": film},
    ),
    "HunyuanVideo15Pipeline": _hunyuan_15("HunyuanVideo15Pipeline"),
    "HunyuanVideo15ImageToVideoPipeline": _hunyuan_15("HunyuanVideo15ImageToVideoPipeline", call={"num_frames": 5}),
    "HunyuanSkyreelsImageToVideoPipeline": _video(
        lambda: video.hunyuan("HunyuanSkyreelsImageToVideoPipeline", in_channels=8), scales=("true_cfg_scale",)
    ),
    "HunyuanVideoFramepackPipeline": _video(
        hunyuan.framepack, scales=("true_cfg_scale",), call=_SMALL | {"latent_window_size": 2}
    ),
    "SkyReelsV2DiffusionForcingImageToVideoPipeline": _video(
        lambda: wan.skyreels("SkyReelsV2DiffusionForcingImageToVideoPipeline"), call=_FORCING
    ),
    "SkyReelsV2DiffusionForcingVideoToVideoPipeline": _video(
        lambda: wan.skyreels("SkyReelsV2DiffusionForcingVideoToVideoPipeline"),
        call=_FORCING | {"video": lambda: film(9), "num_frames": 17, "base_num_frames": 17, "overlap_history": 5},
    ),
    "LucyEditPipeline": _from_film(lambda: wan.wan("LucyEditPipeline", in_channels=8), call=_SMALL),
    "WanAnimatePipeline": _from_film(
        wan.wan_animate, "pose_video", call={"face_video": film, "segment_frame_length": 5, "mask_video": LEFT_OUT}
    ),
    "ChronoEditPipeline": _video(wan.chrono_edit),
    "AnyFlowPipeline": _video(wan.any_flow),
    "HeliosPipeline": _video(
        wan.helios, call=_LONGER | {"history_sizes": [4, 2, 1], "num_latent_frames_per_chunk": 3}
    ),
    "Cosmos2_5_PredictBasePipeline": _video(video.cosmos_2_5, call=_SMALL | {"image": LEFT_OUT}),
    "Kandinsky5T2VPipeline": _video(
        lambda: qwen.kandinsky_5_further("Kandinsky5T2VPipeline", picture=False, autoencoder=video.hunyuan().vae)
    ),
    "Kandinsky5I2VPipeline": _video(
        lambda: qwen.kandinsky_5_further("Kandinsky5I2VPipeline", picture=True, autoencoder=video.hunyuan().vae),
        call=_SMALL | {"num_frames": 17},  # of four latent frames or fewer it makes NaN
    ),
    "AnimateDiffControlNetPipeline": _video(
        lambda: unets.animatediff("AnimateDiffControlNetPipeline", controlnet=zoo_table_unets.control_net),
        call=_SMALL | {"num_frames": 2, "conditioning_frames": lambda: film(2)},
    ),
    "AnimateDiffVideoToVideoControlNetPipeline": _from_film(
        lambda: unets.animatediff(
            "AnimateDiffVideoToVideoControlNetPipeline", controlnet=zoo_table_unets.control_net
        ),
        call={"conditioning_frames": film},
    ),
}
