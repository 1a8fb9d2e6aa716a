"""Reads what a spec's tuning asks for, before a pipeline is there: names, parameters, files and packages.

Nothing here touches a pipeline; `tuned` does.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from functools import cache
from importlib import import_module, util
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import PipelineError, did_you_mean, option

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_diffbench.records import Fact, PipelineSpec

QUANTIZERS: Mapping[str, tuple[str, str, tuple[str, ...]]] = MappingProxyType(
    {
        "torchao": ("torchao", "torchao", ("int8", "float8")),
        "bitsandbytes": ("bitsandbytes", "bitsandbytes", ("nf4", "fp4")),
    }
)
"""By the name of diffusers' quantiser: the module it needs, the package that has it, and the types of weights.

Not quanto, nor bitsandbytes' int8, nor torchao's int4, whose kernels come with another package, mslk: they multiply
in operations of their own, whose FLOPs torch can't count, so that a call's work would seem to shrink."""

_CUDA_ALONE = ("_native_cudnn", "_native_efficient", "_native_flash")
"""Backends that diffusers names native and torch implements, yet not on every device."""


@dataclasses.dataclass(frozen=True, slots=True)
class CacheKind:
    """A caching hook of diffusers.

    Attributes:
        config: name of its configuration's class in `diffusers`.
        main: the parameter that a bare number is.
        given: parameters that differ from the class's defaults, which leave the hook without effect on an image.
        timed: whether it asks for the current time step.
        by_values: whether what it skips depends on what tensors hold.
    """

    config: str
    main: str
    given: Mapping[str, Fact] = dataclasses.field(default_factory=dict)
    timed: bool = False
    by_values: bool = False


CACHES: Mapping[str, CacheKind] = MappingProxyType(
    {
        "first-block": CacheKind("FirstBlockCacheConfig", "threshold", by_values=True),
        "pyramid": CacheKind(
            "PyramidAttentionBroadcastConfig",
            "spatial_attention_block_skip_range",
            MappingProxyType({"spatial_attention_block_skip_range": 2}),
            timed=True,
        ),
        "faster": CacheKind(
            "FasterCacheConfig",
            "spatial_attention_block_skip_range",
            MappingProxyType({"tensor_format": "BCHW"}),
            timed=True,
        ),
        "taylorseer": CacheKind("TaylorSeerCacheConfig", "cache_interval"),
    }
)
"""By the name that `cache=` has for it. MagCache isn't among them: its ratios are measured for each checkpoint."""


def check_tuning(spec: PipelineSpec) -> None:
    """Find out before anything is loaded whether all that a spec's tuning names exists.

    Raises:
        PipelineError: naming the option, its value and the remedy.
    """
    tuning = spec.tuning
    if (asked := options_of(spec)) and spec.weights == "plan":
        raise PipelineError(
            f"{asked[0]} has no effect with weights='plan', which computes no values. Drop it, or use other weights."
        )
    if tuning.attention is not None:
        _check_attention(tuning.attention, spec.device)
    if tuning.quantize is not None:
        _check_quantize(tuning.quantize, spec.weights)
    if tuning.lora is not None:
        _check_lora(Path(tuning.lora))
    if tuning.cache is not None:
        kind, _ = parse_cache(tuning.cache)
        if kind.by_values and spec.weights == "random":
            raise PipelineError(
                f"cache={tuning.cache!r} skips blocks whose output changes little, which depends on the values of "
                "weights: with weights='random' it would do work that no real model does. Use pyramid, faster or "
                f"taylorseer, or {option('weights')}=pretrained."
            )


def options_of(spec: PipelineSpec) -> list[str]:
    """The options that a spec's tuning sets, as they stand in a marker: `attention='native'`."""
    default = type(spec.tuning)()
    return [
        f"{name}={value!r}"
        for name in spec.tuning.__struct_fields__
        if (value := getattr(spec.tuning, name)) != getattr(default, name)
    ]


def parse_quantize(value: str) -> tuple[str, str]:
    """Read `int8` or `torchao:int8` into the quantiser's name and the type of weights."""
    backend, colon, kind = value.rpartition(":")
    backend = backend if colon else "bitsandbytes" if kind in ("nf4", "fp4") else "torchao"
    if backend not in QUANTIZERS:
        raise PipelineError(_unknown(f"quantize={value!r}: the quantiser {backend!r}", backend, QUANTIZERS))
    kinds = QUANTIZERS[backend][2]
    if kind not in kinds:
        raise PipelineError(_unknown(f"quantize={value!r}: the type {kind!r} of {backend}", kind, kinds))
    return backend, kind


