"""Drawn weights on a CUDA device: the CPU's own, and models of full size that paint at full size."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest
import torch
from narrow_models import NARROW

from pytest_diffbench.pipelines.free_memory import free_bytes
from pytest_diffbench.pipelines.full_size import placeholder_components
from pytest_diffbench.pipelines.loader import load
from pytest_diffbench.pipelines.random_weights import build_random
from pytest_diffbench.pipelines.registry import MODELS
from pytest_diffbench.records import PipelineSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_diffbench.records import Offload

pytestmark = [pytest.mark.gpu, pytest.mark.pipeline]

PROMPT = "a large red circle on a blue background"
ACTIVATIONS_BYTES = 6 << 30
"""Room beside the weights that the tests ask for: about four times what plans estimate for a picture's decoding."""


@pytest.fixture(autouse=True)
def memory_given_back() -> Iterator[None]:
    yield
    gc.collect()
    torch.cuda.empty_cache()


def weights_bytes(name: str) -> int:
    components = placeholder_components(MODELS[name], torch.bfloat16)
    return sum(parameter.numel() * 2 for module in components.values() for parameter in module.parameters())


def need(device: str, needed_bytes: int) -> None:
    free = free_bytes(device)
    if free is not None and free < needed_bytes:
        pytest.skip(f"needs {needed_bytes / 2**30:.1f} GiB on {device}, and {free / 2**30:.1f} GiB are free")


def full_size(name: str, offload: Offload = "none") -> Any:
    return load(PipelineSpec(model=name, weights="random", device="cuda", dtype="bfloat16", offload=offload))


def image_of(pipeline: Any, **arguments: Any) -> torch.Tensor:
    generator = torch.Generator("cpu").manual_seed(0)
    images: torch.Tensor = pipeline(PROMPT, generator=generator, output_type="pt", **arguments).images
    return images.float().cpu()


@pytest.mark.parametrize("name", ["lumina2", "flux"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=["bfloat16", "float32"])
def test_weights_and_tables_match_the_cpu(name: str, dtype: torch.dtype) -> None:
    here = build_random(MODELS[name], dtype, "cpu", parts=NARROW).components
    there = build_random(MODELS[name], dtype, "cuda", parts=NARROW).components
    for key, module in here.items():
        if not isinstance(module, torch.nn.Module):
            continue
        other = there[key]
        assert all(tensor.is_cuda for tensor in (*other.parameters(), *other.buffers()))
        values = dict(other.named_parameters()) | dict(other.named_buffers())
        tensors = dict(module.named_parameters()) | dict(module.named_buffers())
        assert tensors.keys() == values.keys()
        assert all(value.equal(values[path].cpu()) for path, value in tensors.items())


@pytest.mark.parametrize("name", ["lumina2", "flux"])
def test_a_model_of_full_size_paints_at_full_size(name: str) -> None:
    weights = weights_bytes(name)
    need("cuda", weights + ACTIVATIONS_BYTES)
    before = torch.cuda.memory_allocated()
    pipeline = full_size(name)
    assert torch.cuda.memory_allocated() - before == pytest.approx(weights, rel=0.02)
    latents: list[float] = []
    step = pipeline.scheduler.step

    def watched(*args: Any, **kwargs: Any) -> Any:
        result = step(*args, **kwargs)
        latents.append(result[0].float().std().item())
        return result

    pipeline.scheduler.step = watched
    call = dict(MODELS[name].recommended) | {"num_inference_steps": 4}
    image = image_of(pipeline, **call)
    assert image.shape == (1, 3, 1024, 1024)
    assert image.isfinite().all()
    assert image.std() > 0.02
    assert len(latents) == 4
    assert all(0.1 < deviation < 10 for deviation in latents), latents


def test_a_model_of_full_size_is_offloaded() -> None:
    weights = weights_bytes("lumina2")
    need("cpu", 2 * weights)
    need("cuda", weights + ACTIVATIONS_BYTES)
    call = {"num_inference_steps": 2, "height": 256, "width": 256}
    pipeline = full_size("lumina2")
    expected = image_of(pipeline, **call)
    del pipeline
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    pipeline = full_size("lumina2", offload="model")
    assert torch.cuda.memory_allocated() - before < 1 << 30
    image = image_of(pipeline, **call)
    # two components of about 4.9 GiB take turns
    assert torch.cuda.max_memory_allocated() - before < 0.9 * weights
    assert (image - expected).abs().max() < 0.1
    pipeline.remove_all_hooks()
