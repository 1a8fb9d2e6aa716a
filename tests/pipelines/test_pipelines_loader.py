"""The loader: devices, dtypes, offload, and that it leaves the process as it found it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from tiny_pipelines import build_tiny

from pytest_diffbench.errors import PipelineError
from pytest_diffbench.pipelines import loader
from pytest_diffbench.pipelines.folders import FOLDER_MODEL
from pytest_diffbench.pipelines.loader import default_dtype, load, parse_dtype, resolve_device
from pytest_diffbench.pipelines.registry import MODELS
from pytest_diffbench.placeholders.tensors import Placeholder
from pytest_diffbench.records import PipelineSpec

if TYPE_CHECKING:
    from pathlib import Path


def spec_with(**changes: Any) -> PipelineSpec:
    return PipelineSpec(**{"model": "lumina2", "weights": "mini", "device": "cpu", "dtype": "float32", **changes})


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize(
    ("names", "dtype"),
    [
        (("float32", "fp32", "torch.float32", "FP32"), torch.float32),
        (("bfloat16", "bf16"), torch.bfloat16),
        (("float16", "fp16"), torch.float16),
    ],
)
def test_parse_dtype(names: tuple[str, ...], dtype: torch.dtype) -> None:
    assert {parse_dtype(name) for name in names} == {dtype}


@pytest.mark.parametrize(("name", "nearest"), [("bfloat", "bfloat16"), ("f16", "fp16"), ("int8", None)])
def test_unknown_dtype_names_the_nearest_and_all(name: str, nearest: str | None) -> None:
    with pytest.raises(PipelineError) as caught:
        parse_dtype(name)
    assert repr(name) in str(caught.value)
    assert "float32, fp32, bfloat16, bf16, float16, fp16" in str(caught.value)
    assert (f"did you mean {nearest!r}?" in str(caught.value)) is (nearest is not None)


def test_default_dtype() -> None:
    assert default_dtype("cpu", "mini") == default_dtype("cpu", "pretrained") == "float32"
    assert default_dtype("cuda", "pretrained") == default_dtype("cuda:1", "random") == "bfloat16"
    assert default_dtype("mps", "pretrained") == "bfloat16"
    assert default_dtype("cuda", "mini") == "float32"


def test_auto_without_an_accelerator(no_gpu: None) -> None:
    assert resolve_device("auto") == "cpu"


def test_auto_prefers_cuda_then_mps(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_device("auto") == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto") == resolve_device("mps") == "mps"


def test_existing_named_devices(two_gpus: None) -> None:
    assert [resolve_device(name) for name in ("cpu", "cuda", "cuda:0", "cuda:1")] == [
        "cpu",
        "cuda",
        "cuda:0",
        "cuda:1",
    ]


def test_index_beyond_the_devices_there_are(two_gpus: None) -> None:
    with pytest.raises(PipelineError, match=r"device='cuda:3': there are only cuda:0 to cuda:1"):
        resolve_device("cuda:3")
    with pytest.raises(PipelineError, match=r"device='cpu:1': there is only cpu:0"):
        resolve_device("cpu:1")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_device_absent_from_the_machine(no_gpu: None, name: str) -> None:
    with pytest.raises(PipelineError, match=rf"device='{name}': torch .* finds no .* let the device be auto"):
        resolve_device(name)


@pytest.mark.parametrize(
    ("name", "nearest"), [("gpu", "cuda"), ("Cuda", "cuda"), ("meta", None), ("cuda:-1", "cuda")]
)
def test_unknown_device(name: str, nearest: str | None) -> None:
    with pytest.raises(PipelineError) as caught:
        resolve_device(name)
    assert f"device={name!r} isn't known" in str(caught.value)
    assert nearest is None or f"did you mean {nearest!r}?" in str(caught.value)


@pytest.mark.pipeline
@pytest.mark.parametrize("model", MODELS)
def test_load_leaves_the_process_unchanged(model: str) -> None:
    before = torch.get_rng_state(), torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    pipeline: Any = load(spec_with(model=model, dtype="bf16"))
    after = torch.get_rng_state(), torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()

    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert type(pipeline).__name__ == MODELS[model].pipeline_class
    assert pipeline.dtype == torch.bfloat16
    assert pipeline.device.type == "cpu"
    assert not pipeline.transformer.training
    assert pipeline.progress_bar(range(2)).disable


@pytest.mark.pipeline
@pytest.mark.parametrize("model", MODELS)
def test_a_loaded_mini_paints_the_very_same_picture(model: str, tmp_path: Any) -> None:
    built: Any = load(spec_with(model=model))
    built.save_pretrained(tmp_path)
    loaded: Any = load(spec_with(model=model, weights="pretrained"), tmp_path)
    arguments: dict[str, Any] = {**MODELS[model].mini_recommended, "num_inference_steps": 4, "output_type": "pt"}
    picture, other = (
        pipeline("a red circle", generator=torch.Generator().manual_seed(0), **arguments)[0]
        for pipeline in (built, loaded)
    )
    assert torch.equal(picture, other)


def test_a_plan_of_a_folder_has_the_class_and_size_in_the_folder(tmp_path: Path, real_libraries: None) -> None:
    tiny = build_tiny("flux")
    tiny.save_pretrained(tmp_path)
    planned: Any = load(spec_with(model=FOLDER_MODEL, weights="plan"), tmp_path)
    assert type(planned) is type(tiny)
    weight = planned.transformer.proj_out.weight
    assert isinstance(weight, Placeholder)
    assert weight.shape == tiny.transformer.proj_out.weight.shape


def test_unloadable_weights() -> None:
    with pytest.raises(PipelineError, match=r"weights='own' can't be loaded .* mini, plan, random or pretrained"):
        load(spec_with(weights="own"))


def test_unknown_model() -> None:
    with pytest.raises(PipelineError, match="did you mean 'lumina2'"):
        load(spec_with(model="lumina3"))


@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_offload_needs_an_accelerator(no_gpu: None, offload: str) -> None:
    with pytest.raises(PipelineError, match=rf"offload='{offload}' .* device='auto' is the CPU. Drop offload"):
        load(spec_with(offload=offload, device="auto"))


@pytest.mark.parametrize(
    ("offload", "expected"),
    [
        ("none", ["to cuda:1"]),
        ("model", ["enable_model_cpu_offload cuda:1"]),
        ("sequential", ["enable_sequential_cpu_offload cuda:1"]),
    ],
)
def test_placing_on_an_accelerator(
    two_gpus: None, monkeypatch: pytest.MonkeyPatch, offload: str, expected: list[str]
) -> None:
    calls: list[str] = []

    class Recorder:
        def to(self, device: str) -> None:
            calls.append(f"to {device}")

        def enable_model_cpu_offload(self, device: str) -> None:
            calls.append(f"enable_model_cpu_offload {device}")

        def enable_sequential_cpu_offload(self, device: str) -> None:
            calls.append(f"enable_sequential_cpu_offload {device}")

        def set_progress_bar_config(self, *, disable: bool) -> None:
            assert disable

    monkeypatch.setattr(loader, "build_mini", lambda *_: Recorder())
    load(spec_with(device="cuda:1", offload=offload))
    assert calls == expected
