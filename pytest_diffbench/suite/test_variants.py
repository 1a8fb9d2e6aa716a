"""What CFG-Truncation gains on this machine, its rounds interleaved with those of the untruncated call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_diffbench.suite.expectations import PROMPT, guided_steps

if TYPE_CHECKING:
    from pytest_diffbench.bench import Bench

STEPS = 4
"""Few: a ratio needs no more, and each of its variants is called a dozen times."""


@pytest.mark.diffbench(model="lumina2")
def test_truncation_pays(diffbench: Bench, diffbench_pipeline: Any) -> None:
    """Half of the steps truncated: a quarter of the denoiser calls saved, and the time that this predicts."""
    compared = diffbench.compare(
        diffbench_pipeline,
        PROMPT,
        variants={"full": {"cfg_trunc_ratio": 1.0}, "half": {"cfg_trunc_ratio": 0.5}},
        num_inference_steps=STEPS,
        cfg_normalization=False,
        precision_rel=0.5,
    )
    half = compared["half"]
    assert half.result.guidance.guided_steps == guided_steps(STEPS, 0.5)
    assert half.work_saved_rel == 0.25
