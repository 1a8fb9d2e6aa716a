"""Builds models and pipelines from configuration alone, with blank weights: nothing is loaded, drawn or computed."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import PipelineError
from pytest_diffbench.pipelines.folders import INDEX, read_index, read_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import torch

_CONFIG = "config.json"
_LEFT_OUT = ("safety_checker",)
"""Components that look at pixels and decide by them."""

_BUFFER_ELEMENTS = 1 << 22
"""While a model is built, larger tensors are blank from the start; smaller ones may be tables that are read later."""


def placeholder_module(
    library: str, class_name: str, config: Mapping[str, Any], dtype: torch.dtype
) -> torch.nn.Module:
    """Build a model with blank parameters of a dtype; buffers keep theirs and, but for very large ones, their values.

    Args:
        library: `diffusers` or `transformers`.
        class_name: of the model, in that library.
        config: its configuration; what isn't given is the class's default.
        dtype: of the parameters.

    Raises:
        PipelineError: there is no such class in the installed version, or it doesn't take this configuration.
    """
    import torch

    from pytest_diffbench.placeholders.tensors import PlaceholderMode

    kind = _class(library, class_name)
    mode = PlaceholderMode(real_elements=_BUFFER_ELEMENTS, draw=False)
    mode.identify = False
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), mode:
            if library == "transformers":
                module = kind(kind.config_class.from_dict(dict(config)))
            else:
                module = kind.from_config(dict(config))
    except Exception as error:  # the libraries raise all kinds, and only they know why
        raise PipelineError(
            f"{library}.{class_name} can't be built from its configuration: {_message_of(error)}. "
            f"Check that this version of {library} supports it."
        ) from error
    _replace_by_placeholders(module, dtype)
    module.eval()
    return module  # type: ignore[no-any-return]  # the libraries' classes are opaque to type checkers


def pipeline_in(folder: Path, dtype: torch.dtype) -> tuple[Any, tuple[str, ...]]:
    """Build the pipeline whose configuration is in a folder, as `save_pretrained` writes it; weights aren't read.

    Returns:
        The pipeline, and a sentence for each component that was left out.

    Raises:
        PipelineError: naming the file, the field and the value that can't be used.
    """
    if not (folder / INDEX).is_file():
        what = "there is no such folder" if not folder.exists() else f"it holds no {INDEX}"
        raise PipelineError(f"{folder}: {what}. Name a model, or a folder written by save_pretrained.")
    declared, components, settings = read_index(folder)
    kind = _class("diffusers", declared)
    if not hasattr(kind, "components"):
        raise PipelineError(f"{folder / INDEX}: _class_name is {declared!r}, which isn't a pipeline.")
    parts: dict[str, Any] = {}
    notes: list[str] = []
    for name, library, class_name in components:
        if library is None or name in _LEFT_OUT:
            parts[name] = None
            if library is not None:
                notes.append(f"{name} is left out: it looks at pixels, which a plan doesn't have")
            continue
        parts[name] = _component(folder / name, library, class_name, dtype)
    takes = inspect.signature(kind.__init__).parameters
    settings = {name: value for name, value in settings.items() if name in takes and name not in parts}
    if "requires_safety_checker" in takes:
        settings["requires_safety_checker"] = False
    try:
        pipeline = kind(**parts, **settings)
    except (TypeError, ValueError, AttributeError) as error:
        raise PipelineError(
            f"{folder / INDEX}: {declared} can't be built: {_message_of(error)}. Save the pipeline again."
        ) from error
    return pipeline, tuple(notes)


def _component(folder: Path, library: str, class_name: str, dtype: torch.dtype) -> Any:
    if library not in ("diffusers", "transformers"):
        raise PipelineError(
            f"{folder.parent / INDEX}: {folder.name} comes from {library!r}; only classes of diffusers and "
            "transformers are built, never code from a model's folder. Replace it, or set it to [null, null]."
        )
    import torch

    kind = _class(library, class_name)
    if isinstance(kind, type) and issubclass(kind, torch.nn.Module):
        path = folder / _CONFIG
        if not path.is_file():
            raise PipelineError(
                f"{folder}: {class_name} needs its {_CONFIG}, which is missing. Copy it; weights aren't needed."
            )
        return placeholder_module(library, class_name, read_json(path), dtype)
    try:
        return kind.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # as above
        raise PipelineError(
            f"{folder}: {class_name} can't be read: {_message_of(error)}. All its files are needed, except weights."
        ) from error


def _class(library: str, class_name: str) -> Any:
    kind = getattr(import_module(library), class_name, None)
    if kind is None:
        version = import_module(library).__version__
        raise PipelineError(f"{library} {version} has no class {class_name!r}. Install a version that has it.")
    return kind


def _replace_by_placeholders(module: torch.nn.Module, dtype: torch.dtype) -> None:
    from pytest_diffbench.placeholders.tensors import Layout, PlaceholderMode

    mode = PlaceholderMode()

    def placeholder(parameter: torch.nn.Parameter) -> torch.Tensor:
        cast = dtype if parameter.is_floating_point() else parameter.dtype
        return mode.placeholder(Layout.contiguous(parameter.shape, cast))

    replace_parameters(module, placeholder)


def replace_parameters(module: torch.nn.Module, make: Callable[[torch.nn.Parameter], torch.Tensor]) -> None:
    """Put what `make` gives for a parameter in its place; one that several modules share stays shared."""
    import torch

    replacements: dict[int, torch.nn.Parameter] = {}
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is None:
                continue
            if id(parameter) not in replacements:
                replacements[id(parameter)] = torch.nn.Parameter(make(parameter), requires_grad=False)
            part._parameters[name] = replacements[id(parameter)]


def _message_of(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:200].rstrip(".")
