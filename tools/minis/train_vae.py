"""Trains the autoencoder that all miniature pipelines share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from minis import pictures
from minis.training import Run, cosine_with_warmup

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_CROP_PX = 64
_PICTURES = 12_000
_KL_WEIGHT = 4e-4
_EDGE_WEIGHT = 0.5


def train(
    folder: Path,
    build: Any,
    *,
    crop_steps: int,
    steps: int,
    batch: int,
    minutes: float,
    begin: Mapping[str, torch.Tensor] | None = None,
    decoder_alone: bool = False,
) -> None:
    """Train on crops, which are cheap, then on whole pictures, whose statistics the group norms must know.

    Args:
        folder: where checkpoints and sample sheets go; training goes on from what lies there.
        build: returns an untrained `AutoencoderKL`.
        crop_steps: steps on crops of 64x64 pixels, at four times the batch.
        steps: steps in all.
        batch: whole pictures a step.
        minutes: after which training stops, wherever it is in its schedule.
        begin: weights to begin with, at half the rate; None for new ones.
        decoder_alone: leave the encoder as it is, and with it the latents that denoisers have learnt.
    """
    run = Run(folder, steps=steps, minutes=minutes)
    rng = np.random.default_rng(11)
    images = np.stack(
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
    torch.manual_seed(0)
    vae = build()
    if begin is not None:
        vae.load_state_dict(begin)
    peak_rate = 2e-3 if begin is None else 1e-3
    vae.train()
    if decoder_alone:
        vae.encoder.requires_grad_(False)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=peak_rate, betas=(0.9, 0.99), weight_decay=1e-4, fused=True)
    start = run.resume(vae, optimizer)
    for step in run.steps_from(start):
        cropped = step < crop_steps
        rng = np.random.default_rng((12, step))
        rate = cosine_with_warmup(step, steps, warmup=100)
        for group in optimizer.param_groups:
            group["lr"] = peak_rate * rate
        chosen = images[rng.integers(len(images), size=batch * (4 if cropped else 1))]
        if cropped:
            offsets = rng.integers(pictures.SIDE_PX - _CROP_PX + 1, size=(len(chosen), 2))
            # half of the crops are cut on the latent's own grid, as whole pictures are
            offsets[::2] -= offsets[::2] % 8
            chosen = np.stack(
                [c[y : y + _CROP_PX, x : x + _CROP_PX] for c, (y, x) in zip(chosen, offsets, strict=True)]
            )
        target = torch.from_numpy(chosen).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(target).latent_dist
            latents = posterior.mean.float() + posterior.std.float() * torch.randn_like(posterior.mean.float())
            decoded = vae.decode(latents).sample.float()
        difference = decoded - target
        l1 = difference.abs().mean()
        edges = difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        loss = l1 + _EDGE_WEIGHT * edges + _KL_WEIGHT * kl
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        run.log(step, loss=float(loss), l1=float(l1), kl=float(kl), grad_norm=float(norm))
        if run.due(step):
            run.save(step + 1, vae, optimizer)
            _sheet(run, step, vae, images[:16])


def _sheet(run: Run, step: int, vae: Any, images: Any) -> None:
    with torch.no_grad():
        vae.eval()
        target = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
        decoded = vae.decode(vae.encode(target).latent_dist.mean).sample.clamp(-1, 1)
        vae.train()
    mse = float((decoded - target).square().mean()) / 4
    run.say(f"step {step + 1}: {-10 * math.log10(mse):.1f} dB PSNR")
    back = ((decoded + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    run.picture(step + 1, [p for pair in zip(images, back, strict=True) for p in pair], columns=8)


def rescale(vae: Any) -> None:
    """Scale each latent channel so that, scaled and shifted as the config says, it has a standard deviation of 1.

    Encoder and decoder take the factor into their weights, so reconstructions stay as they are.
    """
    rng = np.random.default_rng(13)
    images = np.stack(
        [pictures.draw(pictures.scene(rng), "flat", rng, contrast=pictures.contrast(rng)) for _ in range(400)]
    )
    vae.eval()
    with torch.no_grad():
        target = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
        deviation = vae.encode(target).latent_dist.mean.std(dim=(0, 2, 3))
        factor = 1 / (deviation * vae.config.scaling_factor)
        channels = len(factor)
        out, into = vae.encoder.conv_out, vae.decoder.conv_in
        out.weight[:channels] *= factor[:, None, None, None]
        out.bias[:channels] *= factor
        out.bias[channels:] += 2 * factor.log()
        into.weight /= factor[None, :, None, None]
