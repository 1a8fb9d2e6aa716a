"""Reads a folder of pretrained weights before anything in it is loaded: is it whole, safe, and the right pipeline?

Nothing here imports torch or runs what the folder holds.
"""

from __future__ import annotations

import hashlib
import json
import re
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import MissingPipelineError, PipelineError, option
from pytest_diffbench.pipelines.registry import MODELS, Model, model_named

if TYPE_CHECKING:
    from collections.abc import Iterator

INDEX = "model_index.json"

COMPONENT = "transformer"
"""The component whose weights a single-file checkpoint holds."""

_SINGLE_FILE = "Lumina2Pipeline"
"""The class that can be loaded with a single-file checkpoint."""

FOLDER_MODEL = "folder"
"""What a marker's `model=` says for whatever pipeline `--diffbench-models` holds."""

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_WEIGHTLESS = (
    "Tokenizer",
    "TokenizerFast",
    "Scheduler",
    "Processor",
    "Extractor",
    "TokenizersBackend",
    "Guidance",
)
"""Ends of the names of classes that come without weights."""

_MAX_HEADER_BYTES = 100_000_000
"""The safetensors format's own limit."""

_SAMPLES = 64
_SAMPLE_BYTES = 4096


def model_for(name: str, folder: Path | None) -> Model:
    """The model that a name stands for: a registered one, or whatever a folder holds.

    Args:
        name: of a registered model; `FOLDER_MODEL`, or the name of the class that the folder declares.
        folder: see `find_pipeline`.

    Raises:
        MissingPipelineError: the folder's pipeline is asked for, and there is none.
        PipelineError: no such model.
    """
    held = folder / INDEX if folder is not None else None
    if name == FOLDER_MODEL:
        if held is None or not held.is_file():
            what = f"{option('models')} isn't given" if folder is None else f"{folder} holds no {INDEX}"
            raise MissingPipelineError(
                f"model={FOLDER_MODEL!r}: {what}. Give {option('models')} a folder written by save_pretrained."
            )
        return _model_in(held)
    if name not in MODELS and held is not None and held.is_file():
        model = _model_in(held)
        if model.name == name:
            return model
    return model_named(name)


def _model_in(index: Path) -> Model:
    declared = read_json(index).get("_class_name")
    if not isinstance(declared, str):
        raise _custom_code(index, "_class_name", declared)
    return Model(
        name=declared, pipeline_class=declared, hub_id="", recommended={}, mini_recommended={}, licence="unknown"
    )


def find_pipeline(folder: Path, model: Model) -> Path:
    """Find a model's pipeline in the folder given by `--diffbench-models`.

    Args:
        folder: the pipeline folder itself, or one that holds a sub-folder for each model, named after the model or
            after the last part of its hub id.
        model: which one is wanted.

    Raises:
        MissingPipelineError: there is no such folder, or no pipeline of this model in it.
    """
    names = (model.name, model.hub_id.rpartition("/")[2])
    if not folder.exists():
        raise MissingPipelineError(
            f"{folder}: there is no such folder. Give {option('models')} a folder with a {model.pipeline_class}."
        )
    if not folder.is_dir():
        raise PipelineError(
            f"{folder}: this is a file. Give {option('models')} the folder that "
            f"{model.pipeline_class}.save_pretrained wrote, or a copy of {model.hub_id}."
        )
    for candidate in (folder, *(folder / name for name in names)):
        if (candidate / INDEX).is_file():
            _check_class(candidate, model)
            return candidate
    state = "is empty" if next(folder.iterdir(), None) is None else f"holds no {INDEX}, so it isn't a pipeline"
    raise MissingPipelineError(
        f"{folder}: the folder {state}, and has no sub-folder {' or '.join(repr(name) for name in names)} that is "
        f"one. Fill it with `hf download {model.hub_id} --local-dir {folder / model.name}`."
    )


