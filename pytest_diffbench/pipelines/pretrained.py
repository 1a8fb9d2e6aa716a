"""Loads pretrained pipelines from a folder or the hub's cache: safetensors only, and never code from elsewhere."""

from __future__ import annotations

import hashlib
import os
import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import MissingPipelineError, PipelineError, option
from pytest_diffbench.pipelines import tuned
from pytest_diffbench.pipelines.dtypes import dtype_argument
from pytest_diffbench.pipelines.folders import (
    COMPONENT,
    INDEX,
    check_pipeline,
    commit,
    digest,
    digest_with,
    find_pipeline,
    read_index,
    single_file,
)
from pytest_diffbench.pipelines.single_file import load_denoiser

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from pytest_diffbench.pipelines.registry import Model
    from pytest_diffbench.records import PipelineSpec

_SAMPLED_VALUES = 64
_TIMEOUT_S = 10.0


def load_pretrained(
    spec: PipelineSpec, model: Model, folder: Path | None = None, *, download: bool = False
) -> DiffusionPipeline:
    """Load a pretrained pipeline onto the CPU, in the spec's dtype.

    The weights come from `folder`, else from `spec.source` (a folder or a hub id), else from the model's hub id. A
    snapshot in the hub's cache is used as it stands, so that a benchmark's weights don't change under it.

    Args:
        spec: dtype and source.
        model: the pipeline's class, which the weights must declare.
        folder: see `folders.find_pipeline`.
        download: where there is no whole snapshot, fetch it from the hub. The network isn't used otherwise, and never
            while `HF_HUB_OFFLINE` is set.

    Raises:
        PipelineError: the weights aren't there, aren't whole, aren't this model's, would need code of their own, or
            can't be loaded by the library.
    """
    place, file = _place(spec, model, folder, download)
    diffusers = import_module("diffusers")
    pipeline_class: Any = getattr(diffusers, model.pipeline_class, None)
    if pipeline_class is None or not hasattr(pipeline_class, "from_pretrained"):
        raise PipelineError(
            f"{place / INDEX}: _class_name is {model.pipeline_class!r}, which diffusers {diffusers.__version__} "
            "doesn't have. Install the version that the folder was saved with, or a later one."
        )
    denoisers = [
        name for name, library, kind in read_index(place)[1] if library == "diffusers" and _is_denoiser(kind)
    ]
    more = tuned.quantization(spec, denoisers)
    if file is not None:
        more[COMPONENT] = load_denoiser(file, place, spec.dtype)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*torch_dtype", category=FutureWarning)
            pipeline: Any = pipeline_class.from_pretrained(
                str(place),
                use_safetensors=True,
                local_files_only=True,
                **dtype_argument(spec.dtype),
                **more,
            )
    except Exception as error:  # the libraries raise all kinds, and only they know why
        raise PipelineError(
            f"{place}: {model.pipeline_class}.from_pretrained failed: {_message_of(error)}. "
            "Check that this version of diffusers and transformers supports the model, or download it again."
        ) from error
    if file is not None:
        pipeline.register_to_config(_single_file=str(file))  # for its revision
    loaded: DiffusionPipeline = pipeline
    return loaded


def _place(spec: PipelineSpec, model: Model, folder: Path | None, download: bool) -> tuple[Path, Path | None]:
    """The folder of the pipeline, checked, and the single file of its transformer where there is one."""
    source = str(folder) if folder is not None else spec.source or model.hub_id
    if folder is None and not _is_path(source):
        return _snapshot(source, model, download), None
    path = Path(source).expanduser()
    file = single_file(path, model) if path.exists() else None
    if file is None:
        place = find_pipeline(path, model)
        check_pipeline(place, model)
        return place, None
    if spec.tuning.quantize is not None:
        raise PipelineError(
            f"quantize={spec.tuning.quantize!r} works only with folders written by save_pretrained, and {file} is a "
            "single-file checkpoint. Drop it, or save the pipeline."
        )
    if not (file.parent / INDEX).is_file():
        return _snapshot(model.hub_id, model, download), file  # the rest of the pipeline
    place = find_pipeline(file.parent, model)
    check_pipeline(place, model, weightless=COMPONENT)
    return place, file


