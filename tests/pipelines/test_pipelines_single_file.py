"""A transformer from a single-file checkpoint in its authors' layout; tested on tiny ones, written here in it."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_pipelines import build_tiny

from pytest_diffbench.errors import PipelineError
from pytest_diffbench.pipelines.folders import single_file
from pytest_diffbench.pipelines.pretrained import load_pretrained, revision
from pytest_diffbench.pipelines.registry import MODELS
from pytest_diffbench.pipelines.single_file import PREFIX
from pytest_diffbench.records import PipelineSpec, Tuning

if TYPE_CHECKING:
    from collections.abc import Callable

NETA = MODELS["neta-lumina"]

_AUTHORS_NAMES = (
    ("time_caption_embed.caption_embedder", "cap_embedder"),
    ("time_caption_embed.timestep_embedder.linear_1", "t_embedder.mlp.0"),
    ("time_caption_embed.timestep_embedder.linear_2", "t_embedder.mlp.2"),
    ("norm_out.linear_1", "final_layer.adaLN_modulation.1"),
    ("norm_out.linear_2", "final_layer.linear"),
    (".attn.norm_q", ".attention.q_norm"),
    (".attn.norm_k", ".attention.k_norm"),
    (".attn.to_out.0.", ".attention.out."),
    (".attn.", ".attention."),
    (".linear_1.", ".w1."),
    (".linear_2.", ".w2."),
    (".linear_3.", ".w3."),
    (".norm1.linear.", ".adaLN_modulation.1."),
    (".norm1.norm.", ".attention_norm1."),
    (".norm1.", ".attention_norm1."),
    (".norm2.", ".attention_norm2."),
)
"""From diffusers' names to the authors', in this order. Written down from the authors' model, not from the loader."""


def in_authors_layout(transformer: Any) -> dict[str, torch.Tensor]:
    """The weights of a transformer as its authors publish them, without prefix."""
    named: dict[str, torch.Tensor] = {}
    for name, tensor in transformer.state_dict().items():
        other = name
        for published, authors in _AUTHORS_NAMES:
            if published in (".linear_1.", ".linear_2.", ".linear_3.") and ".feed_forward." not in name:
                continue
            other = other.replace(published, authors)
        named[other] = tensor.contiguous()
    for name in [name for name in named if ".to_q." in name]:
        parts = [named.pop(name.replace("to_q", part)) for part in ("to_q", "to_k", "to_v")]
        named[name.replace("to_q", "qkv")] = torch.cat(parts)
    return named


@pytest.fixture(scope="module")
def neta() -> Any:
    return build_tiny("neta-lumina")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, neta: Any) -> Path:
    """A pipeline's folder, whose transformer has a configuration and no weights."""
    folder = tmp_path_factory.mktemp("models") / "neta-lumina"
    neta.save_pretrained(folder)
    for weights in (folder / "transformer").glob("*.safetensors*"):
        weights.unlink()
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "neta-lumina"))


def spec_for(**options: Any) -> PipelineSpec:
    return PipelineSpec(
        model="neta-lumina", weights="pretrained", device="cpu", dtype="float32", tuning=Tuning(**options)
    )


def paint(pipeline: Any) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    call: dict[str, Any] = {"num_inference_steps": 3, "height": 64, "width": 64, "output_type": "np"}
    return pipeline("a red circle", generator=generator, **call).images


def write(file: Path, weights: dict[str, torch.Tensor], prefix: str = PREFIX) -> Path:
    save_file({f"{prefix}{name}": tensor for name, tensor in weights.items()}, file)
    return file


@pytest.mark.pipeline
@pytest.mark.parametrize("prefix", [PREFIX, ""], ids=["as ComfyUI has it", "as the authors have it"])
@pytest.mark.parametrize("given", ["file", "folder", "folder above"])
def test_the_same_weights_from_a_single_file(folder: Path, neta: Any, prefix: str, given: str) -> None:
    file = write(folder / "neta-lumina-v1.safetensors", in_authors_layout(neta.transformer), prefix)
    source = {"file": file, "folder": folder, "folder above": folder.parent}[given]
    pipeline: Any = load_pretrained(spec_for(), NETA, source)
    loaded, built = pipeline.transformer.state_dict(), neta.transformer.state_dict()
    assert loaded.keys() == built.keys()
    assert all(loaded[name].equal(built[name]) for name in built)
    assert np.abs(paint(pipeline) - paint(neta)).max() < 1e-4


@pytest.mark.pipeline
def test_what_else_a_file_holds_is_left_alone(folder: Path, neta: Any) -> None:
    weights = {f"{PREFIX}{name}": tensor for name, tensor in in_authors_layout(neta.transformer).items()}
    others = {"text_encoders.gemma2_2b.logit_scale": torch.ones(1), "vae.decoder.conv_in.bias": torch.ones(3)}
    save_file(weights | others | {f"{PREFIX}norm_final.weight": torch.ones(4)}, folder / "all.safetensors")
    pipeline: Any = load_pretrained(spec_for(), NETA, folder / "all.safetensors")
    assert pipeline.vae.decoder.conv_in.bias.equal(neta.vae.decoder.conv_in.bias)


