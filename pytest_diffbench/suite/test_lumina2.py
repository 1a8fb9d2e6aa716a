"""CFG-Truncation and CFG-Renormalisation in Lumina-Image-2.0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_diffbench.suite.expectations import PROMPT, RATIOS, assert_truncated, steps_of

if TYPE_CHECKING:
    from pytest_diffbench import Bench

pytestmark = pytest.mark.diffbench(model="lumina2")
STEPS = 30


@pytest.mark.parametrize("cfg_trunc_ratio", RATIOS)
def test_cfg_trunc(diffbench: Bench, diffbench_pipeline: Any, cfg_trunc_ratio: float) -> None:
    """Truncation alone saves one denoiser call a truncated step."""
    steps = steps_of(diffbench, STEPS)
    result = diffbench(
        diffbench_pipeline,
        PROMPT,
        num_inference_steps=steps,
        cfg_trunc_ratio=cfg_trunc_ratio,
        cfg_normalization=False,
    )
    assert_truncated(result, steps, cfg_trunc_ratio)


@pytest.mark.parametrize("cfg_normalization", [True], ids=["on"])  # off is `test_cfg_trunc[1.0]`
def test_cfg_renorm(diffbench: Bench, diffbench_pipeline: Any, cfg_normalization: bool) -> None:
    """Renorm alone changes the picture and saves nothing."""
    steps = steps_of(diffbench, STEPS)
    result = diffbench(
        diffbench_pipeline,
        PROMPT,
        num_inference_steps=steps,
        cfg_trunc_ratio=1.0,
        cfg_normalization=cfg_normalization,
    )
    assert_truncated(result, steps, 1.0)


def test_cfg_trunc_and_renorm(diffbench: Bench, diffbench_pipeline: Any) -> None:
    """Both together, the way that the model's authors recommend."""
    steps = steps_of(diffbench, STEPS)
    result = diffbench(
        diffbench_pipeline, PROMPT, num_inference_steps=steps, cfg_trunc_ratio=0.5, cfg_normalization=True
    )
    assert_truncated(result, steps, 0.5)
