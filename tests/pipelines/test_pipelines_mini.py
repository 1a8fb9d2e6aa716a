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

PROMPT = "a large red circle on a blue background"
ALL = tuple(MODELS)
NAMES = tuple(name for name in MODELS if name != "wan")
"""Of the minis that paint images; the video mini has a file of its own."""

LUMINAS = ("lumina2", "neta-lumina")
LATENTS = {"Lumina2Pipeline": (1, 8, 16, 16), "FluxPipeline": (1, 64, 32)}
STEPS = 12
"""Enough for a picture of the prompt."""


@pytest.fixture(scope="module")
def minis() -> dict[str, Any]:
    built: dict[str, Any] = {name: build_mini(model) for name, model in MODELS.items()}
    for pipeline in built.values():
        pipeline.set_progress_bar_config(disable=True)
    return built


@pytest.fixture(scope="module")
def painted(minis: dict[str, Any]) -> dict[str, Any]:
    """A picture of each, with nothing changed."""
    return {name: paint(minis[name], name) for name in NAMES}


def paint(pipeline: Any, name: str, prompt: str | list[str] = PROMPT, seed: int = 0, **arguments: Any) -> Any:
    """Pictures of shape (images, height, width, 3), float32 in [0, 1]."""
    defaults = {
        **MODELS[name].mini_recommended,
        "num_inference_steps": STEPS,
        "generator": torch.Generator().manual_seed(seed),
        "output_type": "np",
    }
    return pipeline(prompt, **{**defaults, **arguments}).images


def psnr_db(image: Any, other: Any) -> float:
    """Peak signal-to-noise ratio of pictures in [0, 1]: 10 log10(1 / mean squared error)."""
    return float(-10 * np.log10(np.mean((image.astype(np.float64) - other) ** 2) + 1e-30))


def test_minis_are_the_real_classes(minis: dict[str, Any]) -> None:
    assert [type(minis[name]).__name__ for name in ALL] == [model.pipeline_class for model in MODELS.values()]
    assert all(isinstance(pipeline, DiffusionPipeline) for pipeline in minis.values())
    assert minis["flux"].transformer.config.guidance_embeds
    assert {type(minis[name].scheduler).__name__ for name in NAMES} == {"FlowMatchEulerDiscreteScheduler"}
    for name in LUMINAS:
        assert minis[name].scheduler.config.shift == 6.0
        assert not minis[name].scheduler.config.use_dynamic_shifting
    assert minis["flux"].scheduler.config.shift == 3.0
    assert minis["flux"].scheduler.config.use_dynamic_shifting
    for pipeline in (minis[name] for name in NAMES):
        assert 2 ** (len(pipeline.vae.config.block_out_channels) - 1) == pipeline.vae_scale_factor == 8


@pytest.mark.parametrize("name", ["lumina2", pytest.param("neta-lumina", marks=pytest.mark.full)])
def test_renorm_and_truncation_change_the_picture(minis: dict[str, Any], painted: dict[str, Any], name: str) -> None:
    base, pipeline = painted[name], minis[name]
    assert psnr_db(base, paint(pipeline, name, cfg_normalization=False)) < 38
    half = paint(pipeline, name, cfg_trunc_ratio=0.5)
    none = paint(pipeline, name, cfg_trunc_ratio=0.0)
    assert psnr_db(base, half) < 38
    assert psnr_db(half, none) < 38
    assert psnr_db(none, paint(pipeline, name, guidance_scale=1.0)) > 200


@pytest.mark.parametrize("name", LUMINAS)
def test_the_two_branches_differ_at_every_step(minis: dict[str, Any], name: str) -> None:
    predictions: list[torch.Tensor] = []
    handle = minis[name].transformer.register_forward_hook(lambda *call: predictions.append(call[2][0].flatten()))
    try:
        paint(minis[name], name)
    finally:
        handle.remove()
    assert len(predictions) == 2 * STEPS
    apart = [
        float((cond - uncond).norm() / cond.norm())
        for cond, uncond in zip(predictions[::2], predictions[1::2], strict=True)
    ]
    assert min(apart) > 0.01
    assert max(apart) < 1


