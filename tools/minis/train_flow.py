"""Trains the denoisers, and the text encoders along with them, by flow matching or by distillation."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # as everybody calls it

from minis.data import BARE_SHARE, Data, Text, texts
from minis.training import Average, Muon, Run, half_precision, plateau

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from minis.trainees import Flux, Trainee

    Loss = Callable[[np.random.Generator, int], torch.Tensor]
    """Takes a step's source of chance and a seed for its noise."""

_MUON_LR = 1.5e-3
_ADAM_LR = 2e-3
_LARGEST_SCALE = 6.0


def optimizers(parts: torch.nn.Module, muon_lr: float, adam_lr: float) -> list[Muon | torch.optim.Optimizer]:
    """Muon for the matrices between layers, AdamW for embeddings, norms, biases and the last layers.

    Muon needs about half as many steps as AdamW on small transformers.
    """
    matrices: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    embeddings = {id(m.weight) for m in parts.modules() if isinstance(m, torch.nn.Embedding)}
    for name, parameter in parts.named_parameters():
        inner = parameter.ndim == 2 and id(parameter) not in embeddings
        outer = any(word in name for word in ("x_embedder", "norm_out", "proj_out", "shared"))
        (matrices if inner and not outer else others).append(parameter)
    return [
        Muon(matrices, muon_lr, weight_decay=0.01),
        torch.optim.AdamW(others, lr=adam_lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def sigmas(count: int, rng: np.random.Generator) -> torch.Tensor:
    """Noise levels: logit-normal, half of them shifted towards noise as the pipelines' own schedules are."""
    plain = 1 / (1 + np.exp(-rng.normal(0.0, 1.0, size=count)))
    shift = np.where(rng.random(count) < 0.5, 1.0, 3.0)
    uniform = rng.random(count)
    chosen = np.where(rng.random(count) < 0.15, uniform, shift * plain / (1 + (shift - 1) * plain))
    return torch.from_numpy(chosen).float()


def train(
    folder: Path,
    trainee: Trainee,
    vae: Any,
    loss_of: Loss,
    *,
    steps: int,
    minutes: float,
    lr_scale: float = 1.0,
    average: float = 0.9985,
    frozen: Sequence[str] = (),
    seed: int = 31,
) -> dict[str, torch.Tensor]:
    """Minimise a loss; give the averaged weights.

    Args:
        folder: for checkpoints and sheets.
        trainee: what is trained.
        vae: for the sheets.
        loss_of: gives a step's loss.
        steps: in all.
        minutes: after which training stops.
        lr_scale: of all learning rates; below 1 to fine-tune.
        average: share of the averaged weights that a step keeps.
        frozen: parts that stay as they are.
        seed: of pictures, captions and noise.
    """
    run = Run(folder, steps=steps, minutes=minutes)
    for name in frozen:
        trainee.parts[name].requires_grad_(False)
    trained = torch.nn.ModuleDict({name: part for name, part in trainee.parts.items() if name not in frozen})
    rates = (_MUON_LR * lr_scale, _ADAM_LR * lr_scale)
    chosen = optimizers(trained, *rates)
    averaged = Average(trainee.parts, average)
    start = run.resume(trainee.parts, averaged, *chosen)
    trainee.parts.train()
    for step in run.steps_from(start):
        share = plateau(step, steps, warmup=min(100, steps // 20))
        for optimizer, rate in zip(chosen, rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * share
        rng = np.random.default_rng((seed, step))
        loss = loss_of(rng, seed * 1_000_003 + step)
        for optimizer in chosen:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
        for optimizer in chosen:
            optimizer.step()
        averaged.update(trainee.parts)
        run.log(step, loss=float(loss), grad_norm=float(norm))
        if run.due(step):
            run.save(step + 1, trainee.parts, averaged, *chosen)
            sheet(run, step + 1, trainee, averaged, vae)
    return averaged.values


def flow_loss(trainee: Trainee, data: Data[Any], batch: int) -> Loss:
    """Flow matching: the mean squared error of the velocity, noise minus data, at noise levels drawn by lot."""

    def loss_of(rng: np.random.Generator, seed: int) -> torch.Tensor:
        noisy, velocity, sigma, said = _drawn(data, batch, rng, seed)
        with half_precision():
            predicted = trainee.predict(noisy, sigma, said, rng)
        return F.mse_loss(predicted.float(), velocity)

    return loss_of


def distillation_loss(student: Flux, teacher: Flux, data: Data[Any], batch: int) -> Loss:
    """Guidance distillation (Meng and others, 2022): one call of the student gives what the teacher needs two for.

    The student is told a scale `w` between 1 and `_LARGEST_SCALE`, and its target is the teacher's `u + w (c - u)`.
    """

    def loss_of(rng: np.random.Generator, seed: int) -> torch.Tensor:
        noisy, _, sigma, said = _drawn(data, batch, rng, seed)
        scale = torch.from_numpy(rng.uniform(1.0, _LARGEST_SCALE, size=batch)).float()
        empty = [Text("", negative=True)] * batch
        with half_precision():
            with torch.no_grad():
                conditional, unconditional = (
                    teacher.predict(noisy, sigma, prompt, rng).float() for prompt in (said, empty)
                )
            predicted = student.predict(noisy, sigma, said, rng, guidance=scale)
        guided = unconditional + scale[:, None, None, None] * (conditional - unconditional)
        target = held_back(guided, conditional, noisy, sigma)
        return F.mse_loss(predicted.float(), target)

    return loss_of


def held_back(
    guided: torch.Tensor, conditional: torch.Tensor, noisy: torch.Tensor, sigma: torch.Tensor
) -> torch.Tensor:
    """Hold a guided velocity's picture to the standard deviation of the unguided one (Lin and others, 2024).

    The picture is what a single step to no noise would give. Nearly without noise both are the same but for errors,
    which a division by the noise level would magnify, so it is held back by the noise level's share alone.
    """
    share = sigma[:, None, None, None]
    picture, unguided = noisy - share * guided, noisy - share * conditional
    over = 1 - unguided.std(dim=(1, 2, 3), keepdim=True) / picture.std(dim=(1, 2, 3), keepdim=True)
    return guided + over.clamp(min=0.0) * picture


def _drawn(
    data: Data[Any], batch: int, rng: np.random.Generator, seed: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[Text]]:
    """Noisy latents, their velocity, their noise levels and what is said of them."""
    bare = rng.random(batch) < BARE_SHARE
    chosen = np.where(bare, *(rng.choice(len(data.scenes), p=p, size=batch) for p in (data.bare, data.captioned)))
    clean = data.latents[torch.from_numpy(chosen)]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    sigma = sigmas(batch, rng)
    share = sigma.view(-1, *[1] * (clean.ndim - 1))
    return (
        (1 - share) * clean + share * noise,
        noise - clean,
        sigma,
        texts(data.world, [data.scenes[i] for i in chosen], bare, sigma.numpy(), rng),
    )


def sheet(run: Run, step: int, trainee: Any, average: Average, vae: Any) -> None:
    """Paint the sheet's prompts with the averaged weights, in the pipeline that users get."""
    painter = copy.copy(trainee)
    painter.parts = copy.deepcopy(trainee.parts)
    painter.parts.load_state_dict(average.values)
    painter.parts.eval()
    with torch.random.fork_rng(devices=[]):
        images, columns = painter.paint(vae)
    run.picture(step, images, columns=columns)
