"""Sessions of real pipelines that are saved, changed and compared."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import pytest
from test_plugin_pipelines import PLAIN_TEST, run, session
from tiny_pipelines import build_tiny

from pytest_diffbench.pipelines import mini
from pytest_diffbench.pipelines.registry import MODELS

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("real_libraries")]


@pytest.fixture(scope="module")
def saved_lumina2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "lumina2"
    build_tiny("lumina2").save_pretrained(folder)
    return folder


def test_pretrained_weights_come_from_a_folder_and_have_an_identity(
    pytester: pytest.Pytester, saved_lumina2: Path
) -> None:
    pytester.makepyfile(PLAIN_TEST.replace("num_inference_steps=2", "num_inference_steps=2, height=128, width=128"))
    models = pytester.path / "models"
    shutil.copytree(saved_lumina2, models / "lumina2")
    pretrained = ("--diffbench-weights=pretrained", "--diffbench-models=models")
    run(pytester, "--diffbench-save", *pretrained).assert_outcomes(passed=1)
    revision = session(pytester).cases[0].observation.case.definition.revision
    assert revision

    # Other weights of the same architecture are another case, and the field is named.
    build_tiny("neta-lumina").save_pretrained(models / "lumina2")
    result = run(pytester, "--diffbench", *pretrained)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*defined differently from its baseline*", "*definition_changed*", "*revision:*"])

    # The mini is another case too, with a baseline of its own to come.
    run(pytester, "--diffbench").assert_outcomes(failed=1)


def test_the_weights_of_a_mini_are_part_of_the_case(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(PLAIN_TEST)
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
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*definition_changed*", "*revision: 'sha256:*' ->*", "*'sha256:*'*"])


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
        PLAIN_TEST.replace('model="lumina2"', 'model="flux", cache="first-block:9.5"').replace(
            "num_inference_steps=2", "num_inference_steps=3, height=64, width=64"
        )
    )
    gates = "--diffbench-gates=work,guidance,output"
    run(pytester, "--diffbench-save", gates).assert_outcomes(passed=1)
    assert session(pytester).cases[0].observation.case.definition.tuning == {"cache": "first-block:threshold=9.5"}
    result = run(pytester, "--diffbench", gates, "--diffbench-cache=first-block:threshold=9.5")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["flux mini*cache first-block:threshold=9.5*"])

    # Another cache, or another option beside it, is another case, whose baseline is to come.
    run(pytester, "--diffbench", gates, "--diffbench-cache=first-block:8.5").assert_outcomes(failed=1)
    pytester.makeini("[pytest]\ndiffbench_attention = native\ndiffbench_vae_slicing = true\n")
    run(pytester, "--diffbench", gates).assert_outcomes(failed=1)
    tuning = session(pytester).cases[0].observation.case.definition.tuning
    assert tuning == {"attention": "native", "vae_slicing": True, "cache": "first-block:threshold=9.5"}
