"""Pretrained weights: found, checked, loaded without code or pickles, and identified; tested on tiny ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub
import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from tiny_pipelines import build_tiny

from pytest_diffbench.errors import MissingPipelineError, PipelineError
from pytest_diffbench.pipelines import pretrained
from pytest_diffbench.pipelines.folders import commit, digest
from pytest_diffbench.pipelines.pretrained import load_pretrained, revision
from pytest_diffbench.pipelines.registry import MODELS
from pytest_diffbench.records import PipelineSpec

if TYPE_CHECKING:
    from collections.abc import Callable

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LUMINA, FLUX = MODELS["lumina2"], MODELS["flux"]


def spec_for(name: str, dtype: str = "float32", source: str | None = None) -> PipelineSpec:
    return PipelineSpec(model=name, weights="pretrained", device="cpu", dtype=dtype, source=source)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a saved tiny pipeline of each model, named after it."""
    root = tmp_path_factory.mktemp("models")
    for name in MODELS:
        build_tiny(name).save_pretrained(root / name)
    return root


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    """A saved Lumina pipeline that a test may break."""
    return Path(shutil.copytree(saved / "lumina2", tmp_path / "copy"))


@pytest.fixture
def hub_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty hub cache; asking the hub itself fails the test unless the test says otherwise."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("the hub was asked")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub, "model_info", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path / "hub"


def fill_cache(cache: Path, saved: Path) -> Path:
    """Lay a saved Lumina pipeline into the hub's cache; returns the snapshot's folder."""
    repository = cache / "models--Alpha-VLLM--Lumina-Image-2.0"
    snapshot = Path(shutil.copytree(saved / "lumina2", repository / "snapshots" / COMMIT))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return snapshot


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def message_of(folder: Path, name: str = "lumina2") -> str:
    """Load a model from a folder that can't be loaded; returns what the error says."""
    with pytest.raises(PipelineError) as caught:
        load_pretrained(spec_for(name), MODELS[name], folder)
    assert str(folder) in str(caught.value)
    return str(caught.value)


def paint(pipeline: Any, name: str, **arguments: Any) -> Any:
    defaults = {**MODELS[name].mini_recommended, "num_inference_steps": 4, "output_type": "np"}
    pipeline.set_progress_bar_config(disable=True)
    return pipeline("a red circle", generator=torch.Generator().manual_seed(0), **{**defaults, **arguments})[0]


@pytest.mark.pipeline
@pytest.mark.parametrize("name", MODELS)
def test_a_saved_pipeline_is_located_by_name_and_loads_with_diffusers_alone(saved: Path, name: str) -> None:
    built = build_tiny(name)
    pipeline: Any = load_pretrained(spec_for(name), MODELS[name], saved)
    assert type(pipeline) is type(built)
    assert np.abs(paint(built, name) - paint(pipeline, name)).max() < 1e-4

    plain: Any = DiffusionPipeline
    plain = plain.from_pretrained(str(saved / name), use_safetensors=True)
    picture, other = (
        np.asarray(paint(p, name, output_type="pil")[0], dtype=np.int16)  # of a video all frames
        for p in (built, plain)
    )
    assert np.abs(picture - other).max() <= 1  # a mapped file's addresses may tip the rounding of a pixel


@pytest.mark.pipeline
@pytest.mark.parametrize("where", ["the folder itself", "named after the hub id", "source of the spec"])
def test_other_places_of_a_pipeline(copy: Path, tmp_path: Path, where: str) -> None:
    if where == "named after the hub id":
        copy.rename(tmp_path / "Lumina-Image-2.0")
        pipeline = load_pretrained(spec_for("lumina2"), LUMINA, tmp_path)
    elif where == "source of the spec":
        pipeline = load_pretrained(spec_for("lumina2", source=str(copy)), LUMINA)
    else:
        pipeline = load_pretrained(spec_for("lumina2"), LUMINA, copy)
    assert type(pipeline).__name__ == "Lumina2Pipeline"


@pytest.mark.pipeline
@pytest.mark.filterwarnings("error::FutureWarning")
def test_loads_in_the_dtype_of_the_spec(copy: Path) -> None:
    pipeline: Any = load_pretrained(spec_for("lumina2", dtype="bf16"), LUMINA, copy)
    assert {pipeline.transformer.dtype, pipeline.vae.dtype, pipeline.text_encoder.dtype} == {torch.bfloat16}


