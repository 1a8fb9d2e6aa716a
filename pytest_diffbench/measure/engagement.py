"""Whether the optimisations that a pipeline carries take part in a call: caches, adapters, compiling, quantisation.

Caches and offloading are found by the hooks that diffusers puts into modules, whatever their names; the other ones by
what they leave in modules and weights.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

from pytest_diffbench.measure.compiling import compile_counts, compiled_s
from pytest_diffbench.pipelines.tuned import is_compiled, is_quantized
from pytest_diffbench.records import Engagement, format_steps, parse_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import nn

    from pytest_diffbench.records import EngagementKind, Work


@dataclasses.dataclass(slots=True)
class _Hooked:
    """A hook in one module, while a call is watched."""

    component: str
    origin: str
    """Module of the hook's class: a cache's hooks are of one."""

    name: str
    kind: EngagementKind
    reference: Any
    """What diffusers calls the hook's functions by."""

    reached: int = 0
    skipped_steps: list[int] = dataclasses.field(default_factory=list)


class HookWatch:
    """Counts how often hooked modules are called, and how often their hook answers in their place.

    Args:
        modules: of the pipeline, by name.
        step: gives the number of the step that is under way.
    """

    def __init__(self, modules: Mapping[str, nn.Module], step: Callable[[], int]) -> None:
        self._step = step
        self._hooked = [hooked for name, module in modules.items() for hooked in _hooked_in(name, module)]

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Count the calls made inside; afterwards the hooks are as they were."""
        before = [(hooked.reference, dict(vars(hooked.reference))) for hooked in self._hooked]
        for hooked in self._hooked:
            self._watch(hooked)
        try:
            yield
        finally:
            for reference, functions in before:
                vars(reference).update(functions)

    def engagements(self, work: Work) -> tuple[Engagement, ...]:
        """What was seen, by component and origin of the hooks; `work` is that of the watched call."""
        by_origin: dict[tuple[str, str, EngagementKind], list[_Hooked]] = {}
        for hooked in self._hooked:
            by_origin.setdefault((hooked.component, hooked.origin, hooked.kind), []).append(hooked)
        found = []
        for (component, _, kind), members in by_origin.items():
            steps = [step for hooked in members for step in hooked.skipped_steps]
            chances, cheaper = _reuse(component, work)
            active = [hooked for hooked in members if (hooked.skipped_steps if kind == "cache" else hooked.reached)]
            found.append(
                Engagement(
                    component=component,
                    kind=kind,
                    name=members[0].name,
                    layers=len(members),
                    active=len(active),
                    reached=sum(hooked.reached for hooked in members),
                    skipped=len(steps),
                    skipped_steps=format_steps(sorted(set(steps))),
                    cheaper_calls=cheaper if kind == "cache" else 0,
                    chances=chances if kind == "cache" else 0,
                )
            )
        return tuple(found)

    def _watch(self, hooked: _Hooked) -> None:
        reference = hooked.reference
        pre_forward, forward, original = reference.pre_forward, reference.forward, reference.original_forward
        computed = 0

        def entered(*args: Any, **kwargs: Any) -> Any:
            hooked.reached += 1
            return pre_forward(*args, **kwargs)

        def answering(*args: Any, **kwargs: Any) -> Any:
            before = computed
            output = forward(*args, **kwargs)
            if computed == before:
                hooked.skipped_steps.append(self._step())
            return output

        def computing(*args: Any, **kwargs: Any) -> Any:
            nonlocal computed
            computed += 1
            return original(*args, **kwargs)

        reference.pre_forward = entered
        if original is not None:  # else the hook looks on, and the module always computes
            reference.forward, reference.original_forward = answering, computing


def standing(modules: Mapping[str, nn.Module]) -> tuple[Engagement, ...]:
    """Adapters, compiling and quantisation, as they stand in modules after calls were made."""
    found = []
    for name, module in modules.items():
        found += [*_adapters(name, module), *_compiled(name, module), *_quantized(name, module)]
    return tuple(found)


def _reuse(component: str, work: Work) -> tuple[int, int]:
    """How many calls of a component come after one alike, and how many took fewer FLOPs than the dearest alike."""
    alike: dict[tuple[object, ...], list[int]] = {}
    for group in work.denoiser:
        if group.component == component:
            key = (group.branch, tuple(group.shapes.items()))
            alike.setdefault(key, []).extend([group.flops] * len(parse_steps(group.steps)))
    chances = sum(len(flops) - 1 for flops in alike.values())
    return chances, sum(cost < max(flops) for flops in alike.values() for cost in flops)


def _hooked_in(component: str, module: nn.Module) -> list[_Hooked]:
    plain = getattr(module, "_orig_mod", module)
    hooks = [
        hook
        for part in plain.modules()
        for hook in getattr(getattr(part, "_diffusers_hook", None), "hooks", {}).values()
    ]
    # A cache has at least one hook that keeps something from call to call; its others are of the same origin.
    caches = {type(hook).__module__ for hook in hooks if getattr(hook, "_is_stateful", False)}
    config = getattr(plain, "_cache_config", None)
    found = []
    for hook in hooks:
        origin, reference = type(hook).__module__, getattr(hook, "fn_ref", None)
        if reference is None or not hasattr(reference, "original_forward"):
            continue
        if origin in caches:
            named = config is not None and type(config).__module__ == origin
            name = type(config).__name__.removesuffix("Config") if named else origin.rpartition(".")[2]
            found.append(_Hooked(component, origin, name, "cache", reference))
        elif "GroupOffload" in type(hook).__name__:
            found.append(_Hooked(component, origin, "group offloading", "group_offload", reference))
    return found


def _adapters(component: str, module: nn.Module) -> list[Engagement]:
    """LoRA as peft keeps it: layers with `lora_A`, `lora_B` and a scale for each adapter that is active."""
    layers = [
        part
        for part in _parts(module)
        if hasattr(part, "lora_B") and bool(getattr(part, "active_adapters", None)) and not _switched_off(part)
    ]
    if not layers:
        return []
    merged = [layer for layer in layers if getattr(layer, "merged", False)]
    names = sorted({str(name) for layer in layers for name in layer.active_adapters})
    return [
        Engagement(
            component=component,
            kind="lora",
            name=", ".join(names),
            layers=len(layers),
            active=sum(any(_changes(layer, name) for name in layer.active_adapters) for layer in layers),
            fused=len(merged),
        )
    ]


def _parts(module: nn.Module) -> Iterator[Any]:
    yield from module.modules()


def _switched_off(layer: Any) -> bool:
    """Whether somebody wants the adapters of a layer not to take part, so that it isn't odd that they don't."""
    scaling = getattr(layer, "scaling", {})
    return bool(getattr(layer, "disable_adapters", False)) or not any(
        scaling.get(name, 1) for name in layer.active_adapters
    )


def _changes(layer: Any, name: str) -> bool:
    """Whether an adapter changes what its layer computes: its second factor begins as zeros."""
    if name not in layer.lora_B:
        return False
    weight = getattr(layer.lora_B[name], "weight", None)
    return weight is None or weight.device.type == "meta" or bool(weight.detach().any())


def _compiled(component: str, module: nn.Module) -> list[Engagement]:
    if not is_compiled(module):
        return []
    # torch counts for the whole process; where it has compiled anything at all, nothing certain is known of one part.
    compiled_any = bool(compile_counts().get("graphs")) or compiled_s() is not None
    return [Engagement(component=component, kind="compile", name="torch.compile", layers=1, active=int(compiled_any))]


def _quantized(component: str, module: nn.Module) -> list[Engagement]:
    if not is_quantized(module):
        return []
    layers = [part for part in module.modules() if getattr(part, "in_features", None) and hasattr(part, "weight")]
    if not layers:
        return []
    return [
        Engagement(
            component=component,
            kind="quantize",
            name=type(getattr(module, "hf_quantizer", None)).__name__,
            layers=len(layers),
            active=sum(_is_quantized_weight(layer.weight) for layer in layers),
        )
    ]


def _is_quantized_weight(weight: Any) -> bool:
    import torch

    plain = (
        type(weight) in (torch.Tensor, torch.nn.Parameter) and type(getattr(weight, "data", weight)) is torch.Tensor
    )
    return not (plain and weight.dtype.is_floating_point and weight.element_size() > 1)
