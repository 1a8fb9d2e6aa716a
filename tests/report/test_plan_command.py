"""`diffbench plan`: what it reads from its command line, and how it says what can't be used."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from pytest_diffbench.commands import main as cli
from pytest_diffbench.commands import plan as plan_command
from pytest_diffbench.commands.plan import call_arguments
from pytest_diffbench.errors import OptionError
from pytest_diffbench.records.peaks import PEAKS, peak_named

if TYPE_CHECKING:
    from pathlib import Path


def test_values_are_literals_if_python_reads_literals() -> None:
    settings = ["a=0.5", "b=3", "c=True", "d=false", "e=none", "f=a text", "g=[1, 2]", "h=x=y", "i="]
    assert call_arguments(settings) == {
        "a": 0.5, "b": 3, "c": True, "d": False, "e": None, "f": "a text", "g": [1, 2], "h": "x=y", "i": "",
    }  # fmt: skip


@pytest.mark.parametrize("setting", ["ratio", "=1", "a b=1", "1a=2"])
def test_a_setting_without_a_name_is_refused(setting: str) -> None:
    with pytest.raises(OptionError, match=re.escape(repr(setting))):
        call_arguments([setting])


@pytest.mark.parametrize(
    ("name", "full_name"),
    [
        ("NVIDIA H100", "NVIDIA H100 SXM"),
        ("h100-pcie", "NVIDIA H100 PCIe"),
        ("H200", "NVIDIA H200 SXM"),
        ("a100", "NVIDIA A100 SXM 80GB"),
        ("rtx 4090", "NVIDIA GeForce RTX 4090"),
        ("RTX4090", "NVIDIA GeForce RTX 4090"),
        ("l4", "NVIDIA L4"),
        ("L40S", "NVIDIA L40S"),
    ],
)
def test_devices_are_matched_by_parts_of_their_names(name: str, full_name: str) -> None:
    assert peak_named(name).name == full_name


def test_every_peak_has_a_source_and_sixteen_bits_are_faster() -> None:
    for peak in PEAKS.values():
        assert peak.source
        assert peak.flops_per_s("bfloat16") == peak.flops_per_s("float16") > peak.flops_per_s("float32") > 1e13
        # of dense matrices: with sparsity, as datasheets also have them, they are twice as large
        assert peak.flops_per_s("bfloat16") <= 16 * peak.flops_per_s("float32")
        assert 1e11 < peak.bytes_per_s < 1e13
        assert peak.memory_bytes >= 24e9


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lumina3"], "did you mean 'lumina2'"),
        (["lumina2", "--device", "GTX 1"], "device='GTX 1' isn't in the table of peaks"),
        (["lumina2", "--dtype", "bf17"], "did you mean 'bf16'"),
        (["lumina2", "--set", "height=0"], "height=0: give at least 1"),
        (["lumina2", "--set", "num_inference_steps=0"], "num_inference_steps=0: give at least 1"),
        (["lumina2", "--set", "width=-8"], "width=-8: give at least 1"),
        (
            ["lumina2", "--height", "64", "--set", "height=32"],
            "height is given twice, as 64 and with --set height=32",
        ),
        (["lumina2", "--set", "nonsense"], "'nonsense' isn't NAME=VALUE"),
        (["./nowhere"], "there is no such folder"),
    ],
)
def test_what_cannot_be_used_is_named_with_the_remedy(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["plan", *arguments]) == cli.UNUSABLE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.count("\n") == 1


# -- folders, which hold pipelines of any class


@pytest.mark.parametrize("option", ["--steps=1", "--height=1", "--set=width=1"])
def test_counts_of_1_are_accepted(monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    planned: list[dict[str, Any]] = []

    def refuse(source: str, arguments: dict[str, Any], *_: object) -> None:
        planned.append(arguments)
        raise OptionError("that far")

    monkeypatch.setattr(plan_command, "_planned", refuse)
    assert cli.main(["plan", "lumina2", option]) == 2
    assert [1 in arguments.values() for arguments in planned] == [True]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, real_libraries: None) -> Path:
    from tiny_pipelines import build_tiny

    saved_folder = tmp_path_factory.mktemp("saved") / "tiny"
    build_tiny("lumina2").save_pretrained(saved_folder)
    for weights in saved_folder.glob("*/*.safetensors"):
        weights.unlink()
    return saved_folder


@pytest.mark.pipeline
def test_a_folder_of_configurations_is_planned(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--height", "64", "--width", "64", "--steps", "4", "--set", "cfg_trunc_ratio=0.5"]
    assert cli.main(["plan", str(folder), *size, "--device", "H200", "--json"]) == cli.FINE
    plan: Any = json.loads(capsys.readouterr().out)
    assert plan["pipeline"] == "Lumina2Pipeline"
    assert {group["branch"]: group["steps"] for group in plan["work"]["denoiser"]} == {"cond": "0-3", "uncond": "0-1"}
    assert plan["arguments"]["cfg_trunc_ratio"] == 0.5
    assert plan["roofline"]["device"] == "NVIDIA H200 SXM"


@pytest.mark.pipeline
@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("model_index.json", {"_class_name": "NoSuchPipeline"}, "has no class 'NoSuchPipeline'"),
        ("model_index.json", {"_class_name": "AutoencoderKL"}, "'AutoencoderKL', which isn't a pipeline"),
        ("model_index.json", {"vae": ["my_code", "MyVae"]}, "vae comes from 'my_code'"),
        ("model_index.json", {"vae": "AutoencoderKL"}, "can't be built"),
        ("transformer/config.json", {"hidden_size": "wide"}, "Lumina2Transformer2DModel can't be built"),
        ("transformer/config.json", None, "needs its config.json"),
        ("tokenizer/tokenizer.json", None, "can't be read"),
    ],
)
def test_what_is_wrong_with_a_folder_is_named(
    folder: Path,
    tmp_path: Path,
    file: str,
    change: dict[str, Any] | None,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import shutil

    broken = shutil.copytree(folder, tmp_path / "broken")
    path = broken / file
    if change is None:
        path.unlink()
    else:
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert cli.main(["plan", str(broken), "--height", "64", "--width", "64"]) == cli.UNUSABLE
    message = capsys.readouterr().err
    assert said in message
    assert "Traceback" not in message


@pytest.mark.pipeline
def test_what_the_pipeline_refuses_is_passed_on(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["plan", str(folder), "--height", "65", "--width", "64"]) == cli.UNUSABLE
    assert "divisible by" in capsys.readouterr().err
    assert cli.main(["plan", str(folder), "--set", "guidance=1"]) == cli.UNUSABLE
    assert "unexpected keyword argument 'guidance'" in capsys.readouterr().err

    def divide(*_: object, **__: object) -> float:
        return 1 / 0

    monkeypatch.setattr("pytest_diffbench.plan.record.plan_of", divide)
    assert cli.main(["plan", str(folder)]) == cli.UNUSABLE
    message = capsys.readouterr().err
    assert "refused the call: division by zero. Change --set" in message
    assert message.count("\n") == 1
