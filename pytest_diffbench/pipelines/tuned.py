"""Applies a spec's tuning to a loaded pipeline, and tells what became of it.

An option that can't have effect on a pipeline is refused: a benchmark must not be named after what it didn't do.
"""

from __future__ import annotations

import contextlib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import PipelineError
from pytest_diffbench.pipelines.tuning import QUANTIZERS, cache_text, lora_digest, parse_cache, parse_quantize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

    from pytest_diffbench.records import Fact, PipelineSpec


def quantization(spec: PipelineSpec, denoisers: list[str]) -> dict[str, Any]:
    """The arguments of `from_pretrained` that quantise the denoisers; none where nothing is to be quantised.

    Raises:
        PipelineError: the package refuses.
    """
    if spec.tuning.quantize is None:
        return {}
    backend, kind = parse_quantize(spec.tuning.quantize)
    if not denoisers:
        raise PipelineError(f"quantize={spec.tuning.quantize!r}: the pipeline lists no transformer or UNet. Drop it.")
    diffusers = import_module("diffusers")
    try:
        config = _quantization_config(diffusers, backend, kind, spec.dtype)
        return {
            "quantization_config": diffusers.PipelineQuantizationConfig(
                quant_mapping=dict.fromkeys(denoisers, config)
            )
        }
    except Exception as error:  # whatever the package raises
        raise PipelineError(
            f"quantize={spec.tuning.quantize!r}: {QUANTIZERS[backend][1]} can't be used ({type(error).__name__}: "
            f"{error}). Install a version that this version of diffusers supports, or name another quantiser."
        ) from error


def set_up(pipeline: Any, spec: PipelineSpec) -> None:
    """Apply what must be there before a pipeline is placed on its device: LoRA, memory format, VAE, attention."""
    tuning = spec.tuning
    if tuning.lora is not None:
        _load_lora(pipeline, Path(tuning.lora))
    if tuning.channels_last:
        _set_channels_last(pipeline)
    for option, method in (("vae_tiling", "enable_tiling"), ("vae_slicing", "enable_slicing")):
        if getattr(tuning, option):
            _enable_on_vae(pipeline, option, method)
    if tuning.attention is not None:
        _set_attention(pipeline, tuning.attention)


def finish(pipeline: Any, spec: PipelineSpec) -> None:
    """Apply what must come last: caching hooks, then compiling, which would look into hooks that come later."""
    if spec.tuning.cache is not None:
        _enable_cache(pipeline, spec.tuning.cache)
    if spec.tuning.compile != "none":
        _compile(pipeline, spec.tuning.compile)


def check_applied(pipeline: Any, spec: PipelineSpec) -> None:
    """Hold a loaded pipeline against its spec's tuning: one that a plugin's hook loaded may have ignored it.

    Raises:
        PipelineError: naming the options of which nothing is to be seen.
    """
    tuning, parts = spec.tuning, denoisers_in(pipeline)
    checks: dict[str, Callable[[], Any]] = {
        "attention": lambda: bool(_attention_backends(pipeline)),
        "compile": lambda: any(is_compiled(part) for part in parts.values()),
        "channels_last": lambda: any(_has_channels_last(part) for part in _of_convolutions(pipeline)),
        "vae_tiling": lambda: getattr(pipeline.vae, "use_tiling", True),
        "vae_slicing": lambda: getattr(pipeline.vae, "use_slicing", True),
        "quantize": lambda: any(is_quantized(part) for part in parts.values()),
        "lora": lambda: any(pipeline.get_list_adapters().values()),
        "cache": lambda: any(_has_hooks(part) for part in parts.values()),
    }
    default = type(tuning)()
    asked = [name for name in checks if getattr(tuning, name) != getattr(default, name)]
    ignored = [f"{name}={getattr(tuning, name)!r}" for name in asked if not checks[name]()]
    if ignored:
        raise PipelineError(
            f"{', '.join(ignored)}: nothing of it is to be seen on the {type(pipeline).__name__} that "
            "pytest_diffbench_load_pipeline returned. Let the hook apply spec.tuning, or drop the option."
        )


