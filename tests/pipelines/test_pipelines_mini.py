"""The minis: real pipelines whose pictures answer to all that a benchmark varies, and to nothing else."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from pytest_diffbench.errors import PipelineError
from pytest_diffbench.pipelines.mini import build_mini
from pytest_diffbench.pipelines.registry import MODELS

pytestmark = pytest.mark.pipeline

PROMPT = "a red circle on a blue background"
NAMES = tuple(MODELS)
LUMINAS = ("lumina2", "neta-lumina")
LATENTS = {"Lumina2Pipeline": (1, 4, 16, 16), "FluxPipeline": (1, 64, 16)}


@pytest.fixture(scope="module")
def minis() -> dict[str, Any]:
    built: dict[str, Any] = {name: build_mini(model) for name, model in MODELS.items()}
    for pipeline in built.values():
        pipeline.set_progress_bar_config(disable=True)
    return built


def paint(pipeline: Any, name: str, prompt: str | list[str] = PROMPT, seed: int = 0, **arguments: Any) -> Any:
    """Pictures of shape (images, height, width, 3), float32 in [0, 1]."""
    defaults = {
        **MODELS[name].mini_recommended,
        "generator": torch.Generator().manual_seed(seed),
        "output_type": "np",
    }
    return pipeline(prompt, **{**defaults, **arguments}).images


def psnr_db(one: Any, other: Any) -> float:
    """Peak signal-to-noise ratio of pictures in [0, 1]: 10 log10(1 / mean squared error)."""
    return float(-10 * np.log10(np.mean((one.astype(np.float64) - other) ** 2) + 1e-30))


def test_they_are_the_real_classes(minis: dict[str, Any]) -> None:
    assert [type(minis[name]).__name__ for name in NAMES] == [model.pipeline_class for model in MODELS.values()]
    assert all(isinstance(pipeline, DiffusionPipeline) for pipeline in minis.values())
    assert minis["flux"].transformer.config.guidance_embeds
    assert minis["lumina2"].scheduler.config.shift == 6.0
    assert not minis["lumina2"].scheduler.config.use_dynamic_shifting
    assert minis["flux"].scheduler.config.use_dynamic_shifting
    for pipeline in minis.values():
        assert 2 ** (len(pipeline.vae.config.block_out_channels) - 1) == pipeline.vae_scale_factor == 8


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [1, 50])
def test_pictures_are_healthy(minis: dict[str, Any], name: str, steps: int) -> None:
    images = paint(minis[name], name, num_inference_steps=steps)
    assert images.shape == (1, 128, 128, 3)
    assert np.isfinite(images).all()
    assert images.std() > 0.1
    assert np.mean((images <= 0) | (images >= 1)) < 0.25


@pytest.mark.parametrize("name", NAMES)
def test_prompt_seed_and_guidance_change_the_picture(minis: dict[str, Any], name: str) -> None:
    base = paint(minis[name], name)
    assert psnr_db(base, paint(minis[name], name)) > 200
    for old, new in (("red", "yellow"), ("circle", "square"), ("blue", "green"), ("background", "ground")):
        assert psnr_db(base, paint(minis[name], name, PROMPT.replace(old, new))) < 30, new
    assert psnr_db(base, paint(minis[name], name, "a large tree near a house at night")) < 20
    assert psnr_db(base, paint(minis[name], name, seed=1)) < 20
    assert psnr_db(base, paint(minis[name], name, guidance_scale=1.0)) < 20


@pytest.mark.parametrize("name", LUMINAS)
def test_renorm_and_truncation_change_the_picture(minis: dict[str, Any], name: str) -> None:
    base = paint(minis[name], name)
    assert psnr_db(base, paint(minis[name], name, cfg_normalization=False)) < 25
    half = paint(minis[name], name, cfg_trunc_ratio=0.5)
    none = paint(minis[name], name, cfg_trunc_ratio=0.0)
    assert psnr_db(base, half) < 20
    assert psnr_db(half, none) < 35
    assert psnr_db(none, paint(minis[name], name, guidance_scale=1.0)) > 200


@pytest.mark.parametrize("name", LUMINAS)
def test_the_two_branches_differ_at_every_step(minis: dict[str, Any], name: str) -> None:
    predictions: list[torch.Tensor] = []
    handle = minis[name].transformer.register_forward_hook(lambda *call: predictions.append(call[2][0].flatten()))
    try:
        paint(minis[name], name)
    finally:
        handle.remove()
    steps = MODELS[name].mini_recommended["num_inference_steps"]
    assert len(predictions) == 2 * steps  # type: ignore[operator]  # the mapping's values are objects
    cosines = [
        float(torch.cosine_similarity(cond, uncond, dim=0))
        for cond, uncond in zip(predictions[::2], predictions[1::2], strict=True)
    ]
    assert max(cosines) < 0.99
    assert min(cosines) > 0


@pytest.mark.parametrize("name", NAMES)
def test_rounding_is_not_amplified(minis: dict[str, Any], name: str) -> None:
    shape = LATENTS[type(minis[name]).__name__]
    generator = torch.Generator().manual_seed(5)
    latents, noise = (torch.randn(shape, generator=generator) for _ in range(2))
    base = paint(minis[name], name, latents=latents)
    moved = paint(minis[name], name, latents=latents * (1 + 1e-6 * noise))
    assert 0 < np.linalg.norm(base - moved) / np.linalg.norm(base - base.mean()) < 2e-5


@pytest.mark.parametrize("name", NAMES)
def test_several_prompts_and_images_each(minis: dict[str, Any], name: str) -> None:
    images = paint(
        minis[name], name, [PROMPT, "a large tree near a house"], num_images_per_prompt=2, num_inference_steps=4
    )
    assert images.shape == (4, 128, 128, 3)
    assert all(psnr_db(images[i], images[j]) < 25 for i in range(4) for j in range(i))


@pytest.mark.parametrize("name", NAMES)
def test_other_sizes_and_long_prompts(minis: dict[str, Any], name: str) -> None:
    images = paint(minis[name], name, "red " * 600, width=64, height=192, num_inference_steps=2)
    assert images.shape == (1, 192, 64, 3)
    assert np.isfinite(images).all()


@pytest.mark.parametrize("name", NAMES)
def test_weights_depend_on_the_seed_alone(minis: dict[str, Any], name: str) -> None:
    torch.manual_seed(12345)
    torch.set_default_dtype(torch.float64)
    before = torch.get_rng_state()
    try:
        again: Any = build_mini(MODELS[name])
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    other: Any = build_mini(dataclasses.replace(MODELS[name], mini_seed=99))

    assert torch.equal(before, torch.get_rng_state())
    for component in ("transformer", "vae", "text_encoder"):
        built, rebuilt, reseeded = (
            dict(getattr(pipeline, component).named_parameters()) for pipeline in (minis[name], again, other)
        )
        assert built.keys() == rebuilt.keys()
        assert all(torch.equal(built[key], rebuilt[key]) for key in built)
        assert not any(torch.equal(built[key], reseeded[key]) for key in built)


def test_minis_of_one_class_paint_different_pictures(minis: dict[str, Any]) -> None:
    one, other = (paint(minis[name], "lumina2") for name in LUMINAS)
    assert psnr_db(one, other) < 20


@pytest.mark.parametrize("name", NAMES)
def test_no_parameter_was_left_as_the_library_made_it(minis: dict[str, Any], name: str) -> None:
    for component in minis[name].components.values():
        if isinstance(component, torch.nn.Module):
            for key, parameter in component.named_parameters():
                assert not parameter.requires_grad, key
                assert parameter.numel() == 1 or parameter.std() > 0, key
                assert parameter.abs().max() < 10, key


@pytest.mark.parametrize("name", NAMES)
def test_half_precision(name: str) -> None:
    pipeline: Any = build_mini(MODELS[name], torch.bfloat16)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline.dtype == torch.bfloat16
    images = paint(pipeline, name, num_inference_steps=4)
    assert np.isfinite(images).all()
    assert images.std() > 0.1


def test_a_class_without_a_mini_is_refused() -> None:
    model = dataclasses.replace(MODELS["flux"], name="pix", pipeline_class="PixArtSigmaPipeline")
    with pytest.raises(PipelineError, match=r"no mini of PixArtSigmaPipeline, only of Lumina2Pipeline, FluxPipeline"):
        build_mini(model)
