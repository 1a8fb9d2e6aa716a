"""Variants of one call against each other, in one process: is truncation worth it, and what does it cost?"""

import pytest

PROMPT = "a large red circle on a blue background"
STEPS = 4


@pytest.mark.diffbench(model="lumina2", gates="work,guidance,output")
def test_truncation_pays(diffbench, diffbench_pipeline):
    compared = diffbench.compare(
        diffbench_pipeline,
        PROMPT,
        num_inference_steps=STEPS,
        variants={"full": {}, "half": {"cfg_trunc_ratio": 0.5}},
        precision_rel=0.3,
    )
    half = compared["half"]
    assert half.work_saved_rel == 0.25
    assert half.result.guidance.guided_steps == STEPS // 2
    # The share of the denoise stage is measured, so this is what a quarter fewer calls should bring on this machine.
    assert 1.0 < half.predicted_speedup_rel < 1.34
    assert half.image_difference.psnr_db < 40, "another picture"


@pytest.mark.diffbench(model="lumina2", gates="work,guidance,output")
def test_frontier_of_truncation(diffbench, diffbench_pipeline):
    swept = diffbench.sweep(
        diffbench_pipeline, PROMPT, "cfg_trunc_ratio", [1.0, 0.5, 0.0], num_inference_steps=STEPS, precision_rel=0.3
    )
    assert [row.denoiser_calls for row in swept.rows] == [8, 6, 4]
