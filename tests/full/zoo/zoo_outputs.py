"""Tiny pipelines of diffusers that return something else than images, with calls, and damages of the results."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import zoo_parts as parts
import zoo_unets as unets
import zoo_upscalers as upscalers
import zoo_wan as wan
from tiny_parts import quiet

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

STEPS = 2
SIDE_PX = 32


def stable_audio() -> Any:
    """Text to audio in stereo."""
    import diffusers

    return diffusers.StableAudioPipeline(
        vae=diffusers.AutoencoderOobleck(
            encoder_hidden_size=6,
            downsampling_ratios=[1, 2],
            decoder_channels=3,
            decoder_input_channels=3,
            audio_channels=2,
            channel_multiples=[2, 4],
            sampling_rate=16000,
        ),
        text_encoder=parts.t5(),
        tokenizer=parts.tokenizer(64),
        projection_model=diffusers.pipelines.stable_audio.StableAudioProjectionModel(
            text_encoder_dim=parts.WIDTH, conditioning_dim=4, min_value=0, max_value=32
        ),
        transformer=diffusers.StableAudioDiTModel(
            sample_size=1024,
            in_channels=3,
            num_layers=2,
            attention_head_dim=4,
            num_key_value_attention_heads=2,
            out_channels=3,
            cross_attention_dim=4,
            time_proj_dim=8,
            global_states_input_dim=8,
            cross_attention_input_dim=4,
        ),
        scheduler=diffusers.EDMDPMSolverMultistepScheduler(
            prediction_type="v_prediction", sigma_schedule="exponential"
        ),
    )


def photograph() -> NDArray[np.float32]:
    """What a depth is asked of, of shape (1, side, side, 3), 0 to 1."""
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX] / SIDE_PX
    return np.stack([x, y, 0.5 + 0.4 * np.sin(9 * x * y)], axis=-1)[None].astype(np.float32)


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """A call, and a damage of what it returns.

    Attributes:
        build: makes the pipeline.
        call: arguments of the call.
        field: of what is returned.
        damage: makes of that field's value a damaged one.
        kinds: of the parts.
        reason: of the verdict on the damage.
        words: in its message.
    """

    build: Callable[[], Any]
    call: dict[str, Any]
    field: str
    damage: Callable[[Any], Any]
    kinds: tuple[str, ...]
    reason: str
    words: str


def _frozen(frames: Any) -> Any:
    damaged = frames.copy()
    damaged[:, 3:] = damaged[:, 2:3]
    return damaged


_PROMPT: dict[str, Any] = {"prompt": "a red circle", "num_inference_steps": STEPS}
_VIDEO = _PROMPT | {"height": SIDE_PX, "width": SIDE_PX, "num_frames": 5, "max_sequence_length": 16}

CASES: dict[str, Case] = {
    "video": Case(wan.wan, _VIDEO, "frames", _frozen, ("video",), "output.differs", "is frozen from frame 2 on"),
    "video tuple": Case(
        wan.wan,
        _VIDEO | {"return_dict": False},
        "0",
        _frozen,
        ("video",),
        "output.differs",
        "is frozen from frame 2 on",
    ),
    "video latents": Case(
        wan.wan,
        _VIDEO | {"output_type": "latent"},
        "frames",
        lambda latents: latents.flip(-1),
        ("latents",),
        "output.differs",
        "mirrored along its last axis",
    ),
    "audio": Case(
        stable_audio,
        _PROMPT,
        "audios",
        lambda samples: -samples,
        ("audio",),
        "output.differs",
        "polarity is inverted",
    ),
    "depth": Case(
        lambda: upscalers.marigold("Depth"),
        {"image": "photograph", "num_inference_steps": STEPS, "processing_resolution": 0},
        "prediction",
        lambda depth: 1 - depth,
        ("map",),
        "output.differs",
        "Its values are inverted",
    ),
    "normals": Case(
        lambda: upscalers.marigold("Normals"),
        {"image": "photograph", "num_inference_steps": STEPS, "processing_resolution": 0},
        "prediction",
        lambda vectors: vectors * np.array([-1, 1, 1]),
        ("map",),
        "output.differs",
        "mean angle",
    ),
    "prior": Case(
        unets.kandinsky_prior,
        _PROMPT,
        "image_embeds",
        lambda vectors: vectors.flip(-1),
        ("embeddings", "embeddings"),
        "output.differs",
        "Embeddings 'image_embeds' differs",
    ),
    "image latents": Case(
        unets.stable_diffusion,
        _PROMPT | {"height": 64, "width": 64, "output_type": "latent"},
        "images",
        lambda latents: latents.flip(-1),
        ("latents",),
        "output.differs",
        "mirrored along its last axis",
    ),
}


def build(name: str, *, damaged: bool = False) -> Any:
    """The pipeline of a case with seeded weights, ready to be measured; it may damage what it returns."""
    torch.manual_seed(0)
    case = CASES[name]
    pipeline = quiet(case.build())
    return _damaging(pipeline, case) if damaged else pipeline


def arguments(name: str) -> dict[str, Any]:
    """Arguments of a case's call."""
    call = CASES[name].call
    return call | ({"image": photograph()} if "image" in call else {})


def _damaging(pipeline: Any, case: Case) -> Any:
    sound = type(pipeline)

    @functools.wraps(sound.__call__)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        output = sound.__call__(self, *args, **kwargs)
        if isinstance(output, tuple):
            return (case.damage(output[0]), *output[1:])
        setattr(output, case.field, case.damage(getattr(output, case.field)))
        return output

    pipeline.__class__ = type(sound.__name__, (sound,), {"__call__": call, "__module__": sound.__module__})
    return pipeline
