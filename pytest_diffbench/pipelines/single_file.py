"""Reads a denoiser out of a single-file checkpoint in the layout that the model's authors and ComfyUI use.

diffusers has a conversion of Lumina's keys, which fails on the prefix that such files have and splits the attention's
joint weights by the full-size model's widths; both are done here, before it sees the weights.
"""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import PipelineError
from pytest_diffbench.pipelines.dtypes import dtype_argument
from pytest_diffbench.pipelines.folders import COMPONENT, read_header, read_json

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "model.diffusion_model."
"""Of the denoiser's keys, in files that hold text encoder and VAE too, and in many that don't."""

_OTHERS = ("text_encoders.", "vae.", "cond_stage_model.", "first_stage_model.")
"""Beginnings of the keys of what isn't the denoiser."""

_MARK = "cap_embedder.0.weight"


def load_denoiser(file: Path, pipeline: Path, dtype: str) -> Any:
    """Load the transformer of a Lumina pipeline.

    Args:
        file: safetensors; of its weights only the denoiser's are used.
        pipeline: folder with the rest of the pipeline, and with the transformer's configuration.
        dtype: of the parameters.

    Raises:
        PipelineError: the file isn't whole, isn't of this model, or doesn't hold all of its weights and no other.
    """
    header, _ = read_header(file)
    names = [name for name in json.loads(header) if name != "__metadata__" and not name.startswith(_OTHERS)]
    bare = {name.removeprefix(PREFIX) for name in names}
    if _MARK not in bare:
        shown = ", ".join(sorted(names)[:3]) or "none"
        raise PipelineError(
            f"{file}: this isn't a checkpoint of Lumina-Image-2.0 in its authors' layout: {_MARK!r} isn't among its "
            f"weights ({shown} ...). Give a file of this model, or a folder written by save_pretrained."
        )
    place = pipeline / COMPONENT / "config.json"
    config = read_json(place)
    kind: Any = import_module("diffusers").Lumina2Transformer2DModel
    convert = import_module("diffusers.loaders.single_file_utils").convert_lumina2_to_diffusers
    try:
        weights = convert(_split(_read(file, names), config))
        _check_names(file, place, set(weights), _names_of(kind, config))
        return kind.from_single_file(
            weights, config=str(pipeline / COMPONENT), local_files_only=True, **dtype_argument(dtype)
        )
    except PipelineError:
        raise
    except Exception as error:  # the conversion raises all kinds
        raise PipelineError(
            f"{file}: its weights don't fit {place} ({type(error).__name__}: {error}). "
            "Give the configuration of the same model, or a folder written by save_pretrained."
        ) from error


def _names_of(kind: Any, config: dict[str, Any]) -> set[str]:
    """The weights that a model has, built without any."""
    import torch

    with torch.device("meta"):
        return set(kind.from_config(config).state_dict())


def _check_names(file: Path, place: Path, present: set[str], expected: set[str]) -> None:
    for what, names in (("missing", sorted(expected - present)), ("not the model's", sorted(present - expected))):
        if names:
            raise PipelineError(
                f"{file}: {len(names)} weights are {what}, by {place}: {', '.join(names[:3])}"
                f"{' ...' if len(names) > 3 else ''}. Download the file again, or give the configuration of its "
                "model."
            )


def _read(file: Path, names: list[str]) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(str(file), framework="pt") as weights:
        return {name.removeprefix(PREFIX): weights.get_tensor(name) for name in names}


def _split(weights: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Take the joint weights of query, key and value apart, by the widths that the configuration tells."""
    head = config["hidden_size"] // config["num_attention_heads"]
    widths = [head * config[name] for name in ("num_attention_heads", "num_kv_heads", "num_kv_heads")]
    split: dict[str, Any] = {}
    for name, tensor in weights.items():
        if ".qkv." not in name:
            split[name] = tensor
            continue
        for part, piece in zip(("to_q", "to_k", "to_v"), tensor.split(widths), strict=True):
            split[name.replace("qkv", part)] = piece.clone()
    return split
