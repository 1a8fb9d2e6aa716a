"""Real pipelines, smaller still than the minis, with seeded weights: for tests to which pictures don't matter.

Their pictures show nothing, but prompt, seed, guidance, truncation and renorm all change them, and rounding doesn't:
see `seeded_weights`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import torch
from seeded_weights import fill, oppose_input

from pytest_diffbench.pipelines import architectures

TINY = architectures.Sizes(
    latent_channels=4,
    vae_channels=(16, 16, 32, 32),
    lumina_width=64,
    lumina_layers=2,
    lumina_heads=4,
    lumina_kv_heads=2,
    lumina_ffn_multiplier=1.0,
    flux_heads=4,
    flux_layers=1,
    flux_single_layers=1,
    rope_axes=(4, 6, 6),
    text_width=32,
    text_heads=4,
    video_latent_channels=4,
    video_vae_width=4,
    video_vae_levels=(1, 1, 1),
    wan_heads=2,
    wan_head_width=12,
    wan_layers=2,
)

_SEEDS = MappingProxyType({"lumina2": 1, "neta-lumina": 2, "flux": 3, "wan": 4})

_DENOISER_GAINS = MappingProxyType({"norm_q": 1.2, "norm_k": 1.2, "norm1.linear": 2.0})
"""Attention that tells words apart, and blocks that are felt. Chosen by measuring, with `_DENOISING`: prompts,
guidance and renorm leave less than 26 dB between two pictures, and a rounding error grows less than fivefold."""

_FLUX_GAINS = MappingProxyType({**_DENOISER_GAINS, "text_embedder": 1.5})
_CLIP_GAINS = MappingProxyType({"out_proj": 3.0})
"""FLUX is told of CLIP's last token alone: this is what makes it speak for the words before it."""

_DENOISING = 1.2
"""Share of its input that a denoiser removes in one unit of time."""


def build_tiny(name: str) -> Any:
    """Build a tiny pipeline of a registered model's class, in float32, on the CPU, with its progress bar off.

    torch's random state is left as it was.

    Args:
        name: `lumina2`, `neta-lumina`, `flux` or `wan`. The first two differ by their weights alone.
    """
    # the constructors draw initial weights from the global generator
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        pipeline = {"flux": _flux, "wan": _wan}.get(name, _lumina2)(_SEEDS[name])
    for component in pipeline.components.values():
        if isinstance(component, torch.nn.Module):
            component.eval().requires_grad_(False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _lumina2(seed: int) -> Any:
    parts = {name: build(TINY) for name, build in architectures.LUMINA2_PARTS.items()}
    denoiser = parts["transformer"]
    fill(parts["vae"], f"{seed}/vae")
    fill(parts["text_encoder"], f"{seed}/text_encoder", zero_centred_norms=True)
    fill(denoiser, f"{seed}/transformer", gains=_DENOISER_GAINS)
    oppose_input(denoiser.norm_out.linear_2, denoiser.x_embedder, sign=-1, strength=_DENOISING)
    return architectures.lumina2_pipeline(**parts)


def _flux(seed: int) -> Any:
    parts = {name: build(TINY) for name, build in architectures.FLUX_PARTS.items()}
    denoiser = parts["transformer"]
    fill(parts["vae"], f"{seed}/vae")
    fill(parts["text_encoder"], f"{seed}/text_encoder", gains=_CLIP_GAINS)
    fill(parts["text_encoder_2"], f"{seed}/text_encoder_2")
    fill(denoiser, f"{seed}/transformer", gains=_FLUX_GAINS)
    oppose_input(denoiser.proj_out, denoiser.x_embedder, sign=1, strength=_DENOISING)
    return architectures.flux_pipeline(**parts)


def _wan(seed: int) -> Any:
    parts = {name: build(TINY) for name, build in architectures.WAN_PARTS.items()}
    for name, part in parts.items():
        fill(part, f"{seed}/{name}")
    return architectures.wan_pipeline(**parts)
