"""Pipelines that options have set up, loaded from folders: what each option does, and that measuring goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from real_calls import PROMPT, prepared, read_back
from safetensors.torch import save_file
from tiny_pipelines import build_tiny

from pytest_diffbench.errors import PipelineError
from pytest_diffbench.measure.guidance import call_class_of
from pytest_diffbench.measure.rounds import drive_plainly
from pytest_diffbench.outputs.pixels import psnr_db
from pytest_diffbench.pipelines import loader
from pytest_diffbench.pipelines.tuned import check_applied, denoisers_in, resolved, set_up
from pytest_diffbench.records import Offload, PipelineSpec, Tuning, parse_steps

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_diffbench.records import Observation

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("one_thread")]

STEPS = 6
CALL: dict[str, Any] = {"num_inference_steps": STEPS, "height": 64, "width": 64}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny pipelines as `save_pretrained` leaves them, by name."""
    root = tmp_path_factory.mktemp("models")
    for name in ("flux", "lumina2"):
        build_tiny(name).save_pretrained(root / name)
    return root


def spec_of(
    name: str, device: str = "cpu", dtype: str = "float32", offload: Offload = "none", **options: Any
) -> PipelineSpec:
    return PipelineSpec(
        model=name, weights="pretrained", device=device, dtype=dtype, offload=offload, tuning=Tuning(**options)
    )


def spec_with(name: str, options: dict[str, Any]) -> PipelineSpec:
    return spec_of(name, **options)


def load(spec: PipelineSpec, saved: Path) -> Any:  # diffusers' classes are opaque to type checkers
    return loader.load(spec, saved)


def measured(pipeline: Any, device: str = "cpu", **call: Any) -> tuple[Observation, Any]:
    """The record of a call and its picture; what every pipeline must show is held here."""
    measurement = prepared(pipeline, PROMPT, device=device, **CALL | call)
    measurement.take(drive_plainly, lambda *_: None)
    observation = read_back(measurement, complete=True)
    assert observation.work is not None
    assert observation.guidance is not None
    assert observation.guidance.call_class == call_class_of(pipeline)
    assert set(observation.run.rounds[0].stages_s) == {"text_encode", "denoise", "vae_decode", "unattributed"}
    assert observation.work.steps == len(observation.run.rounds[0].steps_s) == STEPS
    return observation, measurement.artifacts().images[0]


@pytest.fixture(scope="module")
def plain(saved: Path) -> dict[str, tuple[Observation, Any]]:
    """By name what a pipeline shows without any option."""
    return {name: measured(load(spec_of(name), saved)) for name in ("flux", "lumina2")}


def calls(observation: Observation) -> dict[tuple[str, str], int]:
    assert observation.work is not None
    counts: dict[tuple[str, str], int] = {}
    for group in observation.work.denoiser:
        key = (group.component, group.branch)
        counts[key] = counts.get(key, 0) + len(parse_steps(group.steps))
    return counts


def assert_same_work(observation: Observation, before: Observation) -> None:
    assert observation.work is not None
    assert before.work is not None
    assert calls(observation) == calls(before)
    assert observation.work.flops == before.work.flops
    assert observation.work.component_calls == before.work.component_calls
    assert observation.work.parameters == before.work.parameters
    assert observation.guidance is not None
    assert before.guidance is not None
    assert observation.guidance.guided_steps == before.guidance.guided_steps


