"""Full-size models with drawn weights: for time, memory and work, which don't depend on what the weights are.

Nothing is downloaded. Weights are made on the device that they are for, out of one table of draws, so that they are
the same on every device: each parameter is a stretch of the table that begins at a place of its own, scaled so that
activations keep their size through all layers. Rotary tables, position ids and other buffers are the constructors'.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import PipelineError, option
from pytest_diffbench.pipelines.free_memory import free_bytes
from pytest_diffbench.pipelines.full_size import PARTS, assemble, placeholder_components
from pytest_diffbench.pipelines.unloaded import replace_parameters

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

    from pytest_diffbench.pipelines.full_size import Part
    from pytest_diffbench.pipelines.registry import Model
    from pytest_diffbench.records import Offload

REVISION = "random-1"
"""Names the weights, and seeds them. Another recipe gets another number: its pictures are others."""

_DRAWS = 4_194_301
"""Length of the table: a prime, so that no two rows of a matrix begin at the same place of it."""

_GIB = 1 << 30


def build_random(
    model: Model,
    dtype: torch.dtype,
    device: str,
    *,
    offload: Offload = "none",
    parts: Mapping[str, Mapping[str, Part]] = PARTS,
) -> Any:
    """Build a registered model at its full size with drawn weights, in evaluation mode.

    The weights lie on the device, or on the CPU where something offloads them from there. torch's random state and
    defaults are left as they were.

    Args:
        model: a registered model.
        dtype: of the parameters; buffers keep their own.
        device: where the pipeline is to run.
        offload: how weights are kept from the device.
        parts: configurations of the components, by the name of the model.

    Raises:
        PipelineError: its configuration isn't in the package, or there isn't enough memory for the weights; nothing
            was allocated then.
    """
    import torch

    default = torch.get_default_dtype()
    with torch.device("cpu"):
        torch.set_default_dtype(torch.float32)
        try:
            components = placeholder_components(model, dtype, parts)
            check_room(model.name, components, device, offload)
            place = device if offload == "none" else "cpu"
            table = _table(dtype, place)
            for name, component in components.items():
                _allocate(component, place)
                fill(component, f"{REVISION}/{model.name}/{name}", table)
            return assemble(model, components)
        finally:
            torch.set_default_dtype(default)


def check_room(name: str, components: Mapping[str, torch.nn.Module], device: str, offload: Offload = "none") -> None:
    """Find out whether the weights will fit before any of them is allocated. Activations aren't counted.

    Raises:
        PipelineError: naming the bytes that are needed and free, and the remedy.
    """
    sizes = {part: sum(map(_bytes_of, _parameters(module))) for part, module in components.items()}
    needs = {device if offload == "none" else "cpu": (sum(sizes.values()), "its weights")}
    if offload == "model":
        largest = max(sizes, key=lambda part: sizes[part])
        needs[device] = (sizes[largest], f"its {largest}, the largest component,")
    for place, (needed_bytes, what) in needs.items():
        free = free_bytes(place)
        if free is None or needed_bytes <= free:
            continue
        parameters = [parameter for module in components.values() for parameter in _parameters(module)]
        dtype = str(parameters[0].dtype).removeprefix("torch.")
        raise PipelineError(
            f"model={name!r} with weights='random': {what} "
            f"{'take' if what.endswith('weights') else 'takes'} {needed_bytes / _GIB:.1f} GiB in {dtype} "
            f"({sum(parameter.numel() for parameter in parameters) / 1e9:.2f} billion parameters in all), and "
            f"{free / _GIB:.1f} GiB are free on {place}. {_remedy(place, dtype, offload)}"
        )


def fill(module: torch.nn.Module, seed: str, table: torch.Tensor) -> None:
    """Fill all parameters in place.

    Matrices and convolutions get a standard deviation of `1 / sqrt(fan_in)`; so a product is as large as what it is
    made of, and each branch of a residual stream, which begins with a norm, adds at most about 1 to its variance.
    Embeddings get 1 after their own scale, gains of norms are 1, biases 0.

    Args:
        module: on the table's device.
        seed: any text; with the name of a parameter it gives the place in the table where the parameter begins.
        table: of draws with variance 1.
    """
    import torch

    with torch.no_grad():
        for name, parameter, owner in _owned(module):
            constant = _constant(name, parameter, owner)
            if constant is not None:
                parameter.fill_(constant)
            else:
                _copy_draws(parameter, f"{seed}/{name}", table, _std(name, parameter, owner, module))


def _constant(name: str, parameter: torch.nn.Parameter, owner: torch.nn.Module) -> float | None:
    """The value of a norm's gain or a bias; None for what is drawn."""
    if name.endswith("bias"):
        return 0.0 if parameter.ndim == 1 else None
    kind = type(owner).__name__
    if name.endswith("gamma"):  # as Wan's autoencoder calls the gains of its norms, whatever shape they have
        return 1.0
    if "Norm" in kind and parameter.ndim == 1:
        return 0.0 if kind.startswith("Gemma") else 1.0  # Gemma's norms add 1 to it
    return None


