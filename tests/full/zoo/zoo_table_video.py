"""Lines of the zoo's table: videos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zoo_video as video
import zoo_video_unets as unets
import zoo_wan as wan
from zoo_entry import LEFT_OUT, Entry, film

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
}
