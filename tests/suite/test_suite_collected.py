"""The ready-made benchmarks: the cases that there are baselines of, what they promise, and any folder's pipeline."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from real_calls import stable_diffusion

from pytest_diffbench.report import session_json
from pytest_diffbench.store import Store
from pytest_diffbench.suite import test_folder as folder_suite
from pytest_diffbench.suite.expectations import RATIOS, assert_truncated, guided_steps

if TYPE_CHECKING:
    from pytest_diffbench.records import CaseReport

pytestmark = pytest.mark.usefixtures("quick_processes")

BASELINES = Path(__file__).parents[2] / "baselines"


def test_the_suite_has_the_cases_that_there_are_baselines_of(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--collect-only", "-q", "--diffbench", "--pyargs", "pytest_diffbench.suite")
    collected = {line.rpartition("suite/")[2] for line in result.outlines if "::" in line}
    store = Store(BASELINES)
    stored = {store.load(folder).baseline.case.id.rpartition("suite/")[2] for folder in store.entries()}
    stored = {one.partition("#")[0] for one in stored}  # labels of variants
    assert {one for one in collected if "test_folder" not in one} == stored
    assert len({one for one in collected if "test_folder" in one}) == 4


@pytest.mark.parametrize(("steps", "ratio", "guided"), [(30, 0.7, 21), (20, 0.25, 5), (50, 0.58, 29), (4, 1.0, 4)])
def test_a_ratio_promises_its_guided_steps_and_a_call_for_each_truncated_one(
    steps: int, ratio: float, guided: int
) -> None:
    def result(calls: int) -> Any:
        work = SimpleNamespace(steps=steps, denoiser_calls=calls)
        return SimpleNamespace(work=work, guidance=SimpleNamespace(guided_steps=guided))

    assert guided_steps(steps, ratio) == guided
    assert_truncated(result(steps + guided), steps, ratio)
    for calls in {steps + guided - 1, steps + guided + 1}:
        with pytest.raises(AssertionError):
            assert_truncated(result(calls), steps, ratio)


def test_truncation_is_off_first() -> None:
    assert RATIOS == (1.0, 0.7, 0.5, 0.25)


def cases(pytester: pytest.Pytester) -> dict[str, CaseReport]:
    found = session_json.load(pytester.path / "session.json").cases
    return {one.observation.case.id.rpartition("::")[2]: one for one in found}


@pytest.mark.pipeline
def test_whatever_a_folder_holds(pytester: pytest.Pytester, real_libraries: None) -> None:
    stable_diffusion().save_pretrained(pytester.path / "saved")
    result = pytester.runpytest_inprocess(
        "--diffbench-save",
        "--diffbench-gates=work,guidance,output",
        "--diffbench-rounds=1",
        "--diffbench-json=session.json",
        f"--diffbench-models={pytester.path / 'saved'}",
        "--pyargs",
        "pytest_diffbench.suite.test_folder",
        "-k",
        "steps or guidance",
    )
    result.assert_outcomes(passed=3, deselected=1)
    found = cases(pytester)
    assert list(found) == ["test_steps[1]", "test_steps[2]", "test_guidance#on", "test_guidance#off"]
    calls = {}
    for name, one in found.items():
        assert one.observation.work is not None
        calls[name] = one.observation.work.calls_by_branch()
    assert calls == {
        "test_steps[1]": {"joint": 1},
        "test_steps[2]": {"joint": 2},
        "test_guidance#on": {"joint": 2},
        "test_guidance#off": {"cond": 2},
    }


class Fake:
    """A pipeline of which only the call's parameters matter."""

    def __call__(self, prompt: str = "", num_inference_steps: int = 1, guidance_scale: float = 1.0) -> None: ...


def measured(calls: list[dict[str, Any]], flops: dict[str, int], guided: dict[str, int]) -> Any:
    def diffbench(_pipeline: Any, label: str = "", **arguments: Any) -> Any:
        calls.append(arguments)
        return SimpleNamespace(
            work=SimpleNamespace(flops={"net": flops[label]}, denoiser_calls=1),
            guidance=SimpleNamespace(guided_steps=guided[label]),
        )

    return diffbench


class Distilled:
    """One that mixes branches where a negative prompt stands beside its scale."""

    def __call__(
        self, prompt: str = "", num_inference_steps: int = 1, true_cfg_scale: float = 1.0, negative_prompt: str = ""
    ) -> None: ...


def test_a_true_scale_gets_the_negative_prompt_that_it_needs() -> None:
    calls: list[dict[str, Any]] = []
    folder_suite.test_guidance(measured(calls, {"on": 9, "off": 5}, {"on": 2, "off": 0}), Distilled())
    assert [(one["true_cfg_scale"], one.get("negative_prompt")) for one in calls] == [(4.0, ""), (1.0, None)]


def test_a_scale_without_a_negative_prompt_is_asked_for_alone_and_equal_work_passes() -> None:
    calls: list[dict[str, Any]] = []
    both = {"on": 5, "off": 5, "": 5}
    folder_suite.test_guidance(measured(calls, both, {"on": 0, "off": 0}), Fake())
    assert [one["guidance_scale"] for one in calls] == [4.0, 1.0]
    assert all("negative_prompt" not in one for one in calls)
    assert [one["num_inference_steps"] for one in calls] == [folder_suite.STEPS] * 2 == [2, 2]
    folder_suite.test_default_call(measured(calls, both, {"": 0}), Fake())
    with pytest.raises(AssertionError):
        folder_suite.test_guidance(measured(calls, {"on": 4, "off": 5}, {"on": 0, "off": 0}), Fake())
    with pytest.raises(AssertionError):
        folder_suite.test_guidance(measured(calls, both, {"on": 0, "off": 1}), Fake())
