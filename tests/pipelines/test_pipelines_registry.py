"""The registry: what is in it, what it refuses, and that it is cheap to ask."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from pytest_diffbench.errors import PipelineError
from pytest_diffbench.pipelines.registry import MODELS, model_named, register


def test_asking_for_a_model_imports_no_heavy_library() -> None:
    code = (
        "import sys; from pytest_diffbench.pipelines.registry import model_named; model_named('flux');"
        "print([name for name in ('torch', 'diffusers', 'transformers', 'numpy') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "pipeline_class", "steps", "guidance_scale", "tokens", "mini_tokens"),
    [
        ("lumina2", "Lumina2Pipeline", 30, 4.0, 256, 256),
        ("neta-lumina", "Lumina2Pipeline", 20, 4.5, 256, 256),
        ("flux", "FluxPipeline", 50, 3.5, 512, 128),  # FLUX reads its padding, which is most of a mini's time
    ],
)
def test_recommended_arguments(
    name: str, pipeline_class: str, steps: int, guidance_scale: float, tokens: int, mini_tokens: int
) -> None:
    model = model_named(name)
    both = {"num_inference_steps": steps, "guidance_scale": guidance_scale}
    full = {"max_sequence_length": tokens, "height": 1024, "width": 1024}
    mini = {"max_sequence_length": mini_tokens, "height": 128, "width": 128}
    assert model.name == name
    assert model.pipeline_class == pipeline_class
    assert dict(model.recommended) == both | full
    assert dict(model.mini_recommended) == both | mini


def test_recommended_arguments_of_the_video_model() -> None:
    model = model_named("wan")
    full = {
        "guidance_scale": 5.0,
        "num_inference_steps": 50,
        "max_sequence_length": 512,
        "height": 480,
        "width": 832,
        "num_frames": 81,
    }
    mini = {
        "guidance_scale": 3.0,
        "num_inference_steps": 20,
        "max_sequence_length": 32,
        "height": 64,
        "width": 64,
        "num_frames": 17,
    }
    assert (model.pipeline_class, model.hub_id) == ("WanPipeline", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers")
    assert dict(model.recommended) == full
    assert dict(model.mini_recommended) == mini


def test_recommended_arguments_cannot_be_changed_by_a_test() -> None:
    with pytest.raises(TypeError):
        model_named("flux").recommended["height"] = 1  # type: ignore[index]  # that it can't is the test


def test_every_mini_has_a_separate_denoiser() -> None:
    assert len({model.mini["transformer"] for model in MODELS.values()}) == len(MODELS)


@pytest.mark.parametrize(
    ("name", "nearest"), [("lumina", "lumina2"), ("FLUX", "flux"), ("neta_lumina", "neta-lumina")]
)
def test_unknown_model_names_the_nearest_and_all(name: str, nearest: str) -> None:
    with pytest.raises(PipelineError) as caught:
        model_named(name)
    message = str(caught.value)
    assert repr(name) in message
    assert f"did you mean {nearest!r}?" in message
    assert all(known in message for known in MODELS)


def test_unknown_model_without_a_near_name() -> None:
    with pytest.raises(
        PipelineError, match=r"'zzz' isn't registered. The models are: flux, lumina2, neta-lumina, wan"
    ):
        model_named("zzz")


def test_register(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_diffbench.pipelines.registry.MODELS", dict(MODELS))
    new = dataclasses.replace(model_named("flux"), name="flux-schnell")
    register(new)
    assert model_named("flux-schnell") is new
    register(new)  # importing twice does no harm


def test_register_refuses_a_taken_name() -> None:
    flux = MODELS["flux"]
    with pytest.raises(PipelineError, match=r"'flux' is already registered, for black-forest-labs/FLUX.1-dev"):
        register(dataclasses.replace(flux, hub_id="somebody/else"))
    assert MODELS["flux"] is flux
