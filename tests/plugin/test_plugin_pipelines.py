"""Real pipelines through the fixtures: loading once, pretrained folders, a user's own, and what goes wrong."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_pipelines import build_tiny

from pytest_diffbench.pipelines import mini
from pytest_diffbench.pipelines.registry import MODELS
from pytest_diffbench.report import session_json

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("real_libraries")]

ONE = """
import pytest

@pytest.mark.diffbench(model="lumina2")
def test_it(diffbench, diffbench_pipeline):
    diffbench(diffbench_pipeline, "a red circle", num_inference_steps=2)
"""


@pytest.fixture(scope="module")
def saved_lumina2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "lumina2"
    build_tiny("lumina2").save_pretrained(folder)
    return folder


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess("--diffbench-rounds=1", "--diffbench-json=session.json", *arguments)


def session(pytester: pytest.Pytester) -> Any:
    return session_json.load(pytester.path / "session.json")


def test_each_pipeline_is_loaded_once_and_other_tests_keep_their_places(pytester: pytest.Pytester) -> None:
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


def test_recommended_settings_fill_in_what_is_not_given(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(ONE)
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


def test_pretrained_weights_come_from_a_folder_and_have_an_identity(
    pytester: pytest.Pytester, saved_lumina2: Path
) -> None:
    pytester.makepyfile(ONE.replace("num_inference_steps=2", "num_inference_steps=2, height=128, width=128"))
    models = pytester.path / "models"
    shutil.copytree(saved_lumina2, models / "lumina2")
    pretrained = ("--diffbench-weights=pretrained", "--diffbench-models=models")
    run(pytester, "--diffbench-save", *pretrained).assert_outcomes(passed=1)
    revision = session(pytester).cases[0].observation.case.definition.revision
    assert revision

    # Other weights of the same architecture are another case, and the field is named.
    build_tiny("neta-lumina").save_pretrained(models / "lumina2")
    result = run(pytester, "--diffbench", *pretrained)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*definition_changed*", "*revision:*"])

    # The mini is another case too, with a baseline of its own to come.
    run(pytester, "--diffbench").assert_outcomes(failed=1)


def test_the_weights_of_a_mini_are_part_of_the_case(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(ONE)
    run(pytester, "--diffbench-save").assert_outcomes(passed=1)
    assert session(pytester).cases[0].observation.case.definition.revision == mini.revision(MODELS["lumina2"])

    # Trained anew, it paints other pictures: no fault of the code's, and nothing to compare with.
    retrained = Path(shutil.copytree(Path(str(mini._folder())), pytester.path / "retrained"))
    listed = json.loads((retrained / mini.CHECKSUMS).read_text())
    other, own = (MODELS[name].mini["transformer"] for name in ("neta-lumina", "lumina2"))
    shutil.copy(retrained / other, retrained / own)
    (retrained / mini.CHECKSUMS).write_text(json.dumps(listed | {own: listed[other]}))
    monkeypatch.setattr(mini, "_folder", lambda: retrained)
    result = run(pytester, "--diffbench")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*definition_changed*", "*revision:*", "*'sha256:*' -> 'sha256:*'*"])


def test_a_models_folder_without_the_model_says_what_it_looked_for(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(ONE)
    (pytester.mkdir("models") / "notes.txt").write_text("nothing here")
    pretrained = ("--diffbench", "--diffbench-weights=pretrained", "--diffbench-models=models", "-rs")
    result = run(pytester, *pretrained)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*SKIPPED*models: the folder holds no model_index.json*lumina2*hf download*"])
    result = run(pytester, *pretrained, "--diffbench-strict")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*models*lumina2*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_the_fixture_needs_a_model(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(diffbench_pipeline): ...")
    result = run(pytester, "--diffbench")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*names no model*model='lumina2'*"])


def test_a_pipeline_of_the_users_own(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
from pytest_diffbench.pipelines.mini import build_mini
from pytest_diffbench.pipelines.registry import MODELS

def test_mine(diffbench):
    pipeline = build_mini(MODELS["flux"])
    pipeline.set_progress_bar_config(disable=True)
    result = diffbench(pipeline, "a red circle", num_inference_steps=3, height=128, width=128)
    assert result.work.denoiser_calls == 3
    assert result.images[0].size == (128, 128)
    assert result.median_s > 0
    assert set(result.stages_s) == {"text_encode", "denoise", "vae_decode", "unattributed"}
    assert len(result.steps_s) == 3
    assert result.trace["latents/final"].ndim == 3
"""
    )
    run(pytester, "--diffbench-save").assert_outcomes(passed=1)
    run(pytester, "--diffbench").assert_outcomes(passed=1)
    assert session(pytester).cases[0].observation.case.definition.weights == "own"