@pytest.mark.pipeline
def test_revision_is_of_what_is_in_the_file(folder: Path, neta: Any) -> None:
    weights = in_authors_layout(neta.transformer)
    file = write(folder / "one.safetensors", weights)
    first = revision(load_pretrained(spec_for(), NETA, file))
    file = file.rename(folder / "another-name.safetensors")
    assert revision(load_pretrained(spec_for(), NETA, file)) == first
    write(file, {name: tensor + 1 for name, tensor in weights.items()})
    assert revision(load_pretrained(spec_for(), NETA, file)) != first


def _without(name: str) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    return lambda weights: {key: tensor for key, tensor in weights.items() if key != name}


@pytest.mark.pipeline
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            _without("layers.0.attention.out.weight"),
            r"1 weights are missing, by .*config\.json: layers\.0\.attn\.to_out\.0\.weight\.",
        ),
        (
            lambda weights: weights | {"layers.7.ffn_norm1.weight": torch.ones(64)},
            r"1 weights are not the model's, by .*: layers\.7\.ffn_norm1\.weight\.",
        ),
        (_without("cap_embedder.0.weight"), r"isn't a checkpoint of Lumina-Image-2\.0 .*'cap_embedder\.0\.weight'"),
        (
            lambda weights: weights | {"layers.0.attention.qkv.weight": torch.ones(7, 64)},
            r"its weights don't fit .*config\.json",
        ),
    ],
    ids=["one missing", "one too many", "another model", "another width"],
)
def test_unfitting_weights_are_named(
    folder: Path, neta: Any, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], expected: str
) -> None:
    file = write(folder / "one.safetensors", change(in_authors_layout(neta.transformer)))
    with pytest.raises(PipelineError, match=expected) as caught:
        load_pretrained(spec_for(), NETA, file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("name", ["", "neta-lumina", NETA.hub_id.rpartition("/")[2]])
def test_a_file_without_a_surrounding_pipeline_is_located(tmp_path: Path, name: str) -> None:
    assert single_file(tmp_path, NETA) is None
    (tmp_path / name).mkdir(exist_ok=True)
    file = write(tmp_path / name / "one.safetensors", {"a": torch.ones(1)})
    assert single_file(tmp_path, NETA) == single_file(file, NETA) == file


def test_two_files_are_too_many(folder: Path) -> None:
    for name in ("one", "other"):
        save_file({"a": torch.ones(1)}, folder / f"{name}.safetensors")
    with pytest.raises(PipelineError, match=r"there are 2 single-file checkpoints .*one\.safetensors, other"):
        load_pretrained(spec_for(), NETA, folder)


def test_other_classes_have_none(folder: Path) -> None:
    save_file({"a": torch.ones(1)}, folder / "one.safetensors")
    with pytest.raises(PipelineError, match=r"for a Lumina2Pipeline, but model='flux' is a FluxPipeline"):
        load_pretrained(spec_for(), MODELS["flux"], folder / "one.safetensors")


def test_a_single_file_is_not_quantised(folder: Path) -> None:
    save_file({"a": torch.ones(1)}, folder / "one.safetensors")
    with pytest.raises(
        PipelineError, match=r"quantize='int8' works only with folders .*one\.safetensors is a single-file"
    ):
        load_pretrained(spec_for(quantize="int8"), NETA, folder / "one.safetensors")


def test_half_a_file(folder: Path, neta: Any) -> None:
    file = write(folder / "one.safetensors", in_authors_layout(neta.transformer))
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(PipelineError, match=r"one\.safetensors: not a complete safetensors file"):
        load_pretrained(spec_for(), NETA, file)


def test_a_file_without_the_rest_of_the_pipeline(tmp_path: Path, neta: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    file = write(tmp_path / "one.safetensors", in_authors_layout(neta.transformer))
    with pytest.raises(PipelineError, match=r"neta-art/Neta-Lumina-diffusers: nothing of it is in the cache"):
        load_pretrained(spec_for(), NETA, file)


@pytest.mark.full
@pytest.mark.pipeline
def test_through_the_command_line(
    pytester: pytest.Pytester, folder: Path, neta: Any, real_libraries: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(folder / "one.safetensors", in_authors_layout(neta.transformer))
    assert len(load_file(file)) == len(in_authors_layout(neta.transformer))
    pytester.makepyfile(
        """
import pytest

@pytest.mark.diffbench(model="neta-lumina", weights="pretrained")
def test_it(diffbench, diffbench_pipeline):
    result = diffbench(diffbench_pipeline, "a red circle", num_inference_steps=2, height=64, width=64)
    assert result.work.denoiser_calls == 4
    assert result.observation.case.definition.revision
"""
    )
    ticks = itertools.count(1_000_000, 1_000_000)  # or a busy machine's times would keep it from being saved
    monkeypatch.setattr("pytest_diffbench.measure.clock.now_ns", lambda: next(ticks))
    result = pytester.runpytest_inprocess(
        "--diffbench-save", "--diffbench-rounds=1", "--diffbench-gates=work,guidance", f"--diffbench-models={file}"
    )
    result.assert_outcomes(passed=1)
