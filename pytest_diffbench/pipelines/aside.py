"""Makes room on a device for another process, and takes it back."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from pytest_diffbench.pipelines.devices import return_memory

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def moved_to_cpu(target: Any) -> Iterator[str | None]:
    """Keep a pipeline on the CPU for a while, with its device's memory given back.

    Pipelines that can't be moved stay where they are: those that offload by themselves, quantised ones, and what a
    callable holds that is no pipeline.

    Yields:
        Why it stays on its device; None where it left, or doesn't say that it has memory of a device.
    """
    device = getattr(target, "device", None)
    if not _is_movable(target):
        yield None
        return
    problem = sent_to_cpu(target)
    return_memory()
    try:
        yield problem
    finally:
        if problem is None:
            target.to(device)


def sent_to_cpu(target: Any) -> str | None:
    """Move a pipeline to the CPU; it stays where it is where that can't be done.

    Returns:
        Why it stays on its device; None where it left, or has no memory of a device.
    """
    if not _is_movable(target):
        return None
    if _offloads(target):
        return "it offloads by itself"
    device = target.device
    try:
        target.to("cpu")
    except Exception as error:  # whatever a pipeline of somebody else's raises
        with contextlib.suppress(Exception):
            target.to(device)
        return f"{type(error).__name__}: {error}"
    return None


def _offloads(target: Any) -> bool:
    if getattr(target, "_all_hooks", None) or getattr(target, "hf_device_map", None):
        return True
    components = getattr(target, "components", None)
    return isinstance(components, dict) and any(
        hasattr(component, "_hf_hook") or _offloads_groups(component) for component in components.values()
    )


def _offloads_groups(component: Any) -> bool:
    if not hasattr(component, "modules"):
        return False
    hooked = [getattr(module, "_diffusers_hook", None) for module in component.modules()]
    return any("group_offloading" in getattr(registry, "hooks", ()) for registry in hooked)


def _is_movable(target: Any) -> bool:
    device = getattr(target, "device", None)
    return getattr(device, "type", "cpu") not in ("cpu", "meta") and hasattr(target, "to")