@pytest.mark.full
@pytest.mark.parametrize("name", NAMES)
def test_rounding_is_not_amplified(minis: dict[str, Any], name: str) -> None:
    shape = LATENTS[type(minis[name]).__name__]
    generator = torch.Generator().manual_seed(5)
    latents, noise = (torch.randn(shape, generator=generator) for _ in range(2))
    base = paint(minis[name], name, latents=latents)
    moved = paint(minis[name], name, latents=latents * (1 + 1e-6 * noise))
    assert 0 < np.linalg.norm(base - moved) / np.linalg.norm(base - base.mean()) < 2e-5


@pytest.mark.full
@pytest.mark.parametrize("name", NAMES)
def test_several_prompts_with_several_images(minis: dict[str, Any], name: str) -> None:
    images = paint(minis[name], name, [PROMPT, "a small white cross on a black background"], num_images_per_prompt=2)
    assert images.shape == (4, 128, 128, 3)
    assert all(psnr_db(images[i], images[j]) < 40 for i in range(4) for j in range(i))


@pytest.mark.full
@pytest.mark.parametrize("name", NAMES)
def test_a_picture_does_not_depend_on_the_batch(minis: dict[str, Any], painted: dict[str, Any], name: str) -> None:
    generators = [torch.Generator().manual_seed(seed) for seed in (7, 0)]
    images = paint(minis[name], name, ["a small white cross on a black background", PROMPT], generator=generators)
    assert psnr_db(images[1:], painted[name]) > 60


@pytest.mark.parametrize("name", NAMES)
def test_other_sizes_and_long_prompts(minis: dict[str, Any], name: str) -> None:
    images = paint(minis[name], name, "red " * 600, width=64, height=192, num_inference_steps=2)
    assert images.shape == (1, 192, 64, 3)
    assert np.isfinite(images).all()


@pytest.mark.parametrize("name", ALL)
def test_building_leaves_the_process_unchanged_and_is_repeatable(minis: dict[str, Any], name: str) -> None:
    torch.manual_seed(12345)
    torch.set_default_dtype(torch.float64)
    before = torch.get_rng_state()
    try:
        again: Any = build_mini(MODELS[name])
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(before, torch.get_rng_state())

    for component in MODELS[name].mini:
        built, rebuilt = (getattr(pipeline, component).state_dict() for pipeline in (minis[name], again))
        assert built.keys() == rebuilt.keys()
        assert all(torch.equal(built[key], rebuilt[key]) for key in built)


def test_minis_of_the_same_class_paint_different_pictures(painted: dict[str, Any]) -> None:
    assert psnr_db(*(painted[name] for name in LUMINAS)) < 30


@pytest.mark.parametrize("name", ALL)
def test_minis_are_ready_for_calls_and_not_for_training(minis: dict[str, Any], name: str) -> None:
    modules = {key: part for key, part in minis[name].components.items() if isinstance(part, torch.nn.Module)}
    assert modules.keys() == MODELS[name].mini.keys()
    for module in modules.values():
        assert not module.training
        for key, parameter in module.named_parameters():
            assert (parameter.dtype, parameter.device.type) == (torch.float32, "cpu"), key
            assert not parameter.requires_grad, key


@pytest.mark.parametrize("mini", [{}, MODELS["flux"].mini], ids=["no weights", "weights of another class"])
def test_a_class_without_a_mini_is_refused(mini: dict[str, str]) -> None:
    model = dataclasses.replace(MODELS["flux"], name="pix", pipeline_class="PixArtSigmaPipeline", mini=mini)
    with pytest.raises(PipelineError, match=r"model='pix': there is no mini of PixArtSigmaPipeline"):
        build_mini(model)


def test_a_model_without_a_mini_is_refused_with_the_remedy() -> None:
    model = dataclasses.replace(MODELS["flux"], name="flux-schnell", mini={})
    with pytest.raises(PipelineError, match=r"model='flux-schnell': .* --diffbench-weights=pretrained"):
        build_mini(model)
