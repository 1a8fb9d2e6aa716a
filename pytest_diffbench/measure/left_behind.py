"""What a call leaves behind in a pipeline's components: anything that the next call would find otherwise."""

from __future__ import annotations

import collections
import hashlib
from typing import TYPE_CHECKING, TypeAlias

from pytest_diffbench.measure.components import attention_modules, components_of, modules_of, plain_tensors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import torch
    from torch import nn

ComponentStates: TypeAlias = "dict[str, dict[str, str]]"
"""What is looked at, in words, by component and kind: `{"vae": {"dtype": "float16"}}`."""

_SAMPLES = 64
"""Elements of each parameter that its digest is made of: evenly spread, so that other weights show in them."""


def component_states(target: object) -> ComponentStates:
    """How the components of a pipeline stand now. Copies a few kilobytes from the device, and so waits for it."""
    states = {name: _state_of(module) for name, module in modules_of(target).items()}
    for name, part in components_of(target).items():
        config = getattr(part, "config", None)
        if isinstance(config, dict):  # diffusers' own; that of transformers is filled in while it's used
            digest = hashlib.blake2b(repr(sorted(config.items(), key=str)).encode(), digest_size=8)
            states.setdefault(name, {})["config"] = digest.hexdigest()
    return states


def weights_of(states: ComponentStates) -> dict[str, str]:
    """The digest of each component's weights."""
    return {name: state["weights"] for name, state in sorted(states.items()) if "weights" in state}


def left_behind(before: ComponentStates, after: ComponentStates) -> tuple[str, ...]:
    """What became of the components between two looks, a sentence's part each: `vae: dtype float32, was float16`."""
    changes = []
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            changes.append(f"{name}: {'there now, was missing' if old is None else 'gone'}")
            continue
        for kind in dict.fromkeys([*old, *new]):
            if old.get(kind) != new.get(kind):
                if kind in ("weights", "config"):
                    changes.append(f"{name}: another {kind}" if kind == "config" else f"{name}: other {kind}")
                else:
                    changes.append(f"{name}: {kind} {new.get(kind, 'none')}, was {old.get(kind, 'none')}")
    return tuple(changes)


def _state_of(module: nn.Module) -> dict[str, str]:
    plain = getattr(module, "_orig_mod", module)
    named = list(plain.named_modules())  # once: each walk through a pipeline's layers takes milliseconds
    parameters = [
        *_once((prefix, layer._parameters) for prefix, layer in named),
        *_once((prefix, layer._buffers) for prefix, layer in named),
    ]
    layers = [layer for _, layer in named]
    hooks = [
        hook for layer in layers for hook in (*layer._forward_hooks.values(), *layer._forward_pre_hooks.values())
    ]
    processors = collections.Counter(
        type(attention_module.processor).__name__
        for attention_module in attention_modules(plain)
        if hasattr(attention_module, "processor")
    )
    state = {
        "dtype": _listed(str(parameter.dtype).removeprefix("torch.") for _, parameter in parameters),
        "device": _listed(str(parameter.device) for _, parameter in parameters),
        "layers in training": str(sum(layer.training for layer in layers)),
        "hooks": str(sum(not _is_of_transformers(hook) for hook in hooks)),
        "attention processors": ", ".join(f"{name} x {count}" for name, count in sorted(processors.items())),
        "weights": _digest(parameters),
    }
    return {kind: text for kind, text in state.items() if text}


def _once(
    held: Iterable[tuple[str, Mapping[str, torch.Tensor | None]]],
) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors of layers by their full names; those that several share by the first."""
    seen: set[int] = set()
    for prefix, tensors in held:
        for name, tensor in tensors.items():
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                yield f"{prefix}.{name}" if prefix else name, tensor


def _is_of_transformers(hook: object) -> bool:
    """Whether the library itself put it there, at the first call, to collect hidden states: that is no news."""
    return str(getattr(hook, "__module__", "")).startswith("transformers.")


def _listed(words: Iterator[str]) -> str:
    return ", ".join(sorted(set(words)))


def _digest(parameters: list[tuple[str, torch.Tensor]]) -> str:
    """Digest of names, shapes and sampled values, whatever their dtype and device; empty where there are none."""
    import torch

    together: dict[tuple[torch.device, torch.dtype], dict[str, torch.Tensor]] = collections.defaultdict(dict)
    parameters = [part for name, parameter in parameters for part in plain_tensors(name, parameter)]
    for name, parameter in parameters:
        count = parameter.numel()
        if count and parameter.device.type != "meta" and parameter.layout == torch.strided:
            step = max(1, count // _SAMPLES)
            together[parameter.device, parameter.dtype][name] = parameter.detach().reshape(-1)[
                : step * _SAMPLES : step
            ]
    values: dict[str, bytes] = {}
    for taken in together.values():
        # as one tensor, so that a device is waited for once
        host = torch.cat(list(taken.values())).to("cpu")
        host = (host.to(torch.float32) if host.is_floating_point() else host).contiguous()
        together_bytes, begin = host.view(torch.uint8).numpy().tobytes(), 0
        for name, sampled in taken.items():
            end = begin + sampled.numel() * host.element_size()
            values[name], begin = together_bytes[begin:end], end
    digest = hashlib.blake2b(digest_size=8)
    for name, parameter in parameters:
        digest.update(f"{name} {list(parameter.shape)}".encode() + values.get(name, b""))
    return digest.hexdigest() if values else ""