def test_missing_folder(tmp_path: Path) -> None:
    message = message_of(tmp_path / "nowhere")
    assert "there is no such folder" in message
    assert "--diffbench-models" in message


def test_empty_folder(tmp_path: Path) -> None:
    message = message_of(tmp_path)
    assert "the folder is empty" in message
    assert "hf download Alpha-VLLM/Lumina-Image-2.0" in message


def test_file_instead_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"")
    assert "this is a file. Give --diffbench-models the folder" in message_of(tmp_path / "model.bin")


def test_folder_without_an_index(copy: Path) -> None:
    (copy / "model_index.json").unlink()
    message = message_of(copy)
    assert "holds no model_index.json" in message
    assert "'lumina2' or 'Lumina-Image-2.0'" in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "can't be read as JSON"),
        ("[]", "expected a JSON object, found list"),
        ("{}", "_class_name is None"),
        ('{"_class_name": "Lumina2Pipeline"}', "no component is listed"),
        ('{"_class_name": "Lumina2Pipeline", "vae": ["diffusers"]}', "vae is ['diffusers'], expected a library"),
    ],
)
def test_malformed_index(copy: Path, content: str, expected: str) -> None:
    (copy / "model_index.json").write_text(content)
    assert expected in message_of(copy)


def test_a_class_other_than_the_registered_class(saved: Path) -> None:
    with pytest.raises(PipelineError, match=r"'FluxPipeline', but model='lumina2' is a Lumina2Pipeline"):
        load_pretrained(spec_for("lumina2"), LUMINA, saved / "flux")


@pytest.mark.parametrize(
    "plant",
    [
        lambda folder: edit_json(folder / "model_index.json", _class_name=["evil", "Lumina2Pipeline"]),
        lambda folder: edit_json(folder / "model_index.json", transformer=["evil", "Lumina2Transformer2DModel"]),
        lambda folder: edit_json(folder / "model_index.json", transformer=["os.path", "join"]),
        lambda folder: shutil.copy(folder / "evil.py", folder / "transformer" / "diffusers.py"),
        lambda folder: shutil.copy(folder / "evil.py", folder / "None.py"),
    ],
    ids=["pipeline class", "component", "installed module", "module beside the weights", "pipeline module"],
)
def test_code_beside_the_weights_is_refused(copy: Path, plant: Callable[[Path], object]) -> None:
    code = f"import pathlib; pathlib.Path({str(copy / 'ran')!r}).touch()"
    for place in (copy / "evil.py", copy / "transformer" / "evil.py"):
        place.write_text(code)
    plant(copy)
    assert "which is never run" in message_of(copy)
    assert not (copy / "ran").exists()


def test_pickles_are_refused(copy: Path) -> None:
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    message = message_of(copy)
    assert "the weights are pickles (diffusion_pytorch_model.bin)" in message
    assert "safe_serialization=True" in message


def test_missing_weights(copy: Path) -> None:
    (copy / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    assert "there are no weights (*.safetensors) for AutoencoderKL" in message_of(copy)


def test_missing_component(copy: Path) -> None:
    shutil.rmtree(copy / "tokenizer")
    assert "is listed in model_index.json, but its folder is missing or empty" in message_of(copy)


def test_missing_shard(copy: Path) -> None:
    index = {"weight_map": {"a": "diffusion_pytorch_model.safetensors", "b": "part-2.safetensors"}}
    (copy / "vae" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    assert "lists part-2.safetensors, which are missing" in message_of(copy)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda content: content[:-1], "but its header says"),
        (lambda content: content[:100], "its header claims"),
        (lambda _: b"", "its header claims 0 bytes, but the file has 0"),
        (lambda _: b"version https://git-lfs.github.com/spec/v1\n", "run `git lfs pull`"),
        (lambda content: content[:8] + b"x" * (len(content) - 8), "not a complete safetensors file"),
    ],
    ids=["short by a byte", "only a header's beginning", "empty", "git lfs pointer", "garbage"],
)
def test_damaged_weights(copy: Path, damage: Callable[[bytes], bytes], expected: str) -> None:
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(damage(weights.read_bytes()))
    message = message_of(copy)
    assert str(weights) in message
    assert expected in message


@pytest.mark.pipeline
def test_a_failure_of_the_library_to_load_is_reported_in_the_librarys_words(copy: Path) -> None:
    edit_json(copy / "transformer" / "config.json", hidden_size=96)
    message = message_of(copy)
    assert "Lumina2Pipeline.from_pretrained failed" in message
    assert "ValueError" in message


