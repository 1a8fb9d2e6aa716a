"""`--diffbench-weights=random`: the models' full architecture with drawn weights, here a narrow one."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
from narrow_models import NARROW

from pytest_diffbench.pipelines import loader, random_weights
from pytest_diffbench.pipelines.free_memory import free_bytes
from pytest_diffbench.report import session_json
from pytest_diffbench.suite.expectations import FEW_STEPS

if TYPE_CHECKING:
    from pytest_diffbench.records import CaseReport

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("real_libraries")]

TEST = """
import pytest

@pytest.mark.diffbench(model="lumina2", dtype="bfloat16", rounds=1, warmup_rounds=0)
def test_half(diffbench, diffbench_pipeline):
    result = diffbench(
        diffbench_pipeline, "a red circle", cfg_trunc_ratio=0.5, num_inference_steps=4, height=64, width=64
    )
    assert result.work.denoiser_calls == 6
"""


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    gates = "--diffbench-gates=work,guidance,output"  # a single round is no evidence of time
    return pytester.runpytest_inprocess(
        gates, "--diffbench-json=session.json", "--diffbench-weights=random", *arguments
    )


def case_of(pytester: pytest.Pytester) -> CaseReport:
    (case,) = session_json.load(pytester.path / "session.json").cases
    return case


def decisions(case: CaseReport) -> dict[str, str]:
    return {verdict.gate: verdict.reason for verdict in case.verdicts if verdict.gate not in ("time", "memory")}


def test_a_random_model_is_judged_like_any_other(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    build: Any = functools.partial(random_weights.build_random, parts=NARROW)
    monkeypatch.setattr(loader, "build_random", build)
    pytester.makepyfile(TEST)
    run(pytester, "--diffbench-save").assert_outcomes(passed=1)
    run(pytester, "--diffbench", "--diffbench-confirm=0").assert_outcomes(passed=1)
    case = case_of(pytester)
    definition = case.observation.case.definition
    assert (definition.weights, definition.revision) == ("random", "random-1")
    # what the model's authors recommend, where the test says nothing: that of the full size
    assert (definition.arguments["guidance_scale"], definition.arguments["max_sequence_length"]) == (4.0, 256)
    assert decisions(case) == {"work": "work.same", "guidance": "guidance.same", "output": "output.same_bits"}

    # other weights are other pictures, which aren't compared
    monkeypatch.setattr(random_weights, "REVISION", "random-2")
    run(pytester, "--diffbench", "--diffbench-confirm=0")
    assert "output.same_bits" not in decisions(case_of(pytester)).values()
    assert not [gate for gate, reason in decisions(case_of(pytester)).items() if reason == "output.differs"]


@pytest.mark.gpu
def test_the_suite_runs_at_full_size_on_a_gpu(pytester: pytest.Pytester) -> None:
    free = free_bytes("cuda")
    if free is not None and free < 40 << 30:
        pytest.skip(f"needs 40 GiB on the device, and {free / 2**30:.1f} GiB are free")
    arguments = ("--diffbench-rounds=2", "--diffbench-device=cuda", "--pyargs", "pytest_diffbench.suite.test_flux")
    pytester.runpytest_subprocess(
        "--diffbench-save", "--diffbench-weights=random", "--diffbench-json=session.json", *arguments
    )
    case = case_of(pytester)
    assert case.error is None
    observation = case.observation  # whether its rounds were steady enough to be saved is the machine's business
    assert observation.complete
    assert observation.work is not None
    assert observation.work.denoiser_calls == FEW_STEPS
    assert (observation.case.definition.arguments["height"], observation.case.definition.dtype) == (1024, "bfloat16")
    assert observation.output is not None
    assert observation.output.finite
    assert not any(image.constant for image in observation.output.images)
    assert observation.memory is not None
    assert observation.memory.peak_bytes > 31 << 30
    assert case.efficiency is not None
    assert case.efficiency.flops_per_s["denoise"] > 1e12


def test_a_model_too_large_for_memory_is_reported_in_a_single_sentence(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random_weights, "free_bytes", lambda _: 8 << 30)
    pytester.makepyfile(TEST)
    result = run(pytester, "--diffbench")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*model='lumina2' with weights='random': its weights take 9.9 GiB in bfloat16*"])