def _std(name: str, parameter: torch.nn.Parameter, owner: torch.nn.Module, module: torch.nn.Module) -> float:
    import torch

    if isinstance(owner, torch.nn.Embedding):
        return 1.0 / float(getattr(owner, "embed_scale", 1.0))
    std = 1.0 / math.sqrt(math.prod(parameter.shape[1:]) or 1)
    if name.endswith("SelfAttention.q.weight"):  # T5 doesn't divide by the square root of a head's width
        config: Any = module.config
        std /= math.sqrt(config.d_kv)
    return std


def _copy_draws(parameter: torch.nn.Parameter, key: str, table: torch.Tensor, std: float) -> None:
    import torch

    flat = parameter.view(-1)
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % len(table)
    # a factor that the dtype has is multiplied alike everywhere, whichever precision a kernel takes it in
    std = torch.tensor(std, dtype=table.dtype).item()
    done = 0
    while done < len(flat):
        count = min(len(table) - place, len(flat) - done)
        torch.mul(table[place : place + count], std, out=flat[done : done + count])
        done, place = done + count, 0


def _table(dtype: torch.dtype, device: str) -> torch.Tensor:
    """Draws with variance 1. Uniform ones: unlike normal ones their bits don't depend on a CPU's vector units."""
    import torch

    seed = int.from_bytes(hashlib.sha256(REVISION.encode()).digest()[:8], "big")
    generator = torch.Generator("cpu").manual_seed(seed)
    draws = torch.rand(_DRAWS, generator=generator, dtype=torch.float32)
    # a uniform variable on [0, 1) has mean 1/2 and variance 1/12
    return ((draws - 0.5) * math.sqrt(12.0)).to(dtype).to(device)


def _allocate(module: torch.nn.Module, device: str) -> None:
    """Put memory under every blank parameter, and everything else on the device; what is shared stays shared."""
    import torch

    from pytest_diffbench.placeholders.tensors import Placeholder

    replace_parameters(
        module, lambda placeholder: torch.empty(placeholder.shape, dtype=placeholder.dtype, device=device)
    )
    for name, buffer in module.named_buffers():
        if isinstance(buffer, Placeholder):
            raise PipelineError(f"{type(module).__name__}: the buffer {name} is too large to be computed here.")
    module.to(device)


def _owned(module: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter, torch.nn.Module]]:
    """Each parameter once, with its name and the module that it belongs to."""
    for name, parameter in module.named_parameters():
        yield name, parameter, module.get_submodule(name.rpartition(".")[0])


def _parameters(module: torch.nn.Module) -> list[torch.nn.Parameter]:
    return list(module.parameters())


def _bytes_of(parameter: torch.nn.Parameter) -> int:
    return parameter.numel() * parameter.dtype.itemsize


def _remedy(place: str, dtype: str, offload: Offload) -> str:
    ways = []
    if dtype == "float32":
        ways.append(f"{option('dtype')}=bfloat16")
    if place != "cpu":
        ways.append(f"{option('offload')}={'model' if offload == 'none' else 'sequential'}")
    ways.append("pytest --diffbench-weights=plan, which counts the work without that memory")
    return f"Use {', or '.join(ways)}."
