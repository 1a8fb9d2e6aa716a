"""Pictures and films as denoisers see them: scenes, their latents, and captions that are written anew each time."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from minis import films, pictures
from minis.train_vae import tensor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
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


Drawn = TypeVar("Drawn")
"""A scene or a film."""


@dataclasses.dataclass(frozen=True, slots=True)
class World(Generic[Drawn]):
    """What there is to be drawn, and what captions say of it.

    Attributes:
        by_lot: draws a scene by lot.
        held_out: whether it is kept from training.
        draw: draws it, colours jittered, with a contrast: uint8, channels last.
        caption: says what is in it.
        misnamed: what a careless caption would say is in it.
    """

    by_lot: Callable[[np.random.Generator], Drawn]
    held_out: Callable[[Drawn], bool]
    draw: Callable[[Drawn, np.random.Generator, float], NDArray[np.uint8]]
    caption: Callable[[Drawn, np.random.Generator], str]
    misnamed: Callable[[Drawn, np.random.Generator], Drawn]


def pictures_of(style: pictures.Style) -> World[pictures.Scene]:
    """Give the world of the images, in a style."""
    return World(
        pictures.scene,
        pictures.held_out,
        lambda scene, rng, contrast: pictures.draw(scene, style, rng, contrast=contrast),
        pictures.caption,
        pictures.misnamed,
    )


FILMS: World[films.Film] = World(
    films.film,
    films.held_out,
    lambda film, rng, contrast: films.draw(film, rng, contrast=contrast),
    films.caption,
    films.misnamed,
)
"""The world of the videos."""


@dataclasses.dataclass(frozen=True)
class Data(Generic[Drawn]):
    """Scenes, their latents, and how likely each is drawn.

    Attributes:
        world: that the scenes are of.
        scenes: what there is.
        latents: scaled for the denoiser: of shape (scenes, channels, 16, 16) or (scenes, channels, frames, 4, 4).
        captioned: probability of each scene where the picture has a caption.
        bare: the same where it has none.
    """

    world: World[Drawn]
    scenes: Sequence[Drawn]
    latents: torch.Tensor
    captioned: NDArray[np.float64]
    bare: NDArray[np.float64]


def load_or_encode(
    path: Path,
    encode: Callable[[torch.Tensor], torch.Tensor],
    world: World[Drawn],
    *,
    count: int,
    seed: int,
    paler: bool,
    batch: int = 50,
) -> Data[Drawn]:
    """Draw scenes, none of them held out, and encode them; or read what an earlier call has left at `path`.

    Args:
        path: of the latents.
        encode: gives the scaled latents of a batch, whose values are from -1 to 1.
        world: of the scenes.
        count: of scenes.
        seed: of scenes and pictures.
        paler: whether pictures without a caption are, as `pictures.contrast_odds` has it.
        batch: how many are encoded at once.
    """
    rng = np.random.default_rng(seed)
    scenes: list[Drawn] = []
    while len(scenes) < count:
        scene = world.by_lot(rng)
        if not world.held_out(scene):
            scenes.append(scene)
    contrasts = pictures.contrasts(count, np.random.default_rng((seed, 2)))
    by_contrast = partial(_by_contrast, world, scenes, contrasts, paler=paler)
    if path.exists():
        return by_contrast(load_file(path)["latents"])
    rng = np.random.default_rng((seed, 1))
    parts = []
    for begin in tqdm(range(0, count, batch), desc="encode", mininterval=5):
        drawn = np.stack(
            [
                world.draw(scene, rng, float(contrast))
                for scene, contrast in zip(
                    scenes[begin : begin + batch], contrasts[begin : begin + batch], strict=True
                )
            ]
        )
        with torch.no_grad():
            parts.append(encode(tensor_of(drawn)))
    latents = torch.cat(parts).contiguous()
    save_file({"latents": latents}, path)
    return by_contrast(latents)


def _by_contrast(
    world: World[Drawn],
    scenes: Sequence[Drawn],
    contrasts: NDArray[np.float64],
    latents: torch.Tensor,
    *,
    paler: bool,
) -> Data[Drawn]:
    odds = [pictures.contrast_odds(contrasts, captioned=captioned) for captioned in (True, not paler)]
    return Data(world, scenes, latents, *(frequencies / frequencies.sum() for frequencies in odds))


@dataclasses.dataclass(frozen=True, slots=True)
class Text:
    """What a denoiser is told: a prompt, or a negative one, before which pipelines put no template."""

    words: str
    negative: bool


def texts(
    world: World[Drawn],
    scenes: Sequence[Drawn],
    bare: NDArray[np.bool_],
    sigma: NDArray[np.floating[Any]],
    rng: np.random.Generator,
) -> list[Text]:
    """Write a caption for each scene that isn't to stay bare.

    Of those that are nearly all noise some are wrong, as `misnamed` has it. Most that stay bare are empty,
    for guidance without a classifier. The others say what has nothing to do with the picture, so that a negative
    prompt of unknown words works as an empty one.

    Args:
        world: of the scenes.
        scenes: what is drawn.
        bare: which are to have no caption.
        sigma: how much of each picture is noise, 0 to 1.
        rng: source of chance.
    """
    written = []
    for scene, captionless, noise in zip(scenes, bare, sigma, strict=True):
        if not captionless:
            captioned = world.misnamed(scene, rng) if noise > _CARELESS_ABOVE_SIGMA else scene
            written.append(Text(world.caption(captioned, rng), negative=False))
        elif rng.random() < _EMPTY_SHARE:
            written.append(Text("", negative=True))
        else:
            words = rng.choice(_OTHER_WORDS, size=rng.integers(1, 5))
            written.append(Text(" ".join(words), negative=True))
    return written
