"""Lines of the zoo's table: modular pipelines, which have the way they mix predictions from a guider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zoo_qwen as qwen
import zoo_transformers as transformers
import zoo_unets as unets
from zoo_entry import STEPS, Entry, multiply_attribute_of_guider

if TYPE_CHECKING:
    from collections.abc import Callable

_CALL: dict[str, Any] = {
    "prompt": "a red circle",
    "negative_prompt": "a green cross",
    "num_inference_steps": STEPS,
    "height": 64,
    "width": 64,
    "output": "images",
}


def _modular(kind: str, base: Callable[[], Any], guider: str = "", **options: Any) -> Callable[[], Any]:
    """A builder of a modular pipeline of another's parts, with the guider of that name or its own."""

    def make() -> Any:
        import diffusers

        pipeline: Any = getattr(diffusers, kind)()
        taken = {name: part for name, part in base().components.items() if name in pipeline.components}
        if guider:
            taken["guider"] = getattr(diffusers, guider)(**options)
        pipeline.update_components(**taken)
        return pipeline

    return make


def _guided(build: Callable[[], Any], *scales: str) -> Entry:
    return Entry(
        build=build, call=_CALL, scales=scales or ("guidance_scale",), break_scale=multiply_attribute_of_guider
    )


def _xl(guider: str, **options: Any) -> Callable[[], Any]:
    return _modular("StableDiffusionXLModularPipeline", unets.stable_diffusion_xl, guider, **options)


ENTRIES: dict[str, Entry] = {
    "ZImageModularPipeline": _guided(
        _modular("ZImageModularPipeline", qwen.z_image, "ClassifierFreeGuidance", guidance_scale=4.0)
    ),
    "QwenImageModularPipeline": _guided(_modular("QwenImageModularPipeline", qwen.qwen_image)),
    "StableDiffusionXLModularPipeline": _guided(_xl("")),
    "StableDiffusionXLModularPipeline (CFG-Zero*)": _guided(_xl("ClassifierFreeZeroStarGuidance", zero_init_steps=0)),
    "StableDiffusionXLModularPipeline (APG)": _guided(_xl("AdaptiveProjectedGuidance")),
    "StableDiffusionXLModularPipeline (TCFG)": _guided(_xl("TangentialClassifierFreeGuidance")),
    "FluxModularPipeline": Entry(
        build=_modular("FluxModularPipeline", transformers.flux),
        call={name: value for name, value in _CALL.items() if name != "negative_prompt"},
        scales=(),
        no_guidance="distilled into the model",
    ),
}
