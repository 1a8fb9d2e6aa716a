"""What CFG-Truncation gains on this machine: rounds of each ratio interleaved with those of the call without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_diffbench.suite.expectations import FEW_STEPS, PROMPT, RATIOS, guided_steps

if TYPE_CHECKING:
    from pytest_diffbench import Bench


@pytest.mark.diffbench(model="lumina2")
def test_truncation_pays(diffbench: Bench, diffbench_pipeline: Any) -> None:
    """Each truncated step saves one denoiser call, and the time that this predicts."""
    compared = diffbench.compare(
        diffbench_pipeline,
        PROMPT,
        variants={str(ratio): {"cfg_trunc_ratio": ratio} for ratio in RATIOS},
        num_inference_steps=FEW_STEPS,
        cfg_normalization=False,
        precision_rel=0.5,
    )
    for ratio in RATIOS:
        guided = guided_steps(FEW_STEPS, ratio)
        variant = compared[str(ratio)]
        assert variant.result.guidance.guided_steps == guided
        assert variant.work_saved_rel == (FEW_STEPS - guided) / (2 * FEW_STEPS)
