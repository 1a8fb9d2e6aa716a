"""FLUX.1-dev: guidance is distilled into the model, so there is nothing to truncate and nothing to renormalise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_diffbench.suite.expectations import PROMPT, steps_of

if TYPE_CHECKING:
    from pytest_diffbench import Bench

STEPS = 50


@pytest.mark.diffbench(model="flux")
def test_distilled_guidance(diffbench: Bench, diffbench_pipeline: Any) -> None:
    """One denoiser call a step, whatever the guidance scale."""
    steps = steps_of(diffbench, STEPS)
    result = diffbench(diffbench_pipeline, PROMPT, num_inference_steps=steps)
    assert result.work.denoiser_calls == result.work.steps == steps