def test_how_a_pipeline_is_set_up_is_part_of_the_case(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count(1_000_000, 1_000_000)  # or a busy machine's times would keep it from being saved
    monkeypatch.setattr("pytest_diffbench.measure.clock.now_ns", lambda: next(ticks))
    pytester.makepyfile(
        ONE.replace('model="lumina2"', 'model="flux", cache="first-block:.1"').replace(
            "num_inference_steps=2", "num_inference_steps=3, height=64, width=64"
        )
    )
    gates = "--diffbench-gates=work,guidance,output"
    run(pytester, "--diffbench-save", gates).assert_outcomes(passed=1)
    assert session(pytester).cases[0].observation.case.definition.tuning == {"cache": "first-block:threshold=0.1"}
    result = run(pytester, "--diffbench", gates, "--diffbench-cache=first-block:threshold=0.1")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["flux mini*cache first-block:threshold=0.1*"])

    # Another cache, or another option beside it, is another case, whose baseline is to come.
    run(pytester, "--diffbench", gates, "--diffbench-cache=first-block:0.2").assert_outcomes(failed=1)
    pytester.makeini("[pytest]\ndiffbench_attention = native\ndiffbench_vae_slicing = true\n")
    run(pytester, "--diffbench", gates).assert_outcomes(failed=1)
    tuning = session(pytester).cases[0].observation.case.definition.tuning
    assert tuning == {"attention": "native", "vae_slicing": True, "cache": "first-block:threshold=0.1"}


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--diffbench-cache=first-blok", "*test_it: cache='first-blok': 'first-blok' isn't known. Did you mean*"),
        ("--diffbench-attention=natve", "*test_it: attention='natve' isn't known. Did you mean 'native'*"),
        ("--diffbench-lora=no.safetensors", "*test_it: lora='*no.safetensors': there is no such file*"),
        ("--diffbench-quantize=int8", "*test_it: quantize='int8' works while pretrained weights are loaded*"),
        ("--diffbench-compile=hole", "*--diffbench-compile is one of none, whole, regional (did you mean 'whole'?)*"),
    ],
)
def test_a_set_up_that_cannot_be_had_stops_before_anything_runs(
    pytester: pytest.Pytester, option: str, expected: str
) -> None:
    pytester.makepyfile(ONE)
    result = run(pytester, "--diffbench", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([expected])


def test_a_hook_that_ignores_the_set_up_is_found_out(pytester: pytest.Pytester) -> None:
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
    pytester.makepyfile(ONE.replace('model="lumina2"', 'model="flux"'))
    options = ("--diffbench-cache=first-block:.1", "--diffbench-compile=regional", "--diffbench-channels-last")
    more = ("--diffbench-attention=native", "--diffbench-vae-tiling", "--diffbench-vae-slicing")
    result = run(pytester, "--diffbench", *options, *more)
    result.assert_outcomes(errors=1)
    wanted = (
        "*attention='native', compile='regional', channels_last=True, vae_tiling=True, vae_slicing=True, "
        "cache='first-block:.1': nothing of it is to be seen on the FluxPipeline*"
    )
    result.stdout.fnmatch_lines([wanted])
