"""The zoo: text-to-image pipelines of diffusers, tiny, and what is known of a call of each before it is measured."""

from __future__ import annotations

import dataclasses
import inspect
from typing import TYPE_CHECKING, Any

import torch
import zoo_gemma as gemma
import zoo_language as language
import zoo_qwen as qwen
import zoo_transformers as transformers
import zoo_unets as unets
from tiny_parts import quiet

from pytest_diffbench.measure import definition
from pytest_diffbench.measure.argument_values import describe
from pytest_diffbench.measure.rounds import drive_plainly
from pytest_diffbench.measure.runner import Measurement, Plan
from pytest_diffbench.records import Definition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_diffbench.records import Observation

STEPS = 3
CALL: dict[str, Any] = {"prompt": "a red circle", "num_inference_steps": STEPS, "height": 64, "width": 64}
OTHER_PROMPT = "a blue square"
"""As many tokens as the prompt of `CALL`, so that a call with it differs in values alone."""

NEGATIVE: dict[str, Any] = {"negative_prompt": "a green cross"}

Calls = dict[str, dict[str, int]]
"""Calls by component and branch."""


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """A pipeline class.

    Attributes:
        build: makes one with random weights.
        guided: arguments of a call with guidance; None where the class has none.
        calls: denoiser calls of the guided call, by component and branch.
        plain: arguments of a call without guidance; None where the class can't be called without.
        plain_calls: denoiser calls of the plain call.
        call: arguments of both.
        steps: scheduler steps of either call.
        guided_steps: of the guided call.
        decodes: whether there is an autoencoder.
        encodes: whether there is a text encoder.
    """

    build: Callable[[], Any]
    guided: Mapping[str, Any] | None
    calls: Calls
    plain: Mapping[str, Any] | None
    plain_calls: Calls
    call: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    steps: int = STEPS
    guided_steps: int = STEPS
    decodes: bool = True


def joint(build: Callable[[], Any], component: str = "transformer", off: float = 1.0, **rest: Any) -> Kind:
    """A class that predicts both branches in one batch, without guidance where the scale is `off`."""
    scale = "guidance_scale"
    return Kind(
        build,
        guided=NEGATIVE | {scale: 4.0},
        calls={component: {"joint": STEPS}},
        plain={scale: off},
        plain_calls={component: {"cond": STEPS}},
        **rest,
    )


def twice(
    build: Callable[[], Any],
    scale: str = "guidance_scale",
    off: float = 1.0,
    negative: Mapping[str, Any] = NEGATIVE,
    **rest: Any,
) -> Kind:
    """A class that calls its transformer once for each branch."""
    return Kind(
        build,
        guided={**negative, scale: 4.0},
        calls={"transformer": {"cond": STEPS, "uncond": STEPS}},
        plain={scale: off},
        plain_calls={"transformer": {"cond": STEPS}},
        **rest,
    )


def once(build: Callable[[], Any], component: str = "transformer", **rest: Any) -> Kind:
    """A class without guidance, or with one that was distilled into its weights."""
    return Kind(build, guided=None, calls={}, plain={}, plain_calls={component: {"cond": STEPS}}, **rest)


_UNBINNED = {"use_resolution_binning": False}
_TWO_STAGES = {"prior_num_inference_steps": STEPS}
_THREE_LAYERS = {"text_encoder_out_layers": (1, 2, 3)}

