"""The facts of the machine, the settings and the software that a run depends on."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_diffbench.measure.components import components_of, modules_of
from pytest_diffbench.measure.machine import hardware_facts, machine_name
from pytest_diffbench.measure.tracing import tracers
from pytest_diffbench.pipelines.tuned import is_compiled
from pytest_diffbench.records import Environment, Fact

if TYPE_CHECKING:
    from collections.abc import Mapping

_PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "numpy", "safetensors", "pytest-diffbench")


def environment_of(
    device: str,
    target: object,
    extra: Mapping[str, Fact] | None = None,
    threads: int | None = None,
    workers: int = 1,
) -> Environment:
    """Collect what there is to know about `device` and about the settings that `target` will run under.

    Args:
        device: a torch device, e.g. `cpu` or `cuda:0`.
        target: the pipeline; how its components are set up (compiled, tiled, memory format) is recorded.
        threads: torch's threads during the measurement, where they are set for it.
        workers: test processes that run at once, this one among them.
        extra: facts of the user's own; they count as software: listed when they change, never a bar to comparing.
    """
    hardware = hardware_facts(device)
    return Environment(
        machine=machine_name(device, hardware),
        family=device.partition(":")[0],
        hardware=hardware,
        settings=_settings(device, threads),
        software=_software(device, target) | _setup(target) | dict(extra or {}),
        state=_state(device, workers),
    )


def _settings(device: str, threads: int | None) -> dict[str, Fact]:
    import torch

    facts: dict[str, Fact] = {
        "threads": threads or torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "float32_matmul_precision": _float32_precision(),
    }
    if device.startswith("cuda"):
        facts |= {
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "cudnn_deterministic": torch.backends.cudnn.deterministic,
            "cudnn_allow_tf32": _cudnn_allows_tf32(),
            "allocator": os.environ.get("PYTORCH_CUDA_ALLOC_CONF") or os.environ.get("PYTORCH_ALLOC_CONF"),
        }
    return facts


def _float32_precision() -> str:
    """How exact products of float32 are: torch's three words, or what its newer setting says where that was used.

    torch refuses to answer by the older words once the newer ones were set otherwise.
    """
    import torch

    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        settings = {
            name: getattr(getattr(torch.backends, backend).matmul, "fp32_precision", None)
            for name, backend in (("cuda", "cuda"), ("mkldnn", "mkldnn"))
            if hasattr(torch.backends, backend)
        }
        return ", ".join(f"{name} {precision}" for name, precision in settings.items() if precision) or "unknown"


def _cudnn_allows_tf32() -> Fact:
    import torch

    try:
        return torch.backends.cudnn.allow_tf32
    except RuntimeError:
        return str(torch.backends.cudnn.conv.fp32_precision)  # type: ignore[attr-defined]  # torch 2.9 and later


def libraries() -> dict[str, Fact]:
    """Versions of Python, the operating system and the libraries that pipelines are made of."""
    import torch

    facts: dict[str, Fact] = {"python": platform.python_version(), "os": platform.platform()}
    facts |= {name: _version(name) for name in _PACKAGES}
    facts["torch"] = str(torch.__version__)
    return facts


def _software(device: str, target: object) -> dict[str, Fact]:
    import torch

    facts = libraries()
    facts["attention_backend"] = _attention_backend(target)
    facts["git_commit"] = _git_commit(Path.cwd())
    if device.startswith("cuda"):
        facts |= {
            "cuda": torch.version.cuda,
            "rocm": torch.version.hip,
            "cudnn": torch.backends.cudnn.version(),
            "driver": _nvidia_driver(),
            "sdpa_flash": torch.backends.cuda.flash_sdp_enabled(),
            "sdpa_efficient": torch.backends.cuda.mem_efficient_sdp_enabled(),
            "sdpa_cudnn": torch.backends.cuda.cudnn_sdp_enabled(),
        }
    return facts


def _setup(target: object) -> dict[str, Fact]:
    facts: dict[str, Fact] = {}
    for name, module in modules_of(target).items():
        if is_compiled(module):
            facts[f"{name}.compiled"] = True
        backends = {
            str(getattr(chosen, "value", chosen))
            for part in module.modules()
            if (chosen := getattr(getattr(part, "processor", None), "_attention_backend", None)) is not None
        }
        if backends:
            facts[f"{name}.attention_backend"] = ", ".join(sorted(backends))
        for switch in ("use_tiling", "use_slicing"):
            if getattr(module, switch, False):
                facts[f"{name}.{switch}"] = True
    scheduler = getattr(target, "scheduler", None)
    if scheduler is not None:
        facts["scheduler"] = type(scheduler).__name__
        config = getattr(scheduler, "config", None)
        for key in ("shift", "use_dynamic_shifting"):
            if config is not None and key in config:
                facts[f"scheduler.{key}"] = config[key]
    return facts


def _state(device: str, workers: int) -> dict[str, Fact]:
    import torch

    facts: dict[str, Fact] = {"xdist_workers": workers}
    if traced_by := tracers():
        facts["traced_by"] = ", ".join(traced_by)
    if hasattr(os, "getloadavg"):
        facts["load_1min"] = round(os.getloadavg()[0], 2)
    if device.startswith("cuda"):
        free, total = torch.cuda.mem_get_info(torch.device(device))
        facts["device_memory_in_use_bytes"] = total - free
        facts["device_uuid"] = (
            str(getattr(torch.cuda.get_device_properties(torch.device(device)), "uuid", "")) or None
        )
    return facts


@functools.cache
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _attention_backend(target: object) -> str | None:
    """diffusers' own choice, of a target that has parts of diffusers.

    Of others it isn't asked: what was imported before in this process would decide about the answer.
    """
    parts = (target, *components_of(target).values())
    if not any(kind.__module__.startswith("diffusers.") for part in parts for kind in type(part).__mro__):
        return None
    try:
        from diffusers.models.attention_dispatch import _AttentionBackendRegistry
    except ImportError:  # before diffusers had a choice
        return None
    backend, _ = _AttentionBackendRegistry.get_active_backend()
    return str(getattr(backend, "value", backend))


@functools.cache
def _git_commit(folder: Path) -> str | None:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


@functools.cache
def _nvidia_driver() -> str | None:
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return next(iter(done.stdout.split()), None)
