"""What the trainings share: checkpoints, a progress bar, sample sheets, a schedule of learning rates."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from tqdm import tqdm

from minis import pictures

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_CHECKPOINT_SECONDS = 240.0
_MUON_MOMENTUM = 0.95


class Run:
    """One training: its folder, its clock and its log."""

    def __init__(self, folder: Path, *, steps: int, minutes: float) -> None:
        """Make the folder.

        Args:
            folder: for `state.pt`, `log.jsonl` and the sheets.
            steps: of the whole schedule.
            minutes: after which this run stops.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._steps = steps
        self._deadline_s = time.monotonic() + 60.0 * minutes
        self._saved_s = time.monotonic()
        self._bar: Any = None
        self._trained_s = 0.0
        self._begun_s = time.monotonic()

    def resume(self, *parts: Any) -> int:
        """Load what `save` has saved into models and optimizers of the same order; give the step to go on with."""
        path = self.folder / "state.pt"
        if not path.exists():
            return 0
        state = torch.load(path, weights_only=True)
        for part, saved in zip(parts, state["parts"], strict=True):
            part.load_state_dict(saved)
        self._trained_s = state["trained_s"]
        return int(state["step"])

    def save(self, step: int, *parts: Any) -> None:
        """Save models and optimizers, whole or not at all."""
        state = {
            "step": step,
            "parts": [part.state_dict() for part in parts],
            "trained_s": self._trained_s + time.monotonic() - self._begun_s,
        }
        temporary = self.folder / "state.pt.tmp"
        torch.save(state, temporary)
        temporary.replace(self.folder / "state.pt")
        self._saved_s = time.monotonic()

    def steps_from(self, start: int) -> Iterator[int]:
        """Count the steps that are left, behind a progress bar, until the time is up."""
        with tqdm(total=self._steps, initial=start, desc=self.folder.name, mininterval=5, dynamic_ncols=True) as bar:
            self._bar = bar
            for step in range(start, self._steps):
                yield step
                bar.update()
                if time.monotonic() > self._deadline_s:
                    self.say(f"stopped after {step + 1} of {self._steps} steps: the time is up")
                    return

    def due(self, step: int) -> bool:
        """Whether it is time for a checkpoint and a sheet."""
        late = time.monotonic() > self._deadline_s
        return late or step + 1 == self._steps or time.monotonic() - self._saved_s > _CHECKPOINT_SECONDS

    def log(self, step: int, **figures: float) -> None:
        """Write figures to the log, every 20 steps, and show them on the bar."""
        if step % 20:
            return
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **figures}) + "\n")
        self._bar.set_postfix({name: f"{value:.4f}" for name, value in figures.items()})

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        tqdm.write(f"{self.folder.name}: {text}")

    def picture(self, step: int, images: Sequence[Any], *, columns: int) -> None:
        """Save a sheet of pictures."""
        Image.fromarray(pictures.tiled(images, columns)).save(self.folder / f"sheet-{step:06d}.png")


def cosine_with_warmup(step: int, steps: int, *, warmup: int, floor: float = 0.02) -> float:
    """Share of the full learning rate: up in a straight line, then down along half a cosine to `floor`."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def plateau(step: int, steps: int, *, warmup: int, fall: float = 0.3) -> float:
    """Share of the full learning rate: up in a straight line, level, then in a straight line down to nearly nothing.

    Unlike half a cosine it can be cut short or drawn out: a run that is resumed with other `steps` stays on its way.

    Args:
        step: from 0.
        steps: in all.
        warmup: steps of the way up.
        fall: share of the steps for the way down.
    """
    if step < warmup:
        return (step + 1) / warmup
    return max(0.01, min(1.0, (steps - step) / (fall * steps)))


class Muon:
    """Muon (Jordan and others, 2024): each step has the direction of the momentum, made orthogonal.

    A convolution is a matrix with a row for each output channel. Unlike torch's it computes in single precision: half
    precision is many times slower on processors that have no instructions for it.
    """

    def __init__(self, weights: Sequence[torch.nn.Parameter], lr: float, *, weight_decay: float = 0.0) -> None:
        """Take weights of two or more dimensions."""
        self._weights = list(weights)
        self._momenta = [torch.zeros_like(weight) for weight in self._weights]
        self._weight_decay = weight_decay
        self.param_groups = [{"lr": lr}]

    @torch.no_grad()
    def step(self) -> None:
        """Take a step by the gradients. What has none stays."""
        lr = self.param_groups[0]["lr"]
        for weight, momentum in zip(self._weights, self._momenta, strict=True):
            if weight.grad is None:
                continue
            momentum.lerp_(weight.grad, 1 - _MUON_MOMENTUM)
            ahead = weight.grad.lerp(momentum, _MUON_MOMENTUM).reshape(len(weight), -1)
            # as large, root mean square, as a step of AdamW
            size = 0.2 * math.sqrt(max(ahead.shape))
            weight.mul_(1 - lr * self._weight_decay).add_(orthogonal(ahead).view_as(weight), alpha=-lr * size)

    def zero_grad(self, *, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for weight in self._weights:
            weight.grad = None if set_to_none or weight.grad is None else weight.grad.zero_()

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"momenta": self._momenta}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        for momentum, saved in zip(self._momenta, state["momenta"], strict=True):
            momentum.copy_(saved)


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """Bring the singular values of a matrix near 1, by five Newton-Schulz iterations with Muon's coefficients."""
    turned = matrix.shape[0] > matrix.shape[1]
    wide: torch.Tensor = matrix.T if turned else matrix
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(5):
        gram = wide @ wide.T
        wide = 3.4445 * wide + (-4.775 * gram + 2.0315 * gram @ gram) @ wide
    return wide.T if turned else wide


def half_precision() -> Any:
    """Compute matrix products in half precision inside, on processors that are faster at it: those with AVX-512."""
    return torch.autocast("cpu", torch.bfloat16, enabled=torch.backends.cpu.get_cpu_capability().startswith("AVX512"))


class Average:
    """An exponential moving average of a model's parameters."""

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        """Begin with the model's present values.

        Args:
            model: whose parameters are followed.
            decay: share of the average that a step keeps, once there have been many.
        """
        self._decay = decay
        self._count = 0
        self.values = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def update(self, model: torch.nn.Module) -> None:
        """Take a step of the model into the average."""
        self._count += 1
        decay = min(self._decay, (1 + self._count) / (10 + self._count))
        with torch.no_grad():
            averages, values = [], []
            for name, value in model.state_dict().items():
                if value.is_floating_point():
                    averages.append(self.values[name])
                    values.append(value)
            torch._foreach_lerp_(averages, values, 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"count": self._count, "values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self._count = state["count"]
        self.values = state["values"]