ZOO: dict[str, Kind] = {
    "StableDiffusionPipeline": joint(unets.stable_diffusion, "unet"),
    "StableDiffusionXLPipeline": joint(unets.stable_diffusion_xl, "unet"),
    "LatentConsistencyModelPipeline": once(unets.latent_consistency, "unet"),
    "LDMTextToImagePipeline": Kind(
        unets.latent_diffusion,
        guided={"guidance_scale": 4.0},
        calls={"unet": {"joint": STEPS}},
        plain={"guidance_scale": 1.0},
        plain_calls={"unet": {"cond": STEPS}},
    ),
    "KolorsPipeline": joint(unets.kolors, "unet"),
    "IFPipeline": joint(unets.deepfloyd, "unet", decodes=False),
    "KandinskyV22PriorPipeline": Kind(
        unets.kandinsky_prior,
        guided={"guidance_scale": 4.0},
        calls={"prior": {"joint": STEPS}},
        plain={"guidance_scale": 1.0},
        plain_calls={"prior": {"cond": STEPS}},
        decodes=False,
    ),
    "KandinskyCombinedPipeline": Kind(
        unets.kandinsky,
        guided={"guidance_scale": 4.0, "prior_guidance_scale": 4.0},
        calls={"prior_prior": {"joint": STEPS}, "unet": {"joint": STEPS}},
        plain={"guidance_scale": 1.0, "prior_guidance_scale": 1.0},
        plain_calls={"prior_prior": {"cond": STEPS}, "unet": {"cond": STEPS}},
        call=_TWO_STAGES,
        steps=2 * STEPS,
        guided_steps=2 * STEPS,
    ),
    "KandinskyV22CombinedPipeline": Kind(
        unets.kandinsky_22,
        guided={"guidance_scale": 4.0, "prior_guidance_scale": 4.0},
        calls={"prior_prior": {"joint": STEPS}, "unet": {"joint": STEPS}},
        plain={"guidance_scale": 1.0, "prior_guidance_scale": 1.0},
        plain_calls={"prior_prior": {"cond": STEPS}, "unet": {"cond": STEPS}},
        call=_TWO_STAGES,
        steps=2 * STEPS,
        guided_steps=2 * STEPS,
    ),
    "Kandinsky3Pipeline": joint(unets.kandinsky_3, "unet"),
    "UnCLIPPipeline": Kind(
        unets.unclip,
        guided={"prior_guidance_scale": 4.0, "decoder_guidance_scale": 4.0},
        calls={
            "prior": {"joint": STEPS},
            "decoder": {"joint": STEPS},
            "super_res_first": {"cond": STEPS - 1},
            "super_res_last": {"cond": 1},
        },
        plain={"prior_guidance_scale": 1.0, "decoder_guidance_scale": 1.0},
        plain_calls={
            "prior": {"cond": STEPS},
            "decoder": {"cond": STEPS},
            "super_res_first": {"cond": STEPS - 1},
            "super_res_last": {"cond": 1},
        },
        call={
            "prior_num_inference_steps": STEPS,
            "decoder_num_inference_steps": STEPS,
            "super_res_num_inference_steps": STEPS,
        },
        steps=3 * STEPS,
        guided_steps=2 * STEPS,
        decodes=False,
    ),
    "WuerstchenCombinedPipeline": Kind(
        unets.wuerstchen,
        guided=NEGATIVE | {"decoder_guidance_scale": 4.0, "prior_guidance_scale": 4.0},
        calls={"prior_prior": {"joint": STEPS}, "decoder": {"joint": STEPS}},
        plain={"decoder_guidance_scale": 0.0, "prior_guidance_scale": 1.0},
        plain_calls={"prior_prior": {"cond": STEPS}, "decoder": {"cond": STEPS}},
        call=_TWO_STAGES | {"height": 128, "width": 128},
        steps=2 * STEPS,
        guided_steps=2 * STEPS,
    ),
    "StableCascadeCombinedPipeline": Kind(
        unets.stable_cascade,
        guided=NEGATIVE | {"decoder_guidance_scale": 4.0, "prior_guidance_scale": 4.0},
        calls={"prior_prior": {"joint": STEPS}, "decoder": {"joint": STEPS}},
        plain={"decoder_guidance_scale": 0.0, "prior_guidance_scale": 1.0},
        plain_calls={"prior_prior": {"cond": STEPS}, "decoder": {"cond": STEPS}},
        call=_TWO_STAGES | {"height": 128, "width": 128},
        steps=2 * STEPS,
        guided_steps=2 * STEPS,
    ),
    "AmusedPipeline": joint(unets.amused),
    "StableDiffusion3Pipeline": joint(transformers.stable_diffusion_3),
    "FluxPipeline": twice(transformers.flux, "true_cfg_scale"),
    "PixArtAlphaPipeline": joint(transformers.pixart_alpha, call=_UNBINNED),
    "PixArtSigmaPipeline": joint(transformers.pixart_sigma, call=_UNBINNED),
    "AuraFlowPipeline": joint(transformers.aura_flow),
    "ChromaPipeline": twice(transformers.chroma),
    "BriaPipeline": joint(transformers.bria),
    "HunyuanDiTPipeline": joint(transformers.hunyuan_dit, call=_UNBINNED),
    "CogView3PlusPipeline": joint(transformers.cogview_3),
    "HiDreamImagePipeline": joint(transformers.hidream),
    "LuminaPipeline": joint(gemma.lumina),
    "Lumina2Pipeline": twice(gemma.lumina_2),
    "SanaPipeline": joint(gemma.sana, call=_UNBINNED),
    "SanaSprintPipeline": once(gemma.sana_sprint, call=_UNBINNED | {"intermediate_timesteps": None}),
    "QwenImagePipeline": twice(qwen.qwen_image, "true_cfg_scale"),
    "ZImagePipeline": joint(qwen.z_image, off=0.0),
    "Flux2Pipeline": once(language.flux_2, call=_THREE_LAYERS),
    "Flux2KleinPipeline": twice(language.flux_2_klein, negative={}, call=_THREE_LAYERS),
    "HunyuanImagePipeline": Kind(
        qwen.hunyuan_image,
        guided=NEGATIVE,
        calls={"transformer": {"cond": STEPS, "uncond": STEPS}},
        plain=None,
        plain_calls={},
    ),
    "CogView4Pipeline": twice(language.cogview_4),
    "Kandinsky5T2IPipeline": twice(qwen.kandinsky_5),
    "BriaFiboPipeline": joint(language.bria_fibo),
    "OvisImagePipeline": twice(qwen.ovis_image),
    "LongCatImagePipeline": twice(qwen.longcat_image, call={"enable_prompt_rewrite": False}),
    "PRXPipeline": joint(gemma.prx, call=_UNBINNED),
    "Krea2Pipeline": twice(qwen.krea_2, off=0.0),
    "ErnieImagePipeline": joint(language.ernie_image),
    "NucleusMoEImagePipeline": twice(qwen.nucleus_image),
    "Ideogram4Pipeline": Kind(
        qwen.ideogram,
        guided={"guidance_scale": 4.0},
        calls={"transformer": {"cond": STEPS}, "unconditional_transformer": {"uncond": STEPS}},
        plain=None,
        plain_calls={},
        call={"guidance_schedule": None, "max_sequence_length": 64},
    ),
}
"""By the name of the class."""


