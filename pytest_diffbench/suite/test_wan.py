"""Classifier-free guidance of a video in Wan 2.1: each guided step calls the denoiser twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_diffbench.suite.expectations import VIDEO_PROMPT, steps_of

if TYPE_CHECKING:
    from pytest_diffbench import Bench

pytestmark = pytest.mark.diffbench(model="wan")
STEPS = 50
GUIDED, PLAIN = 5.0, 1.0


@pytest.mark.parametrize("guidance_scale", [GUIDED, PLAIN], ids=["on", "off"])
def test_video_cfg(diffbench: Bench, diffbench_pipeline: Any, guidance_scale: float) -> None:
    """Guidance costs a second call at each step, and pays with a video that shows what its prompt says."""
    steps = steps_of(diffbench, STEPS)
    result = diffbench(diffbench_pipeline, VIDEO_PROMPT, num_inference_steps=steps, guidance_scale=guidance_scale)
    guided = steps if guidance_scale > 1 else 0
    assert result.work.steps == steps
    assert result.guidance.guided_steps == guided
    assert result.work.denoiser_calls == steps + guided