def single_file(folder: Path, model: Model) -> Path | None:
    """The single-file checkpoint that is named, or that lies in a folder in place of a transformer's weights.

    Raises:
        PipelineError: it can't be loaded for this model, or there are several.
    """
    if folder.is_file() and folder.suffix == ".safetensors":
        checkpoints = [folder]
    else:
        places = [folder, *(folder / name for name in (model.name, model.hub_id.rpartition("/")[2]) if name)]
        place = next((place for place in places if (place / INDEX).is_file()), None)
        place = place or next((place for place in places if list(place.glob("*.safetensors"))), None)
        if place is None or list((place / COMPONENT).glob("*.safetensors")):
            return None
        checkpoints = sorted(place.glob("*.safetensors"))
    if not checkpoints:
        return None
    if model.pipeline_class != _SINGLE_FILE:
        raise PipelineError(
            f"{checkpoints[0]}: a single-file checkpoint can only be loaded for a {_SINGLE_FILE}, but "
            f"model={model.name!r} is a {model.pipeline_class}. Give {option('models')} the folder written by "
            "save_pretrained."
        )
    if len(checkpoints) > 1:
        raise PipelineError(
            f"{checkpoints[0].parent}: there are {len(checkpoints)} single-file checkpoints "
            f"({checkpoints[0].name}, {checkpoints[1].name}). "
            f"Name one with {option('models')}."
        )
    return checkpoints[0]


def check_pipeline(folder: Path, model: Model, weightless: str | None = None) -> None:
    """Check that a folder holds the whole pipeline of a model, as safetensors, without code of its own.

    Args:
        folder: of the pipeline.
        model: which one it must be.
        weightless: a component that needs no weights there.

    Raises:
        PipelineError: the first thing that is wrong.
    """
    index = _check_class(folder, model)
    if (folder / "None.py").exists():
        # diffusers formats the custom pipeline it wasn't given into a file name, and would load this one
        raise _custom_code(folder, "the file", "None.py")
    components = list(_components(folder / INDEX, index))
    if not components:
        raise PipelineError(f"{folder / INDEX}: no component is listed. {_how_to_renew(model, folder)}")
    for name, library, class_name in components:
        _check_library(folder, name, library)
        _check_component(folder / name, class_name, model, weights_needed=name != weightless)


def _check_class(folder: Path, model: Model) -> dict[str, Any]:
    """Check that a folder declares a model's class; returns what stands in its index."""
    index = read_json(folder / INDEX)
    declared = index.get("_class_name")
    if isinstance(declared, list):
        raise _custom_code(folder / INDEX, "_class_name", declared)
    if declared != model.pipeline_class:
        raise MissingPipelineError(
            f"{folder / INDEX}: _class_name is {declared!r}, but model={model.name!r} is a {model.pipeline_class}. "
            f"Give {option('models')} another folder, or use the model that this folder holds."
        )
    return index


def _how_to_renew(model: Model, folder: Path) -> str:
    if not model.hub_id:
        return "Copy or save it again."
    return f"Download it again: `hf download {model.hub_id} --local-dir {folder}`."


def digest(folder: Path) -> str:
    """Identify the weights in a folder by 16 hexadecimal digits, without reading them all.

    Covers the configuration of pipeline and components, and of each safetensors file its name, size, header and
    64 blocks of 4 KiB spread evenly over its data. What a version of a library writes beside these doesn't matter.
    """
    total = hashlib.sha256()
    for path in sorted([folder / INDEX, *folder.glob("*/*config.json")]):
        config = {
            key: value
            for key, value in read_json(path).items()
            if key not in ("_name_or_path", "_diffusers_version", "transformers_version")
        }
        total.update(f"{path.relative_to(folder).as_posix()}\n{json.dumps(config, sort_keys=True)}\n".encode())
    for path in sorted(folder.glob("*/*.safetensors")):
        total.update(f"{path.relative_to(folder).as_posix()}\n".encode())
        total.update(_sampled(path))
    return total.hexdigest()[:16]


def digest_with(folder: Path, file: Path) -> str:
    """Identify the weights of a pipeline whose transformer comes from a single file, whatever the file is called."""
    return hashlib.sha256(digest(folder).encode() + _sampled(file)).hexdigest()[:16]


