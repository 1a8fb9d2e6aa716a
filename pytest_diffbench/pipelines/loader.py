"""Turns a spec into a pipeline that is ready to be called: built or loaded, in its dtype, on its device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pytest_diffbench.errors import PipelineError, did_you_mean, option
from pytest_diffbench.pipelines import tuned
from pytest_diffbench.pipelines.dtypes import parse_dtype
from pytest_diffbench.pipelines.folders import model_for
from pytest_diffbench.pipelines.full_size import build_full_size
from pytest_diffbench.pipelines.imports import import_pipeline_class, import_torch
from pytest_diffbench.pipelines.mini import build_mini
from pytest_diffbench.pipelines.pretrained import load_pretrained
from pytest_diffbench.pipelines.random_weights import build_random
from pytest_diffbench.pipelines.registry import MODELS
from pytest_diffbench.pipelines.tuning import check_tuning
from pytest_diffbench.pipelines.unloaded import pipeline_in

if TYPE_CHECKING:
    from pathlib import Path

    from diffusers import DiffusionPipeline

    from pytest_diffbench.records import PipelineSpec, Weights

__all__ = ["default_dtype", "load", "parse_dtype", "resolve_device"]

_ALIGNMENT_BYTES = 64
"""Of torch's own CPU allocations."""

_DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")


def resolve_device(name: str) -> str:
    """Turn the name of a device into one that exists.

    Args:
        name: `auto` for the best there is (`cuda`, else `mps`, else `cpu`), or a type of device with or without an
            index: `cuda`, `cuda:1`.

    Returns:
        The name as torch spells it; an index is kept, none is added.

    Raises:
        PipelineError: no such type of device, none of it on this machine, or fewer than the index says.
    """
    import_torch()
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in _DEVICES:
        hint = did_you_mean("cuda" if name.lower() == "gpu" else name, _DEVICES)
        raise PipelineError(f"device={name!r} isn't known{hint}. Use one of {', '.join(_DEVICES)}, or cuda:<index>.")
    count = _device_count(device.type)
    if not count:
        raise PipelineError(
            f"device={name!r}: torch {torch.__version__} finds no {device.type} device on this machine. Check the "
            f"driver and that torch was built for {device.type}, or let the device be auto."
        )
    if device.index is not None and device.index >= count:
        valid = f"{device.type}:0" if count == 1 else f"{device.type}:0 to {device.type}:{count - 1}"
        raise PipelineError(
            f"device={name!r}: there {'is' if count == 1 else 'are'} only {valid}. Use a lower index."
        )
    return str(device)


def default_dtype(device: str, weights: Weights) -> str:
    """Name the dtype in which a pipeline runs unless told otherwise.

    `float32` on a CPU, where half precision is slow and coarse, and for minis, which so have the same work and nearly
    the same pictures on every device; `bfloat16`, in which the models are published, elsewhere, and for plans, which
    compute nothing.
    """
    if weights == "plan":
        return "bfloat16"
    return "float32" if weights == "mini" or device.partition(":")[0] == "cpu" else "bfloat16"


def load(spec: PipelineSpec, folder: Path | None = None, *, download: bool = False) -> DiffusionPipeline:
    """Build or load the pipeline that a spec describes.

    The pipeline has its progress bar off; torch's random state and defaults are left as they were.

    Args:
        spec: with a device and dtype as `resolve_device` and `parse_dtype` take them.
        folder: where pretrained weights are looked for; see `pretrained.load_pretrained`.
        download: whether those that aren't here may be fetched from the hub.

    Raises:
        PipelineError: something in the spec can't be had.
    """
    model = model_for(spec.model, folder)
    if model.name not in MODELS and spec.weights not in ("pretrained", "plan"):
        raise PipelineError(
            f"weights={spec.weights!r}: {model.name} has only the weights in its folder. Use "
            f"{option('weights')}=pretrained, or plan."
        )
    device = resolve_device(spec.device)
    check_tuning(msgspec.structs.replace(spec, device=device))
    if spec.offload in ("model", "sequential") and device.partition(":")[0] == "cpu":
        raise PipelineError(
            f"offload={spec.offload!r} moves weights between an accelerator and the CPU, but device={spec.device!r} "
            f"is the CPU. Drop offload, or name an accelerator with {option('device')}."
        )
    if spec.offload == "group" and spec.weights == "plan":
        raise PipelineError("offload='group' has no effect with weights='plan', which computes no values. Drop it.")
    import_pipeline_class(model.pipeline_class if model.name in MODELS else None)
    pipeline: Any  # diffusers' classes are opaque to type checkers
    match spec.weights:
        case "mini":
            pipeline = build_mini(model, parse_dtype(spec.dtype))
        case "random":
            pipeline = build_random(model, parse_dtype(spec.dtype), device, offload=spec.offload)
        case "pretrained":
            pipeline = load_pretrained(spec, model, folder, download=download)
        case "plan":
            if model.name not in MODELS and folder is not None:
                pipeline, _ = pipeline_in(folder, parse_dtype(spec.dtype))
            else:
                pipeline = build_full_size(model, parse_dtype(spec.dtype))
            pipeline.set_progress_bar_config(disable=True)
            return pipeline  # type: ignore[no-any-return]  # as above; there's nothing to place
        case _:
            raise PipelineError(
                f"weights={spec.weights!r} can't be loaded for model={spec.model!r}. "
                "Use mini, plan, random or pretrained."
            )
    tuned.set_up(pipeline, spec)
    _place(pipeline, device, spec)
    tuned.finish(pipeline, spec)
    pipeline.set_progress_bar_config(disable=True)
    loaded: DiffusionPipeline = pipeline
    return loaded


def _place(pipeline: Any, device: str, spec: PipelineSpec) -> None:
    if spec.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif spec.offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    elif spec.offload == "group":
        _offload_groups(pipeline, device)
    elif device == "cpu":
        _align(pipeline)
    else:
        pipeline.to(device)


def _offload_groups(pipeline: Any, device: str) -> None:
    import torch

    if not hasattr(pipeline, "enable_group_offload"):
        raise PipelineError(
            f"offload='group': {type(pipeline).__name__} can't offload by groups in this version of diffusers. Use "
            "'model'."
        )
    if device == "cpu":
        _align(pipeline)
    try:
        # One block at a time, and no streams: the least memory, on every kind of device.
        pipeline.enable_group_offload(
            onload_device=torch.device(device), offload_type="block_level", num_blocks_per_group=1
        )
    except Exception as error:  # of models whose blocks it can't take apart
        raise PipelineError(
            f"offload='group' can't be enabled on {type(pipeline).__name__}: {type(error).__name__}: {error}. "
            "Use 'model'."
        ) from error


def _align(pipeline: Any) -> None:
    """Copy parameters that lie in a mapped file, at whatever address the file gives them, into memory of their own.

    Matrix products round differently at an odd address, so that a saved and loaded pipeline would paint another
    picture; and pages that are read from disk in the middle of a round would be timed.
    """
    import torch

    for component in pipeline.components.values():
        if isinstance(component, torch.nn.Module) and not tuned.is_quantized(component):
            for parameter in component.parameters():
                if parameter.data_ptr() % _ALIGNMENT_BYTES:
                    parameter.data = parameter.data.clone()


def _device_count(kind: str) -> int:
    import torch

    if kind == "cuda":
        return torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    return torch.xpu.device_count() if kind == "xpu" else 1
