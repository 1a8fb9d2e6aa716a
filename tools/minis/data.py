"""Pictures as the denoisers see them: scenes, their latents, and captions that are written anew each time."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from minis import pictures

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_OTHER_WORDS = tuple(
    "blurry bad quality ugly dark cat dog house photo of the old woman street snow mountain river sky".split()  # noqa: SIM905
)
"""What a negative prompt may say, and no caption says."""


@dataclasses.dataclass(frozen=True)
class Data:
    """Scenes and their latents, shape (scenes, channels, 16, 16), as the denoiser wants them scaled."""

    scenes: Sequence[pictures.Scene]
    latents: torch.Tensor


def load_or_encode(path: Path, vae: Any, style: pictures.Style, *, count: int, seed: int) -> Data:
    """Draw scenes, none of them held out, and encode them; or read what an earlier call has left at `path`."""
    rng = np.random.default_rng(seed)
    scenes: list[pictures.Scene] = []
    while len(scenes) < count:
        scene = pictures.scene(rng)
        if not pictures.held_out(scene):
            scenes.append(scene)
    if path.exists():
        return Data(scenes, load_file(path)["latents"])
    rng = np.random.default_rng((seed, 1))
    parts = []
    vae.eval()
    for begin in tqdm(range(0, count, 50), desc="encode", mininterval=5):
        drawn = np.stack(
            [
                pictures.draw(scene, style, rng, contrast=pictures.contrast(rng))
                for scene in scenes[begin : begin + 50]
            ]
        )
        images = torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            mean = vae.encode(images).latent_dist.mean.float()
        parts.append((mean - vae.config.shift_factor) * vae.config.scaling_factor)
    latents = torch.cat(parts).contiguous()
    save_file({"latents": latents}, path)
    return Data(scenes, latents)


@dataclasses.dataclass(frozen=True, slots=True)
class Text:
    """What a denoiser is told: a prompt, or a negative one, before which pipelines put no template."""

    words: str
    negative: bool


def texts(scenes: Sequence[pictures.Scene], rng: np.random.Generator) -> list[Text]:
    """Write a caption for each scene.

    Some are wrong, as `pictures.misnamed` has it. A tenth is empty, for guidance without a classifier. A few say what
    has nothing to do with the picture, so that a negative prompt of unknown words works as an empty one.
    """
    written = []
    for scene in scenes:
        chance = rng.random()
        if chance < 0.10:
            written.append(Text("", negative=True))
        elif chance < 0.12:
            words = rng.choice(_OTHER_WORDS, size=rng.integers(1, 5))
            written.append(Text(" ".join(words), negative=True))
        else:
            written.append(Text(pictures.caption(pictures.misnamed(scene, rng), rng), negative=False))
    return written