def _sampled(path: Path) -> bytes:
    """Size, header and blocks of a safetensors file's data."""
    header, size = read_header(path)
    parts = [f"{size}\n".encode(), header]
    with path.open("rb") as file:
        for sample in range(_SAMPLES):
            file.seek((size - _SAMPLE_BYTES) * sample // (_SAMPLES - 1) if size > _SAMPLE_BYTES else 0)
            parts.append(file.read(_SAMPLE_BYTES))
    return b"".join(parts)


def read_index(folder: Path) -> tuple[str, list[tuple[str, str | None, str]], dict[str, Any]]:
    """Read what a pipeline is made of.

    Returns:
        The pipeline's class; name, library and class of each component, the library None where it was left out; and
        the other arguments of the pipeline's constructor.

    Raises:
        PipelineError: naming the field that can't be used.
    """
    path = folder / INDEX
    index = read_json(path)
    declared = index.get("_class_name")
    if not isinstance(declared, str):
        raise _custom_code(path, "_class_name", declared)
    absent = [name for name, value in index.items() if value == [None, None] and not name.startswith("_")]
    settings = {
        name: value for name, value in index.items() if not name.startswith("_") and not isinstance(value, list)
    }
    return declared, [*_components(path, index), *((name, None, "") for name in absent)], settings


def commit(folder: Path) -> str | None:
    """Read the commit off the path of a snapshot in the hub's cache; None for any other folder."""
    for path in (folder.absolute(), folder.resolve()):
        if path.parent.name == "snapshots" and re.fullmatch(r"[0-9a-f]{40}", path.name):
            return path.name
    return None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises PipelineError where the file holds anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PipelineError(f"{path}: this can't be read as JSON ({error}). Download the model again.") from error
    if not isinstance(content, dict):
        raise PipelineError(
            f"{path}: expected a JSON object, found {type(content).__name__}. Download the model again."
        )
    return content


def _components(path: Path, index: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Name, library and class of each component that the pipeline has."""
    for name, value in index.items():
        if name.startswith("_") or not isinstance(value, list):
            continue  # an argument of the pipeline's constructor
        match value:
            case [None, None]:
                continue  # an optional component that was left out
            case [str(library), str(class_name)]:
                yield name, library, class_name
            case _:
                raise PipelineError(
                    f"{path}: {name} is {value!r}, expected a library and a class. Download the model again."
                )


def _check_library(folder: Path, name: str, library: str) -> None:
    known = library in ("diffusers", "transformers") or _is_pipeline_module(library)
    if not known or (folder / name / f"{library}.py").exists():
        raise _custom_code(folder / INDEX, name, library)


def _is_pipeline_module(library: str) -> bool:
    """Whether it is a module of diffusers' own pipelines, as `stable_diffusion`; nothing is imported."""
    spec = util.find_spec("diffusers")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    return library.isidentifier() and any(
        (Path(place) / "pipelines" / library / "__init__.py").is_file() for place in places
    )


def _custom_code(path: Path, field: str, value: object) -> PipelineError:
    return PipelineError(
        f"{path}: {field} {value!r} requires code that comes with the weights, which is never run. Use weights for "
        "a class of diffusers or transformers, or build the pipeline in the test and pass it in."
    )


def _check_component(folder: Path, class_name: str, model: Model, *, weights_needed: bool = True) -> None:
    remedy = _how_to_renew(model, folder.parent)
    files = sorted(path for path in folder.glob("*") if path.is_file())
    if not files:
        raise PipelineError(
            f"{folder}: {class_name} is listed in {INDEX}, but its folder is missing or empty. {remedy}"
        )
    if class_name.endswith(_WEIGHTLESS) or not weights_needed:
        return
    weights = [path for path in files if path.suffix == ".safetensors"]
    if not weights:
        pickles = [path.name for path in files if path.suffix in _PICKLES]
        if pickles:
            raise PipelineError(
                f"{folder}: the weights are pickles ({', '.join(pickles)}), which can run code and are never loaded. "
                "Load them in a script that you trust, and save them with save_pretrained(safe_serialization=True)."
            )
        raise PipelineError(f"{folder}: there are no weights (*.safetensors) for {class_name}. {remedy}")
    for path in weights:
        read_header(path)
    for path in files:
        if path.name.endswith(".safetensors.index.json"):
            shards = set(read_json(path).get("weight_map", {}).values())
            missing = sorted(shards - {weight.name for weight in weights})
            if missing:
                raise PipelineError(f"{path}: lists {', '.join(missing)}, which are missing. {remedy}")


def read_header(path: Path) -> tuple[bytes, int]:
    """Read the header of a safetensors file, and check that the file is as long as it says.

    Layout: 8 bytes of little-endian length, a JSON object of that length, then the data that its offsets point into.

    Returns:
        The header, and the file's size in bytes.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if start == b"version ":
                raise ValueError("it is a Git LFS pointer, so run `git lfs pull`")
            if length > min(_MAX_HEADER_BYTES, size - 8):
                raise ValueError(f"its header claims {length} bytes, but the file has {size}")
            header = file.read(length)
        tensors = [entry for name, entry in json.loads(header).items() if name != "__metadata__"]
        expected = 8 + length + max((entry["data_offsets"][1] for entry in tensors), default=0)
        if size != expected:
            raise ValueError(f"it has {size} bytes, but its header says {expected}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PipelineError(f"{path}: not a complete safetensors file: {error}. Download it again.") from error
    return header, size