def revision(source: DiffusionPipeline | Path) -> str:
    """Identify the weights of a pipeline or a folder.

    Returns:
        The hub's commit where they come from a snapshot in its cache; else a digest of the folder (see
        `folders.digest`); for a pipeline that was built in code a digest of samples of its parameters.
    """
    if isinstance(source, Path):
        return commit(source) or digest(source)
    pipeline: Any = source  # diffusers' classes are opaque to type checkers
    name = pipeline.config.get("_name_or_path") or ""
    file = pipeline.config.get("_single_file")
    if file:
        return digest_with(Path(name), Path(file))
    if name and Path(name).is_dir():
        return revision(Path(name))
    snapshot = _cached_snapshot(name) if name.count("/") == 1 else None
    return revision(snapshot) if snapshot else _parameters_digest(pipeline)


def _is_denoiser(class_name: str) -> bool:
    return any(part in class_name for part in ("Transformer", "UNet", "Unet", "Prior"))


def _is_path(source: str) -> bool:
    """Tell a folder from a hub id, which is `owner/name`. A folder that exists wins."""
    path = Path(source).expanduser()
    return path.exists() or path.is_absolute() or source.startswith((".", "~")) or source.count("/") != 1


def _snapshot(hub_id: str, model: Model, download: bool) -> Path:
    cached = _cached_snapshot(hub_id)
    problem: PipelineError | None = None
    if cached is not None:
        try:
            check_pipeline(cached, model)
        except PipelineError as error:  # perhaps only half of it was downloaded
            problem = error
        else:
            return cached
    if not download or _offline():
        why = "It can't be downloaded while HF_HUB_OFFLINE is set" if download else "Tests download nothing"
        unless = "" if download else f" With {option('download')} the test does it: tens of gigabytes."
        raise MissingPipelineError(
            f"{hub_id}: {problem or 'nothing of it is in the cache of the hub.'} {why}. "
            f"{_how_to_get(hub_id, model)}{unless}"
        ) from problem
    folder = _download(hub_id, model)
    check_pipeline(folder, model)
    return folder


def _download(hub_id: str, model: Model) -> Path:
    errors: Any = import_module("huggingface_hub.errors")
    hub: Any = import_module("huggingface_hub")
    pipeline_class: Any = getattr(import_module("diffusers"), model.pipeline_class)
    try:
        # asked for first, since unlike a download it doesn't try again and again where there is no network
        hub.model_info(hub_id, timeout=_TIMEOUT_S)
        return Path(pipeline_class.download(hub_id, use_safetensors=True))
    except errors.GatedRepoError as error:
        raise MissingPipelineError(
            f"{hub_id} is gated and this account has no access. {_how_to_get(hub_id, model)}"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise MissingPipelineError(
            f"{hub_id} isn't on the hub, or is private. Check the name. {_how_to_get(hub_id, model)}"
        ) from error
    except Exception as error:  # which HTTP library raises here depends on huggingface_hub's version
        raise MissingPipelineError(
            f"{hub_id} isn't in the hub's cache and couldn't be downloaded ({_message_of(error)}). "
            f"{_how_to_get(hub_id, model)}"
        ) from error


def _cached_snapshot(hub_id: str) -> Path | None:
    """The newest snapshot of the default branch in the hub's cache. Never uses the network."""
    path = import_module("huggingface_hub").try_to_load_from_cache(hub_id, INDEX)
    return Path(path).parent if isinstance(path, str) else None


def _offline() -> bool:
    # the hub's library reads the variable once, when it is imported
    flag = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    return flag or bool(import_module("huggingface_hub.constants").HF_HUB_OFFLINE)


def _how_to_get(hub_id: str, model: Model) -> str:
    licence = (
        f"accept the licence at https://huggingface.co/{hub_id}, log in with `hf auth login`, " if model.gated else ""
    )
    return (
        f"On a machine with access to the hub, {licence}run `hf download {hub_id}` (`huggingface-cli download` in "
        f"older versions); otherwise give {option('models')} a folder with a copy."
    )


def _message_of(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(". ")


def _parameters_digest(pipeline: Any) -> str:
    torch = import_module("torch")
    total = hashlib.sha256()
    for name, component in sorted(pipeline.components.items()):
        if not isinstance(component, torch.nn.Module):
            continue
        for key, parameter in component.named_parameters():
            total.update(f"{name}.{key} {tuple(parameter.shape)}\n".encode())
            if parameter.device.type != "meta":  # sequential offload keeps the values elsewhere
                flat = parameter.detach().reshape(-1)
                values = flat[:: max(1, flat.numel() // _SAMPLED_VALUES)].float().cpu()
                total.update(values.numpy().tobytes())
    return total.hexdigest()[:16]
