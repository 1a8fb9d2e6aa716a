"""Finding out what the parts of a pipeline are by looking at them, not by a list of class names."""

from __future__ import annotations

import dataclasses
import inspect
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch
    from torch import nn

Role: TypeAlias = Literal["text", "denoiser", "vae_encode", "vae_decode", "step", "other"]

_Part = TypeVar("_Part")

_TIMES = frozenset({"t", "r", "sigma", "sigmas", "noise_level"})
"""What denoisers call the time that they are told, besides the many names with `time` in them."""


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    """A place where control enters and leaves a component.

    Attributes:
        component: name of the component, as the pipeline calls it; the pipeline's own methods have an empty name.
        method: the method that is entered, None for a module that is called.
        role: what the component does for the pipeline.
        owner: the object that is called, or whose method is.
    """

    component: str
    method: str | None
    role: Role
    owner: Any = dataclasses.field(repr=False)

    @property
    def name(self) -> str:
        """`transformer`, `vae.decode`, `encode_prompt`."""
        return ".".join(part for part in (self.component, self.method) if part)


def components_of(target: object) -> dict[str, Any]:
    """The parts of a pipeline by name; empty for a target that has none (a plain callable)."""
    try:
        components = getattr(target, "components", None)
    except ValueError:  # diffusers raises it where a subclass's __init__ and its registered modules differ
        components = None
    if not isinstance(components, dict):
        return {}
    return {name: part for name, part in components.items() if part is not None}


def modules_of(target: object) -> dict[str, nn.Module]:
    """The components that are torch modules."""
    from torch import nn

    return {name: part for name, part in components_of(target).items() if isinstance(part, nn.Module)}


def denoisers_of(target: object) -> dict[str, nn.Module]:
    """The modules that predict noise or velocity."""
    return {name: module for name, (module, role) in _roles_of(target).items() if role == "denoiser"}


def sites_of(target: object) -> Iterator[Site]:
    """Every place worth bracketing in a pipeline.

    A module that encodes and decodes is an autoencoder and is entered by those methods; a transformers model that
    reads `input_ids` encodes text; a transformers model that reads anything else is a helper (an image encoder, a
    safety checker). Of the other modules those that are told a time predict noise or velocity, and the rest are
    helpers too (projections, adapters, control nets); where none is told a time, as in masked generation, all of
    them predict.
    Whatever has `step` and `set_timesteps` is the scheduler. A pipeline made of others encodes prompts in those.
    """
    for pipeline in _pipelines_in(target):
        if callable(getattr(pipeline, "encode_prompt", None)):
            yield Site("", "encode_prompt", "text", pipeline)
    roles = _roles_of(target)
    for name, (module, role) in roles.items():
        if role == "vae_decode":
            yield Site(name, "decode", "vae_decode", module)
            yield Site(name, "encode", "vae_encode", module)
        else:
            yield Site(name, None, role, module)
    for name, part in _once(components_of(target)).items():
        if name not in roles and callable(getattr(part, "step", None)) and hasattr(part, "set_timesteps"):
            yield Site(name, "step", "step", part)


def attention_modules(denoiser: nn.Module) -> list[nn.Module]:
    """The outermost attention layers of a module.

    A layer counts as attention when it carries a processor (diffusers' interface for exchangeable attention), or
    when its class says so by name.
    """
    layers: list[nn.Module] = []

    def visit(module: nn.Module) -> None:
        for child in module.children():
            named = type(child).__name__.endswith(("Attention", "SelfAttn", "CrossAttn"))
            # a block that holds such layers, among others, isn't one for its name
            holds = named and any(hasattr(inner, "processor") for inner in child.modules())
            if hasattr(child, "processor") or (named and not holds):
                layers.append(child)
            else:
                visit(child)

    visit(denoiser)
    return layers


def count_parameters(module: nn.Module) -> int:
    """Number of parameters, shared ones once."""
    return sum(parameter.numel() for parameter in module.parameters())


def plain_tensors(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """What a tensor is made of, by name: a quantised one keeps codes and scales, and can't be sliced itself."""
    if not hasattr(tensor, "__tensor_flatten__"):
        yield name, tensor
        return
    for inner in tensor.__tensor_flatten__()[0]:
        yield from plain_tensors(f"{name}.{inner}", getattr(tensor, inner))


def _pipelines_in(target: object) -> list[object]:
    """A pipeline and those that it keeps in attributes, as combined ones keep their stages."""
    if not components_of(target):
        return []
    parts = [part for part in vars(target).values() if components_of(part) and callable(part)]
    return [target, *parts]


def _roles_of(target: object) -> dict[str, tuple[nn.Module, Role]]:
    """The modules of a pipeline and what each does for it."""
    modules = _once(modules_of(target))
    known = {name: _role_by_interface(module) for name, module in modules.items()}
    rest = {name: module for name, module in modules.items() if known[name] is None and _can_be_called(module)}
    timed = {name for name, module in rest.items() if _takes_timestep(module)} or set(rest)
    # One that is handed a control image steers another, unless there is no other.
    timed = {name for name in timed if "controlnet_cond" not in _parameters_of(rest[name])} or timed
    return {
        name: (module, known[name] or ("denoiser" if name in timed else "other")) for name, module in modules.items()
    }


def _once(parts: Mapping[str, _Part]) -> dict[str, _Part]:
    """The parts by their first name: combined pipelines have some under two."""
    by_identity: dict[int, tuple[str, _Part]] = {}
    for name, part in parts.items():
        by_identity.setdefault(id(part), (name, part))
    return dict(by_identity.values())


def _role_by_interface(module: nn.Module) -> Role | None:
    """The role of an autoencoder or of a model of transformers; None of any other module."""
    if callable(getattr(module, "decode", None)) and callable(getattr(module, "encode", None)):
        return "vae_decode"
    reads = getattr(module, "main_input_name", None)
    if reads is not None:
        return "text" if reads == "input_ids" else "other"
    return None


def _can_be_called(module: nn.Module) -> bool:
    """Whether a module has a `forward` of its own; one that only keeps parameters (a normaliser) hasn't."""
    from torch import nn

    return type(_plain(module)).forward is not nn.Module.forward


def _takes_timestep(module: nn.Module) -> bool:
    """Whether `forward` asks for a time step, under any of the names that diffusers has for it.

    A wrapper that hands on whatever it gets (data parallelism) may be told one.
    """
    return any(
        parameter.kind is parameter.VAR_POSITIONAL
        # a switch says how, not when: `time_last=False`
        or (("time" in parameter.name or parameter.name in _TIMES) and not isinstance(parameter.default, bool))
        for parameter in _parameters_of(module).values()
    )


def _parameters_of(module: nn.Module) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(type(_plain(module)).forward).parameters


def _plain(module: nn.Module) -> nn.Module:
    """A module, taken out of what `torch.compile(module)` returned."""
    inner: nn.Module = getattr(module, "_orig_mod", module)
    return inner