def parse_cache(value: str) -> tuple[CacheKind, dict[str, Fact]]:
    """Read `first-block`, `first-block:0.1` or `taylorseer:cache_interval=3,max_order=1`.

    Returns:
        The hook, and the parameters that differ from its class's defaults.

    Raises:
        PipelineError: no such hook in this diffusers, no such parameter, or a value that isn't one.
    """
    name, _, rest = value.partition(":")
    if name not in CACHES:
        raise PipelineError(_unknown(f"cache={value!r}: {name!r}", name, CACHES))
    kind = CACHES[name]
    fields = _cache_fields(value, kind)
    given = dict(kind.given)
    for part in filter(None, (piece.strip() for piece in rest.split(","))):
        key, equals, text = part.partition("=")
        key, text = (key.strip(), text.strip()) if equals else (kind.main, part)
        if key not in fields:
            raise PipelineError(_unknown(f"cache={value!r}: the parameter {key!r} of {kind.config}", key, fields))
        given[key] = _scalar(value, key, text, fields[key])
    return kind, given


def cache_text(value: str) -> str:
    """A cache with its parameters written out, so that two ways of writing one are equal."""
    _, given = parse_cache(value)
    return value.partition(":")[0] + (":" if given else "") + ",".join(f"{k}={v}" for k, v in sorted(given.items()))


def lora_digest(path: Path) -> str:
    """Identity of a LoRA's file: `sha256:` and sixteen hexadecimal digits."""
    stat = path.stat()
    return _digest(path, stat.st_size, stat.st_mtime_ns)


@cache
def _digest(path: Path, _size: int, _changed_ns: int) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"


def installed(module: str) -> bool:
    """Whether a module could be imported, without importing it."""
    try:
        return util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent isn't there
        return False


def _check_attention(name: str, device: str) -> None:
    try:
        dispatch = import_module("diffusers.models.attention_dispatch")
    except ImportError:
        raise PipelineError(
            f"attention={name!r}: this version of diffusers has no choice of attention backends. Install 0.36 or "
            "later."
        ) from None
    known = [str(backend.value) for backend in dispatch.AttentionBackendName]
    if name not in known:
        raise PipelineError(
            _unknown(f"attention={name!r}", name, [backend for backend in known if not _from_hub(backend)])
        )
    if _from_hub(name):
        raise PipelineError(
            f"attention={name!r} needs code from the hub, which is never run. Install the package that "
            f"has the kernel, and name it: attention={name.removesuffix('_hub')!r}."
        )
    if name in _CUDA_ALONE and not device.startswith("cuda"):
        raise PipelineError(
            f"attention={name!r} runs on CUDA devices, and device={device!r} isn't one. Use 'native' or "
            f"'_native_math', or name another device with {option('device')}."
        )
    try:
        dispatch._check_attention_backend_requirements(dispatch.AttentionBackendName(name))
    except (RuntimeError, ImportError) as error:
        raise PipelineError(
            f"attention={name!r} can't be used here: {error}. Install what it needs, or use 'native'."
        ) from None


def _from_hub(name: str) -> bool:
    return name.endswith("_hub")


def _check_quantize(value: str, weights: str) -> None:
    backend, _ = parse_quantize(value)
    if weights != "pretrained":
        raise PipelineError(
            f"quantize={value!r} works while pretrained weights are loaded, and weights={weights!r} aren't. "
            f"Drop it, or use {option('weights')}=pretrained."
        )
    module, package, _ = QUANTIZERS[backend]
    if not installed(module):
        raise PipelineError(
            f"quantize={value!r} needs the package {package}, which isn't installed. Run `pip install {package}`, "
            "or name another quantiser."
        )


def _check_lora(path: Path) -> None:
    if path.suffix != ".safetensors":
        raise PipelineError(
            f"lora={str(path)!r}: only .safetensors is loaded, since a pickle can run code. Convert the file."
        )
    if not path.is_file():
        raise PipelineError(f"lora={str(path)!r}: there is no such file. Check the path, or download the LoRA.")
    if not installed("peft"):
        raise PipelineError(
            f"lora={str(path)!r} needs the package peft, which isn't installed. Run `pip install peft`, or drop lora."
        )


def _cache_fields(value: str, kind: CacheKind) -> dict[str, type]:
    """The parameters of a cache that a text can give, with the type of each."""
    config = getattr(import_module("diffusers"), kind.config, None)
    if config is None:
        raise PipelineError(f"cache={value!r}: this version of diffusers has no {kind.config}. Install a later one.")
    types = {"int": int, "float": float, "bool": bool}
    fields = {}
    for field in dataclasses.fields(config):
        name = str(field.type).removeprefix("<class '").removesuffix("'>").partition(" ")[0]
        if name in types and not field.name.startswith("_"):
            fields[field.name] = types[name]
    return fields


def _scalar(value: str, key: str, text: str, kind: type) -> Fact:
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        number: Any = kind(text) if kind is not bool else None
    except ValueError:
        number = None
    if number is None or not math.isfinite(number) or number < 0:
        what = {int: "a whole number, at least 0", float: "a number, at least 0", bool: "true or false"}[kind]
        raise PipelineError(f"cache={value!r}: {key} is {what}, not {text!r}. Write it as {key}=...")
    return number  # type: ignore[no-any-return]  # of the kind that was asked for


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    names = list(known)
    return f"{what} isn't known{did_you_mean(name, names)}. Use one of {', '.join(names)}."
