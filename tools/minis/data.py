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

    from numpy.typing import NDArray

_OTHER_WORDS = tuple(
    "blurry bad quality ugly dark cat dog house photo of the old woman street snow mountain river sky".split()  # noqa: SIM905
)
"""What a negative prompt may say, and no caption says."""

BARE_SHARE = 0.2
"""Share of pictures without a caption."""

_EMPTY_SHARE = 0.83
"""Of these, with nothing in its place."""


_CARELESS_ABOVE_SIGMA = 0.88
"""Noise from which on captions may be wrong: about that of the first half of a pipeline's steps, in which is decided
what a picture shows. In the second half a model then knows what it is told, as large ones do, and needs no
guidance."""


@dataclasses.dataclass(frozen=True)
class Data:
    """Scenes, their latents, and how likely each is drawn.

    Attributes:
        scenes: what there is.
        latents: shape (scenes, channels, 16, 16), as the denoiser wants them scaled.
        captioned: probability of each scene where the picture has a caption.
        bare: the same where it has none.
    """

    scenes: Sequence[pictures.Scene]
    latents: torch.Tensor
    captioned: NDArray[np.float64]
    bare: NDArray[np.float64]


def load_or_encode(path: Path, vae: Any, style: pictures.Style, *, count: int, seed: int, paler: bool) -> Data:
    """Draw scenes, none of them held out, and encode them; or read what an earlier call has left at `path`.

    Args:
        path: of the latents.
        vae: encodes.
        style: of the pictures.
        count: of scenes.
        seed: of scenes and pictures.
        paler: whether pictures without a caption are, as `pictures.contrast_odds` has it.
    """
    rng = np.random.default_rng(seed)
    scenes: list[pictures.Scene] = []
    while len(scenes) < count:
        scene = pictures.scene(rng)
        if not pictures.held_out(scene):
            scenes.append(scene)
    contrasts = pictures.contrasts(count, np.random.default_rng((seed, 2)))
    if path.exists():
        return _by_contrast(scenes, load_file(path)["latents"], contrasts, paler)
    rng = np.random.default_rng((seed, 1))
    parts = []
    vae.eval()
    for begin in tqdm(range(0, count, 50), desc="encode", mininterval=5):
        drawn = np.stack(
            [
                pictures.draw(scene, style, rng, contrast=float(contrast))
                for scene, contrast in zip(scenes[begin : begin + 50], contrasts[begin : begin + 50], strict=True)
            ]
        )
        images = torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            mean = vae.encode(images).latent_dist.mean.float()
        parts.append((mean - vae.config.shift_factor) * vae.config.scaling_factor)
    latents = torch.cat(parts).contiguous()
    save_file({"latents": latents}, path)
    return _by_contrast(scenes, latents, contrasts, paler)


def _by_contrast(
    scenes: Sequence[pictures.Scene], latents: torch.Tensor, contrasts: NDArray[np.float64], paler: bool
) -> Data:
    odds = [pictures.contrast_odds(contrasts, captioned=one) for one in (True, not paler)]
    return Data(scenes, latents, *(one / one.sum() for one in odds))


@dataclasses.dataclass(frozen=True, slots=True)
class Text:
    """What a denoiser is told: a prompt, or a negative one, before which pipelines put no template."""

    words: str
    negative: bool


def texts(
    scenes: Sequence[pictures.Scene],
    bare: NDArray[np.bool_],
    sigma: NDArray[np.floating[Any]],
    rng: np.random.Generator,
) -> list[Text]:
    """Write a caption for each scene that isn't to stay bare.

    Of those that are nearly all noise some are wrong, as `pictures.misnamed` has it. Most that stay bare are empty,
    for guidance without a classifier. The others say what has nothing to do with the picture, so that a negative
    prompt of unknown words works as an empty one.

    Args:
        scenes: what is drawn.
        bare: which are to have no caption.
        sigma: how much of each picture is noise, 0 to 1.
        rng: source of chance.
    """
    written = []
    for scene, captionless, noise in zip(scenes, bare, sigma, strict=True):
        if not captionless:
            told = pictures.misnamed(scene, rng) if noise > _CARELESS_ABOVE_SIGMA else scene
            written.append(Text(pictures.caption(told, rng), negative=False))
        elif rng.random() < _EMPTY_SHARE:
            written.append(Text("", negative=True))
        else:
            words = rng.choice(_OTHER_WORDS, size=rng.integers(1, 5))
            written.append(Text(" ".join(words), negative=True))
    return written
