"""`--diffbench-weights=plan`: full-size models whose work is judged where nothing of it can be run."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_diffbench.report import session_json
from pytest_diffbench.report.sentences.saving import saved_text
from pytest_diffbench.store import Store

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("real_libraries")]

TEST = """
import pytest

@pytest.mark.diffbench(model="lumina2", weights="plan")
def test_half(diffbench, diffbench_pipeline):
    result = diffbench(diffbench_pipeline, "a red circle", cfg_trunc_ratio=0.5)
    assert result.work.denoiser_calls == 45
    assert result.guidance.guided_steps == 15
"""

FAULT = """
import inspect, textwrap

def pytest_diffbench_load_pipeline(spec, config):
    from pytest_diffbench.pipelines.loader import load

    pipeline = load(spec)
    sound = type(pipeline)
    function = inspect.unwrap(sound.__call__)
    source = textwrap.dedent(inspect.getsource(function))
    before, after = {change!r}
    assert source.count(before) == 1
    scope = dict(function.__globals__)
    exec(compile(source.replace(before, after), "<broken>", "exec"), scope)
    own = {{"__call__": scope["__call__"], "__module__": sound.__module__}}
    pipeline.__class__ = type(sound.__name__, (sound,), own)
    return pipeline
"""


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess("--diffbench-json=session.json", *arguments)


def decisions(pytester: pytest.Pytester) -> dict[str, str]:
    (case,) = session_json.load(pytester.path / "session.json").cases
    return {verdict.gate: verdict.reason for verdict in case.verdicts}


def test_a_full_size_model_is_judged_by_work_and_guided_steps(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TEST)
    result = run(pytester, "--diffbench-save", "-W", "error::pytest.PytestWarning")
    result.assert_outcomes(passed=1)
    run(pytester, "--diffbench").assert_outcomes(passed=1)
    # Time, memory and output aren't asked about: nobody computed anything.
    assert decisions(pytester) == {"work": "work.same", "guidance": "guidance.planned"}
    (case,) = session_json.load(pytester.path / "session.json").cases
    observation: Any = case.observation
    assert (observation.run.rounds, observation.output, observation.memory, observation.layers) == (
        (),
        None,
        None,
        None,
    )
    assert (observation.run.environment.machine, observation.run.environment.hardware) == ("plan", {})
    assert observation.case.definition.arguments["height"] == 1024
    assert observation.case.definition.dtype == "bfloat16"
    assert any("no values were computed" in note for note in observation.notes)

    # Accepting the same again changes nothing; another call is another definition.
    store = Store(pytester.path / "baselines")
    (folder,) = store.entries()
    before = (folder / "baseline.json").read_bytes()
    assert folder.parent.name == "plan"
    run(pytester, "--diffbench-save").assert_outcomes(passed=1)
    assert (folder / "baseline.json").read_bytes() == before
    assert (
        saved_text(session_json.load(pytester.path / "session.json").cases[0].saved) == "kept: the plan is the same"
    )


def test_gates_alone_say_nothing_was_observed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TEST)
    run(pytester, "--diffbench-save").assert_outcomes(passed=1)
    run(pytester, "--diffbench", "--diffbench-gates=time,memory").assert_outcomes(passed=1)
    assert decisions(pytester) == {"memory": "memory.not_seen", "time": "time.not_seen"}
    # which no team could put right
    run(pytester, "--diffbench", "--diffbench-strict").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("change", "work", "guidance"),
    [
        (
            (
                "(i + 1) / num_inference_steps > cfg_trunc_ratio",
                "(i + 1) / num_inference_steps > 2 * cfg_trunc_ratio",
            ),
            "work.denoiser_calls",
            "guidance.extra_steps",
        ),
        (
            # it calls both branches and throws one away
            (
                "noise_pred = noise_pred_uncond + guidance_scale * (noise_pred_cond - noise_pred_uncond)",
                "noise_pred = noise_pred_cond",
            ),
            "work.same",
            "guidance.missing_steps",
        ),
    ],
    ids=["truncation-that-stops-saving", "a-branch-that-is-called-in-vain"],
)
def test_a_fault_is_detected_at_full_size(
    pytester: pytest.Pytester, change: tuple[str, str], work: str, guidance: str
) -> None:
    test = pytester.makepyfile(TEST.partition("    assert")[0])
    run(pytester, "--diffbench-save").assert_outcomes(passed=1)
    pytester.makeconftest(FAULT.format(change=change))
    result = run(pytester, "--diffbench", str(test))
    result.assert_outcomes(failed=1)
    assert decisions(pytester) == {"work": work, "guidance": guidance}
