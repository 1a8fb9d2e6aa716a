"""How much work CFG-Truncation saves, on a registered model."""

import pytest

STEPS = 8


@pytest.mark.diffbench(model="lumina2")
@pytest.mark.parametrize("cfg_trunc_ratio", [1.0, 0.5])
def test_truncation(diffbench, diffbench_pipeline, cfg_trunc_ratio):
    result = diffbench(
        diffbench_pipeline,
        "a large red circle on a blue background",
        num_inference_steps=STEPS,
        cfg_trunc_ratio=cfg_trunc_ratio,
    )
    guided = sum((i + 1) / STEPS <= cfg_trunc_ratio for i in range(STEPS))
    assert result.guidance.guided_steps == guided
    assert result.work.denoiser_calls == STEPS + guided


@pytest.mark.diffbench(model="lumina2", gates="work,guidance,output")
def test_truncation_saves_a_quarter(diffbench, diffbench_pipeline):
    prompt = "a large red circle on a blue background"
    full = diffbench(diffbench_pipeline, prompt, num_inference_steps=STEPS, cfg_trunc_ratio=1.0, label="full")
    half = diffbench(diffbench_pipeline, prompt, num_inference_steps=STEPS, cfg_trunc_ratio=0.5, label="half")
    assert half.work.denoiser_calls / full.work.denoiser_calls == 0.75
