"""The models known by name: their pipeline class, where their weights are, and how they are meant to be called.

Importing this module imports neither torch nor diffusers.
"""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_diffbench.errors import PipelineError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

MINI_SIDE_PX, MINI_VIDEO_SIDE_PX, MINI_VIDEO_FRAMES = 128, 64, 17
"""Height and width that the minis of images are called with, and those of videos with their frames."""


@dataclasses.dataclass(frozen=True, slots=True)
class Model:
    """A model that tests can ask for by name.

    Attributes:
        name: what a marker's `model=` says.
        pipeline_class: name of the class in `diffusers`; pretrained weights must declare the same one.
        hub_id: where the pretrained weights are published, `owner/name`.
        recommended: call arguments that the model's authors recommend, sides in pixels.
        mini_recommended: the same for the mini.
        mini: file of the package's weights for each component of the mini that has any; empty where there is no mini.
        licence: of the weights.
        gated: the licence must be accepted on the hub, with a login, before they can be downloaded.
    """

    name: str
    pipeline_class: str
    hub_id: str
    recommended: Mapping[str, object]
    mini_recommended: Mapping[str, object]
    licence: str
    gated: bool = False
    mini: Mapping[str, str] = dataclasses.field(default_factory=dict)


MODELS: dict[str, Model] = {}
"""Every registered model by its name."""


def register(model: Model) -> None:
    """Make a model known by its name.

    Raises:
        PipelineError: the name is taken by a different model.
    """
    if MODELS.get(model.name, model) != model:
        raise PipelineError(
            f"model {model.name!r} is already registered, for {MODELS[model.name].hub_id}. "
            "Register it under another name."
        )
    MODELS[model.name] = model


def model_named(name: str) -> Model:
    """Look a model up.

    Raises:
        PipelineError: no such model; the message names all the models there are, and the nearest name.
    """
    try:
        return MODELS[name]
    except KeyError:
        hint = did_you_mean(name, MODELS)
        raise PipelineError(
            f"model={name!r} isn't registered{hint}. The models are: {', '.join(sorted(MODELS))}."
        ) from None


def _recommend(
    *,
    steps: int,
    guidance_scale: float,
    max_sequence_length: int,
    side_px: int = 1024,
    **more: int,
) -> Mapping[str, object]:
    arguments = {
        "num_inference_steps": steps,
        "guidance_scale": guidance_scale,
        "max_sequence_length": max_sequence_length,
        "height": side_px,
        "width": side_px,
    }
    return MappingProxyType(arguments | more)


register(
    Model(
        name="lumina2",
        pipeline_class="Lumina2Pipeline",
        hub_id="Alpha-VLLM/Lumina-Image-2.0",
        recommended=_recommend(steps=30, guidance_scale=4.0, max_sequence_length=256),
        mini_recommended=_recommend(steps=30, guidance_scale=4.0, max_sequence_length=256, side_px=MINI_SIDE_PX),
        mini=MappingProxyType(
            {
                "text_encoder": "lumina2-text_encoder.safetensors",
                "transformer": "lumina2-transformer.safetensors",
                "vae": "vae.safetensors",
            }
        ),
        licence="Apache-2.0",
    )
)
register(
    Model(
        name="neta-lumina",
        pipeline_class="Lumina2Pipeline",
        hub_id="neta-art/Neta-Lumina-diffusers",
        recommended=_recommend(steps=20, guidance_scale=4.5, max_sequence_length=256),
        mini_recommended=_recommend(steps=20, guidance_scale=4.5, max_sequence_length=256, side_px=MINI_SIDE_PX),
        mini=MappingProxyType(
            {
                "text_encoder": "lumina2-text_encoder.safetensors",
                "transformer": "neta-lumina-transformer.safetensors",
                "vae": "vae.safetensors",
            }
        ),
        licence="as stated on its model card",
    )
)
register(
    Model(
        name="flux",
        pipeline_class="FluxPipeline",
        hub_id="black-forest-labs/FLUX.1-dev",
        recommended=_recommend(steps=50, guidance_scale=3.5, max_sequence_length=512),
        mini_recommended=_recommend(steps=50, guidance_scale=3.5, max_sequence_length=128, side_px=MINI_SIDE_PX),
        mini=MappingProxyType(
            {
                "text_encoder": "flux-text_encoder.safetensors",
                "text_encoder_2": "flux-text_encoder_2.safetensors",
                "transformer": "flux-transformer.safetensors",
                "vae": "vae.safetensors",
            }
        ),
        licence="FLUX.1 [dev] Non-Commercial License",
        gated=True,
    )
)
register(
    Model(
        name="wan",
        pipeline_class="WanPipeline",
        hub_id="Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        # the defaults of `WanPipeline.__call__`
        recommended=_recommend(
            steps=50, guidance_scale=5.0, max_sequence_length=512, height=480, width=832, num_frames=81
        ),
        mini_recommended=_recommend(
            steps=20,
            guidance_scale=3.0,  # at 5 its colours are too strong
            max_sequence_length=32,
            side_px=MINI_VIDEO_SIDE_PX,
            num_frames=MINI_VIDEO_FRAMES,
        ),
        mini=MappingProxyType(
            {
                "text_encoder": "wan-text_encoder.safetensors",
                "transformer": "wan-transformer.safetensors",
                "vae": "wan-vae.safetensors",
            }
        ),
        licence="Apache-2.0",
    )
)