@pytest.mark.pipeline
def test_snapshot_in_the_cache_needs_no_network(hub_cache: Path, saved: Path) -> None:
    snapshot = fill_cache(hub_cache, saved)
    pipeline = load_pretrained(spec_for("lumina2"), LUMINA)
    assert revision(pipeline) == COMMIT
    assert revision(snapshot) == COMMIT


@pytest.mark.parametrize("half", [False, True])
def test_nothing_is_downloaded_unless_asked_for(hub_cache: Path, saved: Path, half: bool) -> None:
    if half:
        shutil.rmtree(fill_cache(hub_cache, saved) / "vae")
    with pytest.raises(MissingPipelineError, match="Tests download nothing") as caught:
        load_pretrained(spec_for("lumina2"), LUMINA)
    assert "run `hf download Alpha-VLLM/Lumina-Image-2.0`" in str(caught.value)
    assert "With --diffbench-download the test does it" in str(caught.value)
    assert ("AutoencoderKL is listed" in str(caught.value)) is half


def test_offline_without_a_snapshot(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(PipelineError) as caught:
        load_pretrained(spec_for("flux"), FLUX, download=True)
    message = str(caught.value)
    assert "HF_HUB_OFFLINE is set" in message
    assert "accept the licence at https://huggingface.co/black-forest-labs/FLUX.1-dev" in message
    assert "--diffbench-models" in message


def test_offline_with_half_a_snapshot(hub_cache: Path, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    shutil.rmtree(fill_cache(hub_cache, saved) / "vae")
    with pytest.raises(PipelineError, match=r"vae: AutoencoderKL is listed .* while HF_HUB_OFFLINE is set"):
        load_pretrained(spec_for("lumina2"), LUMINA, download=True)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            GatedRepoError,
            "is gated and this account has no access. On a machine with access to the hub, accept the licence",
        ),
        (RepositoryNotFoundError, "isn't on the hub, or is private"),
        (ConnectionError, "isn't in the hub's cache and couldn't be downloaded (ConnectionError: no)"),
    ],
)
def test_hub_refusing_or_out_of_reach(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception], expected: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        # made without the constructor, whose response belongs to an HTTP library that differs between versions
        raise error.__new__(error, "no")

    monkeypatch.setattr(huggingface_hub, "model_info", fail)
    with pytest.raises(PipelineError) as caught:
        load_pretrained(spec_for("flux"), FLUX, download=True)
    assert expected in str(caught.value)
    assert "hf download black-forest-labs/FLUX.1-dev" in str(caught.value)


def test_download_is_checked_before_loading(hub_cache: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object, use_safetensors: bool) -> str:
        assert use_safetensors
        return str(copy)

    monkeypatch.setattr(huggingface_hub, "model_info", lambda *_, **__: None)
    monkeypatch.setattr("diffusers.Lumina2Pipeline.download", download)
    shutil.rmtree(copy / "vae")
    with pytest.raises(PipelineError, match="AutoencoderKL is listed"):
        load_pretrained(spec_for("lumina2"), LUMINA, download=True)


@pytest.mark.parametrize(
    ("source", "expected"),
    [("owner/name", False), ("./owner/name", True), ("/owner/name", True), ("~/name", True), ("a/b/c", True)],
)
def test_tells_folders_from_hub_ids(source: str, expected: bool) -> None:
    assert pretrained._is_path(source) is expected


def test_digest_of_equal_weights_is_equal(saved: Path, copy: Path) -> None:
    edit_json(copy / "model_index.json", _diffusers_version="99.0")
    assert digest(copy) == digest(saved / "lumina2") == revision(copy)
    assert len(digest(copy)) == 16
    assert commit(copy) is None


@pytest.mark.parametrize("change", ["weights", "scheduler", "name"])
def test_digest_sees_what_changed(saved: Path, copy: Path, change: str) -> None:
    if change == "weights":  # same architecture, so the headers are equal
        shutil.copytree(saved / "neta-lumina", copy, dirs_exist_ok=True)
    elif change == "scheduler":
        edit_json(copy / "scheduler" / "scheduler_config.json", shift=3.0)
    else:
        weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
        weights.rename(weights.with_name("other.safetensors"))
    assert digest(copy) != digest(saved / "lumina2")


@pytest.mark.pipeline
def test_revision_of_pipelines_built_in_code() -> None:
    lumina, again, neta = (revision(build_tiny(name)) for name in ("lumina2", "lumina2", "neta-lumina"))
    assert lumina == again != neta
