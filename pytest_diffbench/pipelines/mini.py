"""The minis: pipelines of the libraries' own classes, a few megabytes in size, trained on drawn shapes and captions.

They stand in for the full-size models where there is no GPU, no hub and no licence. Their weights lie in the package,
in half precision; `tools/README.md` in the repository says how they were trained.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import PipelineError, option

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable

    import torch
    from diffusers import DiffusionPipeline

    from pytest_diffbench.pipelines.architectures import Assembly
    from pytest_diffbench.pipelines.registry import Model

CHECKSUMS = "SHA256SUMS.json"
"""Beside the weights: the digest of each file."""

_REMEDY = "Reinstall pytest-diffbench, from a wheel or a complete checkout"


def build_mini(model: Model, dtype: torch.dtype | None = None) -> DiffusionPipeline:
    """Build the mini of a registered model, on the CPU, in evaluation mode.

    torch's global random state and defaults are left as they were.

    Args:
        model: a registered model.
        dtype: of the parameters; None for float32. Buffers keep their own, as they do when a pipeline is loaded.

    Raises:
        PipelineError: there is no mini for the model, or its weights are missing or damaged.
    """
    import torch

    from pytest_diffbench.pipelines import architectures

    assembly = architectures.ASSEMBLIES.get(model.pipeline_class)
    if assembly is None or not model.mini:
        raise PipelineError(
            f"model={model.name!r}: there is no mini of {model.pipeline_class} under this name. "
            f"Load it with {option('weights')}=pretrained."
        )
    weights = {component: _read(file) for component, file in model.mini.items()}
    # the constructors draw initial weights from the global generator, and obey a default device and dtype
    default = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]), torch.device("cpu"), torch.no_grad():
        torch.set_default_dtype(torch.float32)
        try:
            pipeline = _assemble(assembly, weights, dtype or torch.float32)
        finally:
            torch.set_default_dtype(default)
    built: DiffusionPipeline = pipeline
    return built


def revision(model: Model) -> str:
    """Name the weights of a model's mini by what is in them: `sha256:` and sixteen hexadecimal digits.

    Raises:
        PipelineError: the list of checksums is missing or damaged.
    """
    listed = _checksums(_folder())
    joined = "\n".join(f"{component} {listed.get(file)}" for component, file in sorted(model.mini.items()))
    return f"sha256:{hashlib.sha256(joined.encode()).hexdigest()[:16]}"


def _assemble(assembly: Assembly, weights: Mapping[str, Mapping[str, torch.Tensor]], dtype: torch.dtype) -> Any:
    from pytest_diffbench.pipelines.architectures import MINI

    components = {}
    for name, make in assembly.parts.items():
        component = make(MINI)
        component.load_state_dict(weights[name])
        component.eval().requires_grad_(False)
        for parameter in component.parameters():
            parameter.data = parameter.data.to(dtype)
        components[name] = component
    return assembly.pipeline(**components)


def _read(file: str) -> Mapping[str, torch.Tensor]:
    """Read a file of weights, after a look at its checksum."""
    from safetensors.torch import load

    folder = _folder()
    expected = _checksums(folder).get(file)
    try:
        content = (folder / file).read_bytes()
    except FileNotFoundError:
        raise PipelineError(f"{folder / file}: the weights of a mini are missing. {_REMEDY}.") from None
    if hashlib.sha256(content).hexdigest() != expected:
        raise PipelineError(
            f"{folder / file}: a mini's weights are damaged: their SHA-256 isn't the one in {CHECKSUMS}. {_REMEDY}."
        )
    tensors: Mapping[str, torch.Tensor] = load(content)
    return tensors


def _checksums(folder: Traversable) -> Mapping[str, str]:
    path = folder / CHECKSUMS
    try:
        return _parsed(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PipelineError(f"{path}: the checksums of the minis' weights are missing. {_REMEDY}.") from None
    except ValueError as error:
        raise PipelineError(f"{path}: not a list of checksums ({error}). {_REMEDY}.") from None


@cache
def _parsed(text: str) -> Mapping[str, str]:
    listed: Mapping[str, str] = json.loads(text)
    if not isinstance(listed, dict):
        raise ValueError(f"{text.strip()[:40]!r} where an object is expected")
    return listed


def _folder() -> Traversable:
    return resources.files("pytest_diffbench.pipelines") / "trained"
