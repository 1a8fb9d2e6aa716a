"""What torch's accelerators have in common: their memory, how to wait for them, and what they are called.

`torch.cuda` (ROCm's too), `torch.xpu`, `torch.mps`, and the module of whatever other accelerator torch was given.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from typing import Any

_HOSTS = ("cpu", "meta")


def kind_of(device: str) -> str:
    """The type of a torch device: `cuda` of `cuda:1`."""
    return device.partition(":")[0]


def is_accelerator(device: str) -> bool:
    """Whether a torch device is another one than the host."""
    return kind_of(device) not in _HOSTS


def backend_of(kind: str) -> Any:
    """torch's module for a type of accelerator; None where torch has none."""
    import torch

    return getattr(torch, kind, None) if kind not in _HOSTS else None


def active_kinds() -> tuple[str, ...]:
    """Types of accelerators that this process uses. Asking another for anything would initialise it."""
    torch = sys.modules.get("torch")
    if torch is None:
        return ()
    kinds = [kind for kind in ("cuda", "xpu") if _is_initialized(backend_of(kind))]
    current = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if current is not None and current.type not in ("cuda", "xpu", *kinds):
        kinds.append(current.type)
    return tuple(kinds)


def _is_initialized(backend: Any) -> bool:
    return backend is not None and backend.is_available() and backend.is_initialized()


def device_of(target: object) -> str | None:
    """The device that a pipeline computes on, wherever offloading keeps its weights; None where it has none."""
    device = getattr(target, "_execution_device", None) or getattr(target, "device", None)
    return str(device) if device is not None else None


def devices_of(target: object, device: str) -> tuple[str, ...]:
    """The devices that a pipeline's parts lie on, of the type of the device that it runs on, which comes first."""
    import torch

    first = torch.device(device)
    if not is_accelerator(device):
        return (device,)
    components = getattr(target, "components", None)
    parts = components.values() if isinstance(components, dict) else ()
    others = {
        parameter.device.index
        for part in parts
        if isinstance(part, torch.nn.Module)
        for parameter in part.parameters()
        if parameter.device.type == first.type and parameter.device.index is not None
    }
    own = first.index if first.index is not None else current_index(first.type)
    return (device, *(f"{first.type}:{index}" for index in sorted(others - {own})))


def current_index(kind: str) -> int:
    """Number of the current device of a type."""
    current = getattr(backend_of(kind), "current_device", None)
    return int(current()) if current is not None else 0


def synchronize(device: str) -> None:
    """Wait until a device has done all that it was given."""
    import torch

    kind = kind_of(device)
    if not is_accelerator(device):
        return
    own = getattr(backend_of(kind), "synchronize", None)
    if own is None:
        torch.accelerator.synchronize(torch.device(device))
    elif kind == "mps":
        own()
    else:
        own(torch.device(device))


def return_memory() -> None:
    """Give what nobody holds any more back to all devices, cuBLAS's workspaces included."""
    gc.collect()
    for kind in active_kinds():
        if kind == "cuda":
            import torch

            with contextlib.suppress(AttributeError):  # a build without cuBLAS
                torch._C._cuda_clearCublasWorkspaces()
        empty_cache = getattr(backend_of(kind), "empty_cache", None)
        if empty_cache is not None:
            empty_cache()


def allocated_bytes() -> int:
    """What this process's tensors take of all devices' memory."""
    total = 0
    for kind in active_kinds():
        backend = backend_of(kind)
        read = getattr(backend, "memory_allocated", None)
        if read is not None:
            total += sum(int(read(index)) for index in range(backend.device_count()))
        elif hasattr(backend, "current_allocated_memory"):  # MPS
            total += int(backend.current_allocated_memory())
    return total


def device_facts(device: str) -> dict[str, str | int | None]:
    """Name and memory of an accelerator, as far as its backend says."""
    import torch

    backend, place = backend_of(kind_of(device)), torch.device(device)
    properties = _asked(backend, "get_device_properties", place)
    name = getattr(properties, "name", None) or _asked(backend, "get_device_name", place)
    total_bytes = getattr(properties, "total_memory", None)
    if total_bytes is None:
        free_and_total = _asked(torch.accelerator, "get_memory_info", place)
        total_bytes = free_and_total[1] if free_and_total else None
    return {"name": str(name) if name else kind_of(device), "memory_bytes": total_bytes}


def _asked(module: Any, function: str, place: Any) -> Any:
    """What a function of a backend says; None where there is no such function, or it can't tell."""
    try:
        return getattr(module, function)(place)
    except Exception:  # backends of other makers raise all kinds
        return None