def build(name: str) -> Any:
    """A pipeline of the zoo, ready to be measured; torch's random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return quiet(ZOO[name].build())


def arguments(name: str, pipeline: Any, guided: bool) -> dict[str, Any] | None:
    """What the guided or the plain call of a class is called with; None where it has no such call."""
    kind = ZOO[name]
    arguments_of_kind = kind.guided if guided else kind.plain
    if arguments_of_kind is None:
        return None
    accepted = inspect.signature(pipeline.__call__).parameters
    general = {key: value for key, value in CALL.items() if key in accepted}
    return general | dict(kind.call) | dict(arguments_of_kind)


def measured(name: str, pipeline: Any, asked: Mapping[str, Any], *, rounds: int = 1) -> Observation:
    """Measure a call on the CPU, as a benchmark does it."""
    return taken(name, pipeline, asked, rounds=rounds).observation(complete=True)


def taken(
    name: str, pipeline: Any, asked: Mapping[str, Any], *, rounds: int = 1, briefly: bool = False
) -> Measurement:
    """The same, with what the call returned; briefly in a single call, whose operators aren't counted."""
    plan = Plan(
        case_id=name,
        device="cpu",
        definition=Definition(
            pipeline=definition.name_of(pipeline),
            weights="own",
            dtype="float32",
            seed=0,
            arguments=describe(definition.bind(pipeline, (), dict(asked))),
        ),
        rounds=rounds,
        warmup_rounds=0,
        output_only=briefly,
    )
    measurement = Measurement(plan, pipeline, (), dict(asked))
    measurement.take(drive_plainly, lambda *_: None)
    return measurement
