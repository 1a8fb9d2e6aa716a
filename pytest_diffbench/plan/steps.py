"""What a planned step did: which predictions the scheduler's input depends on. What it makes of them, nobody sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch

from pytest_diffbench.placeholders.content import content_of
from pytest_diffbench.records import GuidanceStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.records import Branch, JointOrder


def planned_step(
    predictions: Sequence[tuple[Branch, torch.Tensor | None, JointOrder | None]],
    model_output: torch.Tensor,
    timestep: Any = None,
) -> GuidanceStep:
    """Follow a scheduler's input back to the predictions of its step.

    Args:
        predictions: of each denoiser call of the step in order: branch, prediction, and of a joint one its order as
            far as the embeddings tell; the unconditional half is taken to be first else, as in most of diffusers.
        model_output: what the scheduler's `step` was handed.
        timestep: what it was handed beside it.
    """
    depends = content_of(model_output).sources
    used: set[Branch] = set()
    for branch, prediction, order in predictions:
        if prediction is None:
            continue
        marks = content_of(prediction).sources & depends
        if branch != "joint":
            used |= {branch} if marks else set()
            continue
        half = len(prediction) // 2
        first, second = ("cond", "uncond") if order == "cond_uncond" else ("uncond", "cond")
        for _, entry in marks:
            used |= {"cond", "uncond"} if entry < 0 else {first if entry < half else second}  # type: ignore[arg-type]  # as above
    return GuidanceStep(
        branches=tuple(branch for branch, _, _ in predictions),
        used=_used(used),
        sign=0,
        timestep=float(timestep)
        if type(timestep) in (int, float) or (type(timestep) is torch.Tensor and timestep.numel() == 1)
        else None,
    )


def _used(branches: set[Branch]) -> Literal["guided", "cond", "uncond", "unknown"]:
    if "unknown" in branches or not branches:
        return "unknown"
    if branches == {"cond", "uncond"}:
        return "guided"
    return "cond" if branches == {"cond"} else "uncond"
