"""What a spec's tuning asks for, checked before a pipeline is there: names, parameters, files and packages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_diffbench.errors import PipelineError
from pytest_diffbench.pipelines import tuning
from pytest_diffbench.pipelines.tuned import quantization
from pytest_diffbench.pipelines.tuning import cache_text, check_tuning, lora_digest, parse_cache, parse_quantize
from pytest_diffbench.records import PipelineSpec, Tuning

if TYPE_CHECKING:
    from pathlib import Path


def spec_with(weights: Any = "pretrained", device: str = "cpu", **options: Any) -> PipelineSpec:
    return PipelineSpec(model="flux", weights=weights, device=device, dtype="float32", tuning=Tuning(**options))


@pytest.fixture
def no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "installed", lambda _: False)


@pytest.fixture
def all_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "installed", lambda _: True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"attention": "natve"},
            r"attention='natve' isn't known \(did you mean 'native'\?\)\. Use one of .*_native_math",
        ),
        ({"attention": "flash_hub"}, r"attention='flash_hub' needs code from the hub.*attention='flash'"),
        ({"attention": "_native_flash"}, r"attention='_native_flash' runs on CUDA devices, and device='cpu'"),
        ({"attention": "sage"}, r"attention='sage' can't be used here: .*Install what it needs, or use 'native'"),
        (
            {"quantize": "int9"},
            r"quantize='int9': the type 'int9' of torchao isn't known \(did you mean 'int8'\?\)\.",
        ),
        (
            {"quantize": "int4"},
            r"quantize='int4': the type 'int4' of torchao isn't known \(did you mean 'int8'\?\)\.",
        ),
        ({"quantize": "torcha:int8"}, r"the quantiser 'torcha' isn't known \(did you mean 'torchao'\?\)\."),
        ({"quantize": "quanto:int8"}, r"the quantiser 'quanto' isn't known"),
        ({"lora": "/no/where.bin"}, r"lora='/no/where.bin': only \.safetensors is loaded"),
        ({"lora": "/no/where.safetensors"}, r"lora='/no/where.safetensors': there is no such file"),
        ({"cache": "firstblock"}, r"cache='firstblock': 'firstblock' isn't known \(did you mean 'first-block'\?\)\."),
        ({"cache": "first-block:x"}, r"cache='first-block:x': threshold is a number, at least 0, not 'x'"),
        ({"cache": "first-block:-1"}, r"threshold is a number, at least 0, not '-1'"),
        ({"cache": "first-block:nan"}, r"threshold is a number, at least 0, not 'nan'"),
        ({"cache": "first-block:treshold=1"}, r"'treshold' of FirstBlockCacheConfig isn't known.*'threshold'"),
        ({"cache": "taylorseer:1.5"}, r"cache_interval is a whole number, at least 0, not '1.5'"),
        ({"cache": "taylorseer:use_lite_mode=1"}, r"use_lite_mode is true or false, not '1'"),
    ],
    ids=repr,
)
def test_what_cannot_be_had_is_named_with_the_remedy(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(PipelineError, match=expected):
        check_tuning(spec_with(**options))


@pytest.mark.parametrize(
    ("value", "package"), [("int8", "torchao"), ("nf4", "bitsandbytes"), ("torchao:float8", "torchao")]
)
def test_an_uninstalled_quantiser(no_packages: None, value: str, package: str) -> None:
    with pytest.raises(
        PipelineError, match=rf"quantize='{value}' needs the package {package}, .*pip install {package}"
    ):
        check_tuning(spec_with(quantize=value))


def test_a_lora_without_peft(no_packages: None, tmp_path: Path) -> None:
    (tmp_path / "one.safetensors").write_bytes(b"x")
    with pytest.raises(PipelineError, match=r"one\.safetensors' needs the package peft, .*pip install peft"):
        check_tuning(spec_with(lora=str(tmp_path / "one.safetensors")))


@pytest.mark.parametrize("weights", ["mini", "random"])
def test_only_what_is_loaded_is_quantised(all_packages: None, weights: str) -> None:
    with pytest.raises(PipelineError, match=rf"weights='{weights}' aren't. Drop it, or use .*pretrained"):
        check_tuning(spec_with(weights=weights, quantize="int8"))


@pytest.mark.parametrize(
    "options", [{"compile": "whole"}, {"vae_tiling": True}, {"cache": "first-block"}, {"attention": "native"}]
)
def test_a_plan_computes_nothing(options: dict[str, Any]) -> None:
    with pytest.raises(PipelineError, match=rf"{next(iter(options))}=.* has no effect with weights='plan'"):
        check_tuning(spec_with(weights="plan", **options))


def test_what_can_be_had_passes(all_packages: None, tmp_path: Path) -> None:
    (tmp_path / "one.safetensors").write_bytes(b"x")
    check_tuning(spec_with())
    check_tuning(spec_with(weights="plan"))
    check_tuning(
        spec_with(
            attention="_native_math",
            compile="regional",
            quantize="int8",
            lora=str(tmp_path / "one.safetensors"),
            cache="first-block:0.1",
        )
    )


def test_a_quantiser_is_chosen_by_the_type() -> None:
    assert parse_quantize("int8") == parse_quantize("torchao:int8") == ("torchao", "int8")
    assert parse_quantize("nf4") == ("bitsandbytes", "nf4")


def test_where_nothing_can_be_quantised_the_option_is_refused() -> None:
    assert quantization(spec_with(), []) == {}
    with pytest.raises(PipelineError, match="quantize='int8': the pipeline lists no transformer or UNet"):
        quantization(spec_with(quantize="int8"), [])


@pytest.mark.parametrize(
    ("value", "given"),
    [
        ("first-block", {}),
        ("first-block:0.1", {"threshold": 0.1}),
        ("first-block:threshold=.1", {"threshold": 0.1}),
        ("pyramid", {"spatial_attention_block_skip_range": 2}),
        ("pyramid:3", {"spatial_attention_block_skip_range": 3}),
        ("taylorseer:cache_interval=3, max_order=2", {"cache_interval": 3, "max_order": 2}),
        ("taylorseer:use_lite_mode=true", {"use_lite_mode": True}),
        ("faster", {"tensor_format": "BCHW"}),
    ],
)
def test_parameters_of_a_cache(value: str, given: dict[str, Any]) -> None:
    assert parse_cache(value)[1] == given


def test_two_spellings_of_a_cache_are_the_same() -> None:
    assert cache_text("first-block:.10") == cache_text("first-block:threshold=0.1") == "first-block:threshold=0.1"
    assert cache_text("taylorseer:max_order=2,cache_interval=3") == "taylorseer:cache_interval=3,max_order=2"


def test_a_lora_is_known_by_content(tmp_path: Path) -> None:
    first, same, other = (tmp_path / f"{name}.safetensors" for name in ("one", "same", "other"))
    first.write_bytes(b"x")
    same.write_bytes(b"x")
    other.write_bytes(b"y")
    assert lora_digest(first) == lora_digest(same) != lora_digest(other)
    first.write_bytes(b"yy")
    assert lora_digest(first) != lora_digest(same)
