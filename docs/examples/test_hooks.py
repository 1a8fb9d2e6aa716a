"""What the hooks in conftest.py do to a test."""

import pytest


@pytest.mark.diffbench(model="flux", seed=7)
def test_sliced_decoding(diffbench, diffbench_pipeline):
    assert diffbench_pipeline.vae.use_slicing
    result = diffbench(diffbench_pipeline, "a red circle", num_inference_steps=4)
    assert result.observation.run.environment.software["driver_patch"] == 3
