"""Trains the autoencoders: of the images, which all miniature pipelines that draw some share, and of the videos."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from minis import films, pictures
from minis.training import Muon, Run, cosine_with_warmup, half_precision, plateau

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_CROP_PX = 64
_PICTURES = 12_000
_KL_WEIGHT = 4e-4
_EDGE_WEIGHT = 0.5

_WARM_SHARE = 0.02
"""Of a training, until films have their rate."""

_SHEET_FILMS = 3

_ADAM_LR = 2e-3


@dataclasses.dataclass(frozen=True)
class Examples:
    """What an autoencoder learns from.

    Attributes:
        batch: gives a batch of pictures. It takes a source of chance and how far the training is, from 0 to 1, and
            gives uint8 of shape (batch, height, width, 3), of videos (batch, frames, height, width, 3).
        sheet: for the sheets, whole ones.
        autocast: compute in half precision, which is slow for convolutions in three dimensions.
        rate: share of the learning rate, by how far the training is.
    """

    batch: Callable[[np.random.Generator, float], NDArray[np.uint8]]
    sheet: NDArray[np.uint8]
    autocast: bool
    rate: Callable[[float], float] = lambda _progress: 1.0


def images(batch: int, *, crop_share: float) -> Examples:
    """Give pictures, a third of them hatched: first crops of 64x64 pixels, which are cheap, then whole ones.

    Args:
        batch: whole pictures a step; crops are four times as many.
        crop_share: share of the training that is on crops. What follows teaches the group norms the statistics of
            whole pictures.
    """
    rng = np.random.default_rng(11)
    drawn = np.stack(
        [
            pictures.draw(
                pictures.scene(rng),
                "hatched" if index % 3 == 0 else "flat",
                rng,
                contrast=pictures.contrast(rng),
                any_colour=index % 2 == 0,
            )
            for index in range(_PICTURES)
        ]
    )

    def draw(rng: np.random.Generator, progress: float) -> NDArray[np.uint8]:
        if progress >= crop_share:
            return drawn[rng.integers(len(drawn), size=batch)]
        chosen = drawn[rng.integers(len(drawn), size=4 * batch)]
        offsets = rng.integers(pictures.SIDE_PX - _CROP_PX + 1, size=(len(chosen), 2))
        # half of the crops are cut on the latent's own grid, as whole pictures are
        offsets[::2] -= offsets[::2] % 8
        return np.stack([c[y : y + _CROP_PX, x : x + _CROP_PX] for c, (y, x) in zip(chosen, offsets, strict=True)])

    return Examples(draw, drawn[:16], autocast=True)


def videos(batch: int, *, single_share: float = 0.45, film_rate: float = 0.03) -> Examples:
    """Give single frames at first, then clips of films: of five frames mostly, else of nine or all.

    Args:
        batch: clips of five frames a step; single frames are four times as many, and longer clips fewer.
        single_share: of the training, on single frames.
        film_rate: share of the learning rate for films. At the full rate the weights that see other frames, which are
            zero until then, grow so fast that all is forgotten in twenty steps.
    """

    def film(rng: np.random.Generator, count: int) -> NDArray[np.uint8]:
        begin = int(rng.integers(films.FRAMES - count + 1))
        return films.draw(
            films.film(rng),
            rng,
            contrast=pictures.contrast(rng),
            any_colour=bool(rng.random() < 0.5),
            frames=range(begin, begin + count),
        )

    def draw(rng: np.random.Generator, progress: float) -> NDArray[np.uint8]:
        if progress < single_share:
            count, frames = 4 * batch, 1
        else:
            # few films a batch are too alike for Muon, which makes as much of what is by chance
            chance = rng.random()
            count, frames = (batch, 5) if chance < 0.7 else (-(-batch // 2), 9 if chance < 0.9 else films.FRAMES)
        return np.stack([film(rng, frames) for _ in range(count)])

    def rate(progress: float) -> float:
        return 1.0 if progress < single_share else film_rate * min(1.0, (progress - single_share) / _WARM_SHARE)

    rng = np.random.default_rng(11)
    sheet = np.stack([film(rng, films.FRAMES) for _ in range(_SHEET_FILMS)])
    return Examples(draw, sheet, autocast=False, rate=rate)


def train(
    folder: Path,
    build: Any,
    examples: Examples,
    *,
    steps: int,
    minutes: float,
    begin: Mapping[str, torch.Tensor] | None = None,
    decoder_alone: bool = False,
    muon_lr: float | None = None,
) -> None:
    """Train an autoencoder.

    Args:
        folder: where checkpoints and sample sheets go; training goes on from what lies there.
        build: returns an untrained autoencoder.
        examples: what it learns from.
        steps: steps in all.
        minutes: after which training stops, wherever it is in its schedule.
        begin: weights to begin with, at half the rate; None for new ones.
        decoder_alone: leave the encoder as it is, and with it the latents that denoisers have learnt.
        muon_lr: train convolutions by Muon at this rate, and let rates stay level at first; None for AdamW alone.
    """
    run = Run(folder, steps=steps, minutes=minutes)
    torch.manual_seed(0)
    vae = build()
    if begin is not None:
        vae.load_state_dict(begin)
    scale = 1.0 if begin is None else 0.5
    vae.train()
    if decoder_alone:
        for part in (vae.encoder, getattr(vae, "quant_conv", None)):
            if part is not None:
                part.requires_grad_(False)
    by_muon = [p for p in vae.parameters() if muon_lr is not None and p.ndim >= 4 and len(p) > 1]
    others = [p for p in vae.parameters() if all(p is not weight for weight in by_muon)]
    chosen: list[tuple[Any, float]] = [
        (torch.optim.AdamW(others, lr=_ADAM_LR, betas=(0.9, 0.99), weight_decay=1e-4, fused=True), _ADAM_LR)
    ]
    if muon_lr is not None:
        chosen.append((Muon(by_muon, muon_lr), muon_lr))
    start = run.resume(vae, *(optimizer for optimizer, _ in chosen))
    for step in run.steps_from(start):
        rng = np.random.default_rng((12, step))
        rate = (cosine_with_warmup if muon_lr is None else plateau)(step, steps, warmup=100)
        for optimizer, peak in chosen:
            for group in optimizer.param_groups:
                group["lr"] = scale * peak * rate * examples.rate(step / steps)
        target = tensor_of(examples.batch(rng, step / steps))
        with half_precision() if examples.autocast else contextlib.nullcontext():
            posterior = vae.encode(target).latent_dist
            latents = posterior.mean.float() + posterior.std.float() * torch.randn_like(posterior.mean.float())
            decoded = vae.decode(latents).sample.float()
        difference = decoded - target
        l1 = difference.abs().mean()
        axes = [axis for axis in range(2, difference.ndim) if difference.shape[axis] > 1]
        edges = torch.stack([difference.diff(dim=axis).abs().mean() for axis in axes]).sum()
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        loss = l1 + _EDGE_WEIGHT * edges + _KL_WEIGHT * kl
        vae.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        for optimizer, _ in chosen:
            optimizer.step()
        run.log(step, loss=float(loss), l1=float(l1), kl=float(kl), grad_norm=float(norm))
        if run.due(step):
            run.save(step + 1, vae, *(optimizer for optimizer, _ in chosen))
            _sheet(run, step, vae, examples.sheet)


def tensor_of(drawn: NDArray[np.uint8]) -> torch.Tensor:
    """Give pictures (batch, height, width, 3) or videos (batch, frames, height, width, 3) as autoencoders want them.

    Returns:
        From -1 to 1, channels in the second place.
    """
    return torch.from_numpy(drawn).movedim(-1, 1).float() / 127.5 - 1


def _sheet(run: Run, step: int, vae: Any, drawn: NDArray[np.uint8]) -> None:
    """Show pictures beside, or films above, what the autoencoder gives back of them."""
    with torch.no_grad():
        vae.eval()
        target = tensor_of(drawn)
        decoded = vae.decode(vae.encode(target).latent_dist.mean).sample.clamp(-1, 1)
        vae.train()
    mse = float((decoded - target).square().mean()) / 4
    run.say(f"step {step + 1}: {-10 * math.log10(mse):.1f} dB PSNR")
    back = ((decoded + 1) * 127.5).round().to(torch.uint8).movedim(1, -1).numpy()
    pairs = [p for pair in zip(drawn, back, strict=True) for p in pair]
    if drawn.ndim == 5:
        run.picture(step + 1, [frame for film in pairs for frame in film[::2]], columns=len(drawn[0][::2]))
    else:
        run.picture(step + 1, pairs, columns=8)


def rescale(vae: Any) -> None:
    """Scale each latent channel so that, scaled and shifted as the config says, it has a standard deviation of 1.

    Encoder and decoder take the factor into their weights, so reconstructions stay as they are.
    """
    rng = np.random.default_rng(13)
    drawn = np.stack(
        [pictures.draw(pictures.scene(rng), "flat", rng, contrast=pictures.contrast(rng)) for _ in range(400)]
    )
    vae.eval()
    with torch.no_grad():
        deviation = vae.encode(tensor_of(drawn)).latent_dist.mean.std(dim=(0, 2, 3))
        factor = 1 / (deviation * vae.config.scaling_factor)
        channels = len(factor)
        out, into = vae.encoder.conv_out, vae.decoder.conv_in
        out.weight[:channels] *= factor[:, None, None, None]
        out.bias[:channels] *= factor
        out.bias[channels:] += 2 * factor.log()
        into.weight /= factor[None, :, None, None]


def rescale_video(vae: Any) -> None:
    """Scale and shift each latent channel, so that it has the mean and the deviation that the config says.

    The convolutions next to the latents take the factors into their weights, so reconstructions stay as they are.
    """
    rng = np.random.default_rng(13)
    drawn = np.stack([films.draw(films.film(rng), rng, contrast=pictures.contrast(rng)) for _ in range(60)])
    vae.eval()
    with torch.no_grad():
        latents = torch.cat([vae.encode(tensor_of(part)).latent_dist.mean for part in np.split(drawn, 10)])
        factor = torch.tensor(vae.config.latents_std) / latents.std(dim=(0, 2, 3, 4))
        shift = torch.tensor(vae.config.latents_mean) - factor * latents.mean(dim=(0, 2, 3, 4))
        channels = len(factor)
        out, into = vae.quant_conv, vae.post_quant_conv
        out.weight[:channels] *= factor[:, None, None, None, None]
        out.bias[:channels] = factor * out.bias[:channels] + shift
        out.bias[channels:] += 2 * factor.log()
        into.weight /= factor[None, :, None, None, None]
        into.bias -= into.weight[:, :, 0, 0, 0] @ shift