def resolved(pipeline: Any, spec: PipelineSpec) -> dict[str, Fact]:
    """What a spec's tuning came to on a loaded pipeline, as a case's definition keeps it; empty without tuning."""
    tuning = spec.tuning
    facts: dict[str, Fact] = {}
    if tuning.attention is not None:
        facts["attention"] = ", ".join(sorted(set(_attention_backends(pipeline))))
    if tuning.compile != "none":
        facts["compile"] = tuning.compile
    if tuning.channels_last:
        facts["channels_last"] = True
    for option, switch in (("vae_tiling", "use_tiling"), ("vae_slicing", "use_slicing")):
        if getattr(tuning, option):
            facts[option] = bool(getattr(pipeline.vae, switch, True))
    if tuning.quantize is not None:
        facts["quantize"] = ":".join(parse_quantize(tuning.quantize))
    if tuning.lora is not None:
        facts["lora"] = lora_digest(Path(tuning.lora))
    if tuning.cache is not None:
        facts["cache"] = cache_text(tuning.cache)
    return facts


def denoisers_in(pipeline: Any) -> dict[str, Any]:
    """The models of diffusers in a pipeline that neither encode nor decode: transformers, UNets, priors."""
    model: Any = import_module("diffusers").ModelMixin
    return {
        name: part
        for name, part in pipeline.components.items()
        if isinstance(part, model) and not (hasattr(part, "encode") and hasattr(part, "decode"))
    }


def is_compiled(module: nn.Module) -> bool:
    """Whether torch.compile has a hand in a module, in any part of it, or in a method such as `vae.decode`."""
    return any(_is_compiled_itself(part) for part in module.modules())


def _is_compiled_itself(part: nn.Module) -> bool:
    # A module searches three dictionaries for what it lacks, and each measurement asks thousands of them.
    own = vars(part)
    return (
        "_orig_mod" in part._modules
        or own.get("_compiled_call_impl") is not None
        or hasattr(part.forward, "_torchdynamo_orig_callable")
        or any(callable(value) and hasattr(value, "_torchdynamo_orig_callable") for value in own.values())
    )


def is_quantized(module: Any) -> bool:
    """Whether a model was loaded quantised, so that its parameters aren't plain tensors."""
    return getattr(module, "hf_quantizer", None) is not None


def _quantization_config(diffusers: Any, backend: str, kind: str, dtype: str) -> Any:
    if backend == "torchao":
        ao: Any = import_module("torchao.quantization")
        names = {"int8": "Int8WeightOnlyConfig", "float8": "Float8WeightOnlyConfig"}
        return diffusers.TorchAoConfig(getattr(ao, names[kind])())
    compute = getattr(import_module("torch"), dtype)
    return diffusers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_compute_dtype=compute)


def _load_lora(pipeline: Any, path: Path) -> None:
    kind = type(pipeline).__name__
    if not hasattr(pipeline, "load_lora_weights"):
        raise PipelineError(f"lora={str(path)!r}: {kind} doesn't support LoRA. Drop it, or use another pipeline.")
    try:
        pipeline.load_lora_weights(
            str(path.parent), weight_name=path.name, local_files_only=True, use_safetensors=True
        )
        adapters = pipeline.get_list_adapters()
    except Exception as error:  # diffusers and peft raise all kinds
        raise PipelineError(
            f"lora={str(path)!r} can't be loaded into {kind}: {type(error).__name__}: {error}. "
            "Use a LoRA for this model."
        ) from error
    if not any(adapters.values()):
        raise PipelineError(
            f"lora={str(path)!r}: none of its weights belongs to a part of {kind}. Use a LoRA for this model."
        )


def _set_channels_last(pipeline: Any) -> None:
    import torch

    parts = _of_convolutions(pipeline)
    if not any(parameter.ndim == 4 for part in parts for parameter in part.parameters()):
        raise PipelineError(
            f"channels_last=True: {type(pipeline).__name__} has no VAE or UNet with two-dimensional convolutions, "
            "the only layers with a memory format. Drop it."
        )
    for part in parts:
        part.to(memory_format=torch.channels_last)


def _of_convolutions(pipeline: Any) -> list[Any]:
    parts = (getattr(pipeline, name, None) for name in ("vae", "unet"))
    return [part for part in parts if part is not None]


