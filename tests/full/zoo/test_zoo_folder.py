"""The suite for whatever pipeline a folder holds, run on saved pipelines of the zoo."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
import zoo_kinds as zoo
from tiny_pipelines import build_tiny

from pytest_diffbench.report import session_json

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_diffbench.records import SessionReport

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("real_libraries")]

SUITE = "pytest_diffbench.suite.test_folder"
EXACT = "--diffbench-gates=work,guidance,output"  # calls this small tell nothing of time

CLASSES = {
    "StableDiffusion3Pipeline": "joint",
    "StableDiffusionXLPipeline": "joint",
    "CogView4Pipeline": "apart",
    "LatentConsistencyModelPipeline": "distilled",
}
"""How guidance is computed: in one batch, in calls of its own, or not at all."""


@pytest.fixture(autouse=True)
def even_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every look at the clock take a millisecond: a busy machine's time is none of these tests' business."""
    ticks = itertools.count(1_000_000, 1_000_000)
    monkeypatch.setattr("pytest_diffbench.measure.clock.now_ns", lambda: next(ticks))


def run(pytester: pytest.Pytester, folder: Path, *arguments: str, suite: str = SUITE) -> pytest.RunResult:
    return pytester.runpytest_inprocess(
        EXACT,
        "--diffbench-rounds=1",
        "--diffbench-threads=1",
        "--diffbench-json=session.json",
        f"--diffbench-models={folder}",
        "-rs",
        "--pyargs",
        suite,
        *arguments,
    )


def session(pytester: pytest.Pytester) -> SessionReport:
    return session_json.load(pytester.path / "session.json")


def by_name(report: SessionReport) -> dict[str, Any]:
    return {case.observation.case.id.rpartition("::")[2]: case for case in report.cases}


@pytest.mark.parametrize("name", CLASSES)
def test_a_folder_of_any_class(pytester: pytest.Pytester, name: str) -> None:
    folder = pytester.path / "saved"
    zoo.build(name).save_pretrained(folder)
    run(pytester, folder, "--diffbench-save").assert_outcomes(passed=4)
    cases = by_name(session(pytester))
    assert list(cases) == [
        "test_default_call",
        "test_steps[1]",
        "test_steps[2]",
        "test_guidance#on",
        "test_guidance#off",
    ]
    definitions = [case.observation.case.definition for case in cases.values()]
    assert {(definition.model, definition.pipeline, definition.weights) for definition in definitions} == {
        (name, name, "pretrained")
    }
    assert all(definition.revision for definition in definitions)
    work = {key: case.observation.work for key, case in cases.items()}
    assert (work["test_steps[1]"].steps, work["test_steps[2]"].steps) == (1, 2)
    branches = {group.branch for group in work["test_guidance#on"].denoiser}
    assert branches == {"joint": {"joint"}, "apart": {"cond", "uncond"}, "distilled": {"cond"}}[CLASSES[name]]
    assert {group.branch for group in work["test_guidance#off"].denoiser} == {"cond"}

    run(pytester, folder, "--diffbench").assert_outcomes(passed=4)
    for case in session(pytester).cases:
        decisions = {verdict.gate: verdict.decision for verdict in case.verdicts}
        assert (decisions["work"], decisions["output"]) == ("same", "same"), case.observation.case.id


def test_more_work_is_detected(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import StableDiffusion3Pipeline

    folder = pytester.path / "saved"
    zoo.build("StableDiffusion3Pipeline").save_pretrained(folder)
    run(pytester, folder, "--diffbench-save", "-k", "steps").assert_outcomes(passed=2)
    encode = StableDiffusion3Pipeline.encode_prompt

    def encode_twice(self: Any, *args: Any, **kwargs: Any) -> Any:
        encode(self, *args, **kwargs)
        return encode(self, *args, **kwargs)

    monkeypatch.setattr(StableDiffusion3Pipeline, "encode_prompt", encode_twice)
    result = run(pytester, folder, "--diffbench", "-k", "steps")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*work*text_encoder*"])


def test_the_named_models_do_not_fail_on_a_different_class(pytester: pytest.Pytester) -> None:
    folder = pytester.path / "saved"
    zoo.build("StableDiffusion3Pipeline").save_pretrained(folder)
    suite = "pytest_diffbench.suite.test_flux"
    result = run(pytester, folder, "--diffbench-save", "--diffbench-weights=pretrained", suite=suite)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*_class_name is 'StableDiffusion3Pipeline', but model='flux' is a FluxPipeline*"])
    result = run(pytester, folder, "--diffbench", "--diffbench-weights=pretrained", "--diffbench-strict", suite=suite)
    result.assert_outcomes(errors=1)


def test_without_such_a_folder_the_test_is_skipped(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--diffbench", "--pyargs", SUITE, "-rs")
    result.assert_outcomes(skipped=4)
    result.stdout.fnmatch_lines(["*model='folder': --diffbench-models isn't given. Give*"])
    models = pytester.mkdir("models")
    build_tiny("flux").save_pretrained(models / "flux")
    result = run(pytester, models, "--diffbench")
    result.assert_outcomes(skipped=4)
    result.stdout.fnmatch_lines(["*models holds no model_index.json*"])


def test_a_class_unknown_to_diffusers(pytester: pytest.Pytester) -> None:
    folder = pytester.path / "saved"
    build_tiny("lumina2").save_pretrained(folder)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "NoSuchPipeline"}))
    result = run(pytester, folder, "--diffbench", "-k", "default")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*_class_name is 'NoSuchPipeline', which diffusers * doesn't have. Install*"])


def test_a_folder_has_no_mini(pytester: pytest.Pytester) -> None:
    folder = pytester.path / "saved"
    build_tiny("lumina2").save_pretrained(folder)
    result = run(pytester, folder, "--diffbench", "--diffbench-weights=mini", "-k", "default")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*weights='mini': Lumina2Pipeline has only the weights in its folder*"])


def test_a_folder_is_planned_without_the_weights(pytester: pytest.Pytester) -> None:
    folder = pytester.path / "saved"
    build_tiny("flux").save_pretrained(folder)
    for weights in folder.glob("*/*.safetensors"):
        weights.unlink()
    run(pytester, folder, "--diffbench-save", "--diffbench-weights=plan", "-k", "steps").assert_outcomes(passed=2)
    work = {key: case.observation.work for key, case in by_name(session(pytester)).items()}
    assert (work["test_steps[1]"].denoiser_calls, work["test_steps[2]"].denoiser_calls) == (1, 2)
