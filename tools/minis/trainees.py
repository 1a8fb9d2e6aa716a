"""What is trained: a denoiser with its text encoders, called as its pipeline calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from minis import films, pictures
from pytest_diffbench.pipelines import architectures
from pytest_diffbench.pipelines.tokenizers import LUMINA_SYSTEM_PROMPT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from minis.data import Text

_SHEET_PROMPTS = (
    "a large red circle on a blue background",
    "a small yellow square at the top left on a black background",
    "a green triangle on a white background",
    "a large white ring on a purple background",
    "an orange cross at the bottom right on a green background",
    "a black circle on an orange background",
    "a blue square left of a red ring on a white background",
    "a purple triangle above a yellow circle on a black background",
)

_WAN_TOKENS = 32

_FILM_PROMPTS = (
    "a red circle moving right on a blue background",
    "a yellow square moving left on a black background",
    "a green triangle moving up on a white background",
    "a white circle moving down on a purple background",
    "an orange triangle moving left on a green background",
    "a black circle moving up on an orange background",
)


class Trainee(Protocol):
    """A denoiser with its text encoders."""

    parts: torch.nn.ModuleDict

    def predict(self, noisy: torch.Tensor, sigma: torch.Tensor, texts: Sequence[Text], rng: Any) -> torch.Tensor:
        """Predict noise minus data, shaped like `noisy`."""
        ...

    def paint(self, vae: Any) -> tuple[list[NDArray[np.uint8]], int]:
        """Paint a sheet in the pipeline that users get: its pictures, row by row, and how many a row has."""
        ...


class Lumina2:
    """Lumina: a Gemma-2 encoder and one stream of tokens."""

    def __init__(self) -> None:
        """Build it untrained, every block silent at first."""
        self.parts = torch.nn.ModuleDict(
            {
                "text_encoder": architectures.gemma2(architectures.MINI),
                "transformer": architectures.lumina2_transformer(architectures.MINI),
            }
        )
        transformer: Any = self.parts["transformer"]
        for name, module in transformer.named_modules():
            if name.endswith("norm1.linear") and isinstance(module, torch.nn.Linear):
                _silence(module)
        _silence(transformer.norm_out.linear_2)
        self._tokenizer = architectures.gemma2_tokenizer()

    def predict(
        self,
        noisy: torch.Tensor,
        sigma: torch.Tensor,
        texts: Sequence[Text],
        rng: Any,  # noqa: ARG002 - FLUX needs it
    ) -> torch.Tensor:
        """Predict noise minus data. The model itself predicts the opposite, at time 1 minus sigma."""
        # the pipeline puts its system prompt before each prompt, but not before a negative one
        prompts = [t.words if t.negative else f"{LUMINA_SYSTEM_PROMPT} {t.words}" for t in texts]
        tokens = self._tokenizer(prompts, padding="longest", return_tensors="pt")
        states = self.parts["text_encoder"](
            tokens.input_ids, attention_mask=tokens.attention_mask, output_hidden_states=True
        ).hidden_states[-2]
        predicted = self.parts["transformer"](
            noisy,
            1 - sigma,
            encoder_hidden_states=states,
            encoder_attention_mask=tokens.attention_mask.bool(),
            return_dict=False,
        )[0]
        velocity: torch.Tensor = -predicted
        return velocity

    def paint(self, vae: Any) -> tuple[list[NDArray[np.uint8]], int]:
        """Paint a sheet."""
        return _painted(architectures.lumina2_pipeline(vae=vae, **dict(self.parts.items())), guidance_scale=4.0)


class Flux:
    """FLUX: CLIP and T5 encoders, two streams of tokens, then one; it is told a guidance scale."""

    def __init__(self) -> None:
        """Build it untrained, every block silent at first."""
        self.parts = torch.nn.ModuleDict(
            {
                "text_encoder": architectures.clip(architectures.MINI),
                "text_encoder_2": architectures.t5(architectures.MINI),
                "transformer": architectures.flux_transformer(architectures.MINI),
            }
        )
        transformer: Any = self.parts["transformer"]
        for name, module in transformer.named_modules():
            if name.endswith(("norm.linear", "norm1.linear", "norm1_context.linear")):
                _silence(module)
        _silence(transformer.proj_out)
        self._clip_tokenizer = architectures.clip_tokenizer()
        self._t5_tokenizer = architectures.t5_tokenizer()

    def predict(
        self,
        noisy: torch.Tensor,
        sigma: torch.Tensor,
        texts: Sequence[Text],
        rng: Any,
        guidance: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Predict noise minus data.

        The pipeline pads to 512 tokens and masks no padding, so training meets all lengths, mostly short ones.
        """
        prompts = [text.words for text in texts]
        clip_ids = self._clip_tokenizer(prompts, padding="longest", return_tensors="pt").input_ids
        pooled = self.parts["text_encoder"](clip_ids).pooler_output
        longest = max(len(ids) for ids in self._t5_tokenizer(prompts).input_ids)
        t5_ids = self._t5_tokenizer(
            prompts,
            padding="max_length",
            max_length=_padded_length(longest, rng),
            truncation=True,
            return_tensors="pt",
        ).input_ids
        states = self.parts["text_encoder_2"](t5_ids)[0]
        batch, channels, height, width = noisy.shape
        pipeline_class = _flux_class()
        packed = pipeline_class._pack_latents(noisy, batch, channels, height, width)
        predicted = self.parts["transformer"](
            packed,
            encoder_hidden_states=states,
            pooled_projections=pooled,
            timestep=sigma,
            guidance=torch.ones(batch) if guidance is None else guidance,
            img_ids=pipeline_class._prepare_latent_image_ids(batch, height // 2, width // 2, "cpu", torch.float32),
            txt_ids=torch.zeros(states.shape[1], 3),
            return_dict=False,
        )[0]
        return _unpack(predicted, channels, height, width)

    def paint(self, vae: Any) -> tuple[list[NDArray[np.uint8]], int]:
        """Paint a sheet."""
        return _painted(architectures.flux_pipeline(vae=vae, **dict(self.parts.items())), guidance_scale=3.5)


class Wan:
    """Wan: a UMT5 encoder, and one stream of tokens that looks at its states."""

    def __init__(self) -> None:
        """Build it untrained, every block silent at first."""
        self.parts = torch.nn.ModuleDict(
            {
                "text_encoder": architectures.umt5(architectures.MINI),
                "transformer": architectures.wan_transformer(architectures.MINI),
            }
        )
        transformer: Any = self.parts["transformer"]
        _silence(transformer.condition_embedder.time_proj)
        _silence(transformer.proj_out)
        for block in transformer.blocks:
            torch.nn.init.zeros_(block.scale_shift_table)
            _silence(block.attn2.to_out[0])
        self._tokenizer = architectures.umt5_tokenizer()

    def predict(self, noisy: torch.Tensor, sigma: torch.Tensor, texts: Sequence[Text], rng: Any) -> torch.Tensor:
        """Predict noise minus data.

        The pipeline pads texts with zeros after the encoder, and masks none of them, so training meets all lengths up
        to that which is recommended.
        """
        tokens = self._tokenizer([text.words for text in texts], padding="longest", return_tensors="pt")
        states = self.parts["text_encoder"](tokens.input_ids, tokens.attention_mask).last_hidden_state
        states = states * tokens.attention_mask[..., None]
        longest = states.shape[1]
        padded = int(rng.integers(longest, max(longest, _WAN_TOKENS) + 1))
        states = torch.nn.functional.pad(states, (0, 0, 0, padded - longest))
        velocity: torch.Tensor = self.parts["transformer"](
            noisy, timestep=1000 * sigma, encoder_hidden_states=states, return_dict=False
        )[0]
        return velocity

    def paint(self, vae: Any) -> tuple[list[NDArray[np.uint8]], int]:
        """Paint a sheet: every other frame of a few films."""
        pipeline = architectures.wan_pipeline(vae=vae, **dict(self.parts.items()))
        pipeline.set_progress_bar_config(disable=True)
        painted = pipeline(
            list(_FILM_PROMPTS),
            num_inference_steps=20,
            guidance_scale=4.0,
            height=films.SIDE_PX,
            width=films.SIDE_PX,
            num_frames=films.FRAMES,
            max_sequence_length=_WAN_TOKENS,
            generator=torch.Generator().manual_seed(5),
        ).frames
        shown = [frame for film in painted for frame in film[::2]]
        return [(frame * 255).round().astype(np.uint8) for frame in shown], len(shown) // len(painted)


def _painted(pipeline: Any, guidance_scale: float) -> tuple[list[NDArray[np.uint8]], int]:
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline(
        list(_SHEET_PROMPTS),
        num_inference_steps=20,
        guidance_scale=guidance_scale,
        height=pictures.SIDE_PX,
        width=pictures.SIDE_PX,
        max_sequence_length=64,
        generator=torch.Generator().manual_seed(5),
        output_type="np",
    ).images
    return [(image * 255).round().astype(np.uint8) for image in images], len(images)


def _flux_class() -> Any:
    from diffusers import FluxPipeline

    return FluxPipeline


def _padded_length(longest: int, rng: Any) -> int:
    chance = rng.random()
    if chance < 0.9:
        return int(rng.integers(longest, 65)) if chance < 0.3 else longest + int(rng.integers(0, 9))
    return 128 if chance < 0.985 else 512


def _unpack(packed: torch.Tensor, channels: int, height: int, width: int) -> torch.Tensor:
    batch = packed.shape[0]
    grid = packed.view(batch, height // 2, width // 2, channels, 2, 2)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels, height, width)


def _silence(module: Any) -> None:
    torch.nn.init.zeros_(module.weight)
    if module.bias is not None:
        torch.nn.init.zeros_(module.bias)