def _has_channels_last(part: Any) -> bool:
    import torch

    kernels = [parameter for parameter in part.parameters() if parameter.ndim == 4 and min(parameter.shape[1:]) > 1]
    return any(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


def _enable_on_vae(pipeline: Any, option: str, method: str) -> None:
    vae = getattr(pipeline, "vae", None)
    what = f"{type(pipeline).__name__} has no VAE"
    if vae is not None:
        what = f"{type(vae).__name__} has no {method}"
        try:
            getattr(vae, method)()
        except (AttributeError, NotImplementedError):
            pass
        else:
            return
    raise PipelineError(f"{option}=True: {what}. Drop it, or use another pipeline.")


def _set_attention(pipeline: Any, name: str) -> None:
    switchable = {key: part for key, part in denoisers_in(pipeline).items() if hasattr(part, "set_attention_backend")}
    try:
        with _active_backend_kept():
            for part in switchable.values():
                part.set_attention_backend(name)
    except Exception as error:  # the backends' packages raise all kinds
        raise PipelineError(
            f"attention={name!r} can't be set: {error}. Use 'native', or install what it needs."
        ) from error
    if not _attention_backends(pipeline):
        kinds = sorted({type(part).__name__ for part in denoisers_in(pipeline).values()})
        raise PipelineError(
            f"attention={name!r} has no effect: no attention processor of {', '.join(kinds) or 'this pipeline'} "
            "has a choice of backends in this version of diffusers. Drop it."
        )


@contextlib.contextmanager
def _active_backend_kept() -> Iterator[None]:
    """Keep the process's own backend: setting a model's changes it too, also for pipelines that come after."""
    registry = import_module("diffusers.models.attention_dispatch")._AttentionBackendRegistry
    before = registry._active_backend
    try:
        yield
    finally:
        registry._active_backend = before


def _attention_backends(pipeline: Any) -> list[str]:
    """The backend of each attention processor that has one of its own."""
    chosen = [
        getattr(getattr(module, "processor", None), "_attention_backend", None)
        for part in denoisers_in(pipeline).values()
        for module in part.modules()
    ]
    return [str(getattr(backend, "value", backend)) for backend in chosen if backend is not None]


def _enable_cache(pipeline: Any, value: str) -> None:
    kind, given = parse_cache(value)
    diffusers = import_module("diffusers")
    parts = {name: part for name, part in denoisers_in(pipeline).items() if hasattr(part, "enable_cache")}
    if not parts:
        kinds = sorted({type(part).__name__ for part in denoisers_in(pipeline).values()})
        raise PipelineError(
            f"cache={value!r}: {', '.join(kinds) or type(pipeline).__name__} has no caching hooks in this version "
            "of diffusers. Drop it, or use a pipeline whose transformer has enable_cache."
        )
    arguments: dict[str, Any] = dict(given)
    if kind.timed:
        arguments["current_timestep_callback"] = lambda: _timestep(pipeline)
    if kind.config == "FasterCacheConfig":
        arguments.setdefault("is_guidance_distilled", _is_distilled(parts))
    for name, part in parts.items():
        try:
            part.enable_cache(getattr(diffusers, kind.config)(**arguments))
        except Exception as error:  # hooks that don't know a model's blocks raise all kinds
            raise PipelineError(
                f"cache={value!r} can't be enabled on {name} ({type(part).__name__}): {type(error).__name__}: "
                f"{error}. Use another cache, or drop it."
            ) from error
        if not _has_hooks(part):
            raise PipelineError(
                f"cache={value!r} has no effect: it has no layer to hook in {name} ({type(part).__name__}). Use "
                "another cache, or drop it."
            )


def _has_hooks(part: Any) -> bool:
    return any(getattr(getattr(module, "_diffusers_hook", None), "hooks", None) for module in part.modules())


def _timestep(pipeline: Any) -> Any:
    step = getattr(pipeline, "current_timestep", getattr(pipeline, "_current_timestep", None))
    # Pipelines set it to None when their loop is over, and one that never sets it caches nothing.
    return -1 if step is None else step


def _is_distilled(parts: dict[str, Any]) -> bool:
    return any(getattr(part.config, "guidance_embeds", False) for part in parts.values())


def _compile(pipeline: Any, how: str) -> None:
    for name, part in denoisers_in(pipeline).items():
        if how == "whole":
            part.compile()
            continue
        try:
            part.compile_repeated_blocks()
        except (AttributeError, ValueError):
            raise PipelineError(
                f"compile='regional': diffusers names no repeated blocks of {name} ({type(part).__name__}). "
                "Use compile='whole'."
            ) from None
