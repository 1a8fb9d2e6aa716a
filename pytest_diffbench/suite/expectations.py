"""What the arguments of a call promise, counted with the pipeline's own predicate."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_diffbench import Bench, Result

PROMPT = "a large red circle on a blue background"
VIDEO_PROMPT = "a red circle moving right on a blue background"
FEW_STEPS = 8
"""Of calls of minis, and of drawn weights, whose images show nothing: what a step costs and does shows in them."""

RATIOS = (1.0, 0.7, 0.5, 0.25)
"""1.0 is truncation off. The model card's setting is 0.25."""


def steps_of(diffbench: Bench, own: int) -> int:
    """Steps of a call: few on minis and on drawn weights, else the model's own."""
    return FEW_STEPS if diffbench.weights in ("mini", "random") else own


def guided_steps(steps: int, ratio: float) -> int:
    """Steps with guidance. Not `int(steps * ratio)`: that differs from the pipeline at (50, .58) and elsewhere."""
    return sum((i + 1) / steps <= ratio for i in range(steps))


def assert_truncated(result: Result, steps: int, ratio: float) -> None:
    """Hold the denoiser calls of a Lumina call against its ratio: two a guided step, one a truncated step."""
    guided = guided_steps(steps, ratio)
    assert result.work.steps == steps
    assert result.guidance.guided_steps == guided
    assert result.work.denoiser_calls == steps + guided
    assert 2 * steps - result.work.denoiser_calls == steps - guided, "each truncated step saves one call"
