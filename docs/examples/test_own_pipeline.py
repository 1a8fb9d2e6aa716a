"""A pipeline that the test builds itself: any DiffusionPipeline can be measured."""

import pytest


@pytest.fixture
def ddim():
    import torch
    from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=32,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    ).eval()
    pipeline = DDIMPipeline(unet=unet, scheduler=DDIMScheduler())
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.diffbench(threads=1)
def test_ddim(diffbench, ddim):
    result = diffbench(ddim, num_inference_steps=4)
    assert result.work.denoiser_calls == 4
    assert result.images[0].size == (32, 32)
