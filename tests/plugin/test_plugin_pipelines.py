"""Real pipelines through the fixtures: loading once, pretrained folders, a user's own, and what goes wrong."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_diffbench.report import session_json

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("real_libraries")]

PLAIN_TEST = """
import pytest

@pytest.mark.diffbench(model="lumina2")
def test_it(diffbench, diffbench_pipeline):
    diffbench(diffbench_pipeline, "a red circle", num_inference_steps=2)
"""


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess("--diffbench-rounds=1", "--diffbench-json=session.json", *arguments)


def session(pytester: pytest.Pytester) -> Any:
    return session_json.load(pytester.path / "session.json")


def test_every_pipeline_is_loaded_once_and_other_tests_keep_their_places(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
def pytest_diffbench_load_pipeline(spec, config):
    with open("log.txt", "a") as file:
        file.write(f"load {spec.model}\\n")

def pytest_runtest_logstart(nodeid):
    with open("log.txt", "a") as file:
        file.write(nodeid.rpartition("::")[2] + "\\n")
"""
    )
    case = """
@pytest.mark.diffbench(model="{}")
def test_{}(diffbench_pipeline):
    assert type(diffbench_pipeline).__name__ == "{}"
"""
    pytester.makepyfile(
        "import pytest\ndef test_first(): ...\n"
        + case.format("lumina2", "a", "Lumina2Pipeline")
        + case.format("flux", "b", "FluxPipeline")
        + "def test_middle(): ...\n"
        + case.format("lumina2", "c", "Lumina2Pipeline")
        + case.format("flux", "d", "FluxPipeline")
    )
    run(pytester, "--diffbench").assert_outcomes(passed=6)
    log = (pytester.path / "log.txt").read_text().split("\n")
    assert [line for line in log if line.startswith("load")] == ["load lumina2", "load flux"]
    tests = [line for line in log if line.startswith("test")]
    assert tests == ["test_first", "test_a", "test_c", "test_middle", "test_b", "test_d"]


@pytest.mark.full
def test_recommended_settings_fill_in_what_is_not_given(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PLAIN_TEST)
    run(pytester, "--diffbench-save").assert_outcomes(passed=1)
    definition = session(pytester).cases[0].observation.case.definition
    assert definition.arguments == {
        "prompt": "a red circle",
        "num_inference_steps": 2,
        "guidance_scale": 4.0,
        "max_sequence_length": 256,
        "height": 128,
        "width": 128,
    }
    assert (definition.model, definition.weights, definition.dtype) == ("lumina2", "mini", "float32")


def test_a_models_folder_without_the_model_names_the_searched_folder(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PLAIN_TEST)
    (pytester.mkdir("models") / "notes.txt").write_text("nothing here")
    pretrained = ("--diffbench", "--diffbench-weights=pretrained", "--diffbench-models=models", "-rs")
    result = run(pytester, *pretrained)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*SKIPPED*models: the folder holds no model_index.json*lumina2*hf download*"])
    result = run(pytester, *pretrained, "--diffbench-strict")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*models*lumina2*"])
    result.stdout.no_fnmatch_line("*Traceback*")


class _AskedError(Exception):
    """The hub was asked."""


def test_the_hub_is_asked_by_the_option_alone(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def ask(*_: object, **__: object) -> None:
        raise _AskedError

    monkeypatch.setattr(huggingface_hub, "model_info", ask)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(pytester.path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    pytester.makepyfile(PLAIN_TEST)
    result = run(pytester, "--diffbench", "--diffbench-weights=pretrained", "-rs")
    result.assert_outcomes(skipped=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED  # nothing was measured
    result.stdout.fnmatch_lines(
        ["*Tests download nothing. On a machine with access to the hub, run `hf download Alpha*"]
    )
    result = run(pytester, "--diffbench", "--diffbench-weights=pretrained", "--diffbench-download", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*couldn't be downloaded (_AskedError*"])


def test_the_fixture_needs_a_model(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(diffbench_pipeline): ...")
    result = run(pytester, "--diffbench")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*names no model*model='lumina2'*"])


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--diffbench-cache=first-blok", "*test_it: cache='first-blok': 'first-blok' isn't known (did you mean*"),
        ("--diffbench-attention=natve", "*test_it: attention='natve' isn't known (did you mean 'native'*"),
        ("--diffbench-lora=no.safetensors", "*test_it: lora='*no.safetensors': there is no such file*"),
        ("--diffbench-quantize=int8", "*test_it: quantize='int8' works while pretrained weights are loaded*"),
        ("--diffbench-compile=hole", "*--diffbench-compile is one of none, whole, regional (did you mean 'whole'?)*"),
    ],
)
def test_an_impossible_set_up_stops_before_anything_runs(
    pytester: pytest.Pytester, option: str, expected: str
) -> None:
    pytester.makepyfile(PLAIN_TEST)
    result = run(pytester, "--diffbench", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([expected])


def test_a_hook_ignoring_the_set_up_is_detected(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
import msgspec
import pytest
from pytest_diffbench.pipelines import loader
from pytest_diffbench.records import Tuning

@pytest.hookimpl(tryfirst=True)
def pytest_diffbench_load_pipeline(spec, config):
    return loader.load(msgspec.structs.replace(spec, tuning=Tuning()))
"""
    )
    pytester.makepyfile(PLAIN_TEST.replace('model="lumina2"', 'model="flux"'))
    options = ("--diffbench-cache=first-block:.1", "--diffbench-compile=regional", "--diffbench-channels-last")
    more = ("--diffbench-attention=native", "--diffbench-vae-tiling", "--diffbench-vae-slicing")
    result = run(pytester, "--diffbench", *options, *more)
    result.assert_outcomes(errors=1)
    wanted = (
        "*attention='native', compile='regional', channels_last=True, vae_tiling=True, vae_slicing=True, "
        "cache='first-block:.1': nothing of it is to be seen on the FluxPipeline*"
    )
    result.stdout.fnmatch_lines([wanted])