@pytest.mark.full
def test_the_selected_attention_backend_runs(saved: Path, plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers.models import attention_dispatch

    registry = attention_dispatch._AttentionBackendRegistry
    native = attention_dispatch.AttentionBackendName.NATIVE
    math = attention_dispatch.AttentionBackendName._NATIVE_MATH
    ran: list[str] = []

    def counted(*args: Any, _function: Any = registry._backends[math], **kwargs: Any) -> Any:
        ran.append("math")
        return _function(*args, **kwargs)

    monkeypatch.setitem(registry._backends, math, counted)
    spec = spec_of("flux", attention="_native_math")
    pipeline = load(spec, saved)
    assert resolved(pipeline, spec) == {"attention": "_native_math"}
    assert registry._active_backend is native, "the process's own backend is for the pipelines that come after"
    observation, picture = measured(pipeline)
    assert ran
    assert observation.run.environment.software["transformer.attention_backend"] == "_native_math"
    assert_same_work(observation, plain["flux"][0])
    assert psnr_db(picture, plain["flux"][1]) > 40


@pytest.mark.full
@pytest.mark.parametrize("name", ["flux", "lumina2"])
def test_channels_last_and_slices_paint_the_same_picture(saved: Path, plain: Any, name: str) -> None:
    spec = spec_of(name, channels_last=True, vae_slicing=True)
    pipeline = load(spec, saved)
    assert resolved(pipeline, spec) == {"channels_last": True, "vae_slicing": True}
    assert pipeline.vae.decoder.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    observation, picture = measured(pipeline)
    assert_same_work(observation, plain[name][0])
    assert psnr_db(picture, plain[name][1]) > 40


@pytest.mark.full
def test_a_cache_without_skips_changes_nothing(saved: Path, plain: Any) -> None:
    observation, picture = measured(load(spec_of("flux", cache="first-block:0"), saved))
    assert_same_work(observation, plain["flux"][0])
    assert psnr_db(picture, plain["flux"][1]) > 40


def test_guidance_is_noticed_through_a_cache(saved: Path) -> None:
    pipeline = load(spec_of("flux", cache="first-block:100", attention="native", vae_slicing=True), saved)
    observation, _ = measured(pipeline, true_cfg_scale=4.0, negative_prompt="a blue square")
    assert calls(observation) == {("transformer", "cond"): STEPS, ("transformer", "uncond"): STEPS}
    assert observation.guidance is not None
    assert observation.guidance.guided_steps == STEPS
    assert [step.scale for step in observation.guidance.steps] == pytest.approx([4.0] * STEPS, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"attention": "native"}, r"attention='native' has no effect: .* Lumina2Transformer2DModel"),
        ({"cache": "first-block"}, r"cache='first-block': Lumina2Transformer2DModel has no caching hooks"),
        ({"compile": "regional"}, r"compile='regional': .*Lumina2Transformer2DModel.*Use compile='whole'"),
    ],
)
def test_what_can_have_no_effect_is_refused(saved: Path, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(PipelineError, match=expected):
        load(spec_of("lumina2", **options), saved)


@pytest.mark.parametrize("option", ["vae_tiling", "vae_slicing", "channels_last"])
def test_an_applied_option_is_noticed_on_a_pipeline(option: str) -> None:
    pipeline, spec = build_tiny("lumina2"), spec_with("lumina2", {option: True})
    with pytest.raises(PipelineError, match=f"{option}=True: nothing of it is to be seen"):
        check_applied(pipeline, spec)
    set_up(pipeline, spec)
    check_applied(pipeline, spec)
    assert resolved(pipeline, spec) == {option: True}


@pytest.mark.parametrize("option", ["vae_tiling", "vae_slicing", "channels_last"])
def test_a_pipeline_without_a_vae(option: str) -> None:
    pipeline = build_tiny("lumina2")
    pipeline.vae = None
    with pytest.raises(PipelineError, match=rf"{option}=True: Lumina2Pipeline has no VAE"):
        set_up(pipeline, spec_with("lumina2", {option: True}))


def make_lora(folder: Path, name: str, target: str = "transformer") -> Path:
    """A LoRA in diffusers' layout for the attention of a saved pipeline's transformer."""
    generator = torch.Generator().manual_seed(1)
    weights = {}
    for key, module in build_tiny(name).transformer.named_modules():
        if key.endswith((".to_q", ".to_k", ".to_v")):
            out, into = module.weight.shape
            weights[f"{target}.{key}.lora_A.weight"] = torch.randn(4, into, generator=generator) * 0.3
            weights[f"{target}.{key}.lora_B.weight"] = torch.randn(out, 4, generator=generator) * 0.3
    save_file(weights, folder / "lora.safetensors")
    return folder / "lora.safetensors"


@pytest.mark.parametrize("name", [pytest.param("flux", marks=pytest.mark.full), "lumina2"])
def test_a_lora_changes_the_picture_and_costs_work(saved: Path, plain: Any, tmp_path: Path, name: str) -> None:
    pytest.importorskip("peft")
    spec = spec_of(name, lora=str(make_lora(tmp_path, name)))
    pipeline = load(spec, saved)
    assert str(resolved(pipeline, spec)["lora"]).startswith("sha256:")
    observation, picture = measured(pipeline)
    before = plain[name][0].work
    assert observation.work is not None
    assert calls(observation) == calls(plain[name][0])
    assert observation.work.flops["transformer"] > before.flops["transformer"]
    assert observation.work.parameters["transformer"] > before.parameters["transformer"]
    assert observation.work.flops["vae.decode"] == before.flops["vae.decode"]
    assert psnr_db(picture, plain[name][1]) < 60


def test_a_lora_for_a_different_model_is_refused(saved: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    path = make_lora(tmp_path, "flux")
    with pytest.raises(PipelineError, match=r"lora\.safetensors' can't be loaded into Lumina2Pipeline"):
        load(spec_of("lumina2", lora=str(path)), saved)
    path = make_lora(tmp_path, "flux", target="nothing")
    with pytest.raises(PipelineError, match=r"lora='.*lora\.safetensors'"):
        load(spec_of("flux", lora=str(path)), saved)


def weight_bytes(module: Any) -> int:
    """Bytes that a module's parameters keep, those inside quantised ones included."""
    total = 0
    for parameter in module.parameters():
        inner, _ = getattr(parameter, "__tensor_flatten__", lambda: (None, None))()
        parts = [getattr(parameter, name) for name in inner] if inner else [parameter]
        total += sum(part.numel() * part.element_size() for part in parts)
    return total


@pytest.mark.parametrize("name", ["flux", "lumina2"])
@pytest.mark.parametrize("kind", ["int8", "float8"])
def test_quantised_weights_are_fewer_bytes_and_the_same_work(saved: Path, plain: Any, name: str, kind: str) -> None:
    pytest.importorskip("torchao")
    spec = spec_of(name, quantize=kind)
    pipeline = load(spec, saved)
    assert resolved(pipeline, spec) == {"quantize": f"torchao:{kind}"}
    before = weight_bytes(load(spec_of(name), saved).transformer)
    assert weight_bytes(pipeline.transformer) < 0.5 * before
    observation, picture = measured(pipeline)
    assert_same_work(observation, plain[name][0])
    assert 15 < psnr_db(picture, plain[name][1]) < 80


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["flux", "lumina2"])
def test_offload_by_groups_saves_memory_on_a_device(saved: Path, name: str) -> None:
    whole, _ = measured(load(spec_of(name, "cuda"), saved), "cuda")
    observation, _ = measured(load(spec_of(name, "cuda", offload="group"), saved), "cuda")
    assert_same_work(observation, whole)
    assert observation.memory is not None
    assert whole.memory is not None
    assert observation.memory.peak_bytes < whole.memory.peak_bytes


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["_native_flash", "_native_efficient", "_native_cudnn"])
def test_attention_backends_of_a_device(saved: Path, backend: str) -> None:
    whole, _ = measured(load(spec_of("flux", "cuda", "bfloat16"), saved), "cuda")
    spec = spec_of("flux", "cuda", "bfloat16", attention=backend)
    pipeline = load(spec, saved)
    assert resolved(pipeline, spec) == {"attention": backend}
    observation, _ = measured(pipeline, "cuda")
    assert_same_work(observation, whole)


@pytest.mark.gpu
@pytest.mark.parametrize("options", [{"compile": "regional"}, {"compile": "whole"}, {"quantize": "nf4"}], ids=repr)
def test_options_of_a_device(saved: Path, options: dict[str, Any]) -> None:
    if "quantize" in options:
        pytest.importorskip("bitsandbytes")
    pipeline = load(spec_of("flux", "cuda", "bfloat16", **options), saved)
    assert list(denoisers_in(pipeline)) == ["transformer"]
    observation, _ = measured(pipeline, "cuda")
    assert calls(observation) == {("transformer", "cond"): STEPS}
