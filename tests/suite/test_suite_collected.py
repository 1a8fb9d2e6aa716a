"""The ready-made benchmarks: the cases that there are baselines of, what they promise, and any folder's pipeline."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from real_calls import stable_diffusion

from pytest_diffbench.report import session_json
from pytest_diffbench.store import Store
from pytest_diffbench.suite import test_flux, test_lumina2, test_neta_lumina, test_variants, test_wan
from pytest_diffbench.suite import test_folder as folder_suite
from pytest_diffbench.suite.expectations import FEW_STEPS, RATIOS, assert_truncated, guided_steps

if TYPE_CHECKING:
    from pytest_diffbench.records import CaseReport

pytestmark = pytest.mark.usefixtures("quick_processes")

BASELINES = Path(__file__).parents[2] / "baselines"


def test_the_suite_has_the_cases_of_the_baselines(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--collect-only", "-q", "--diffbench", "--pyargs", "pytest_diffbench.suite")
    collected = {line.rpartition("suite/")[2] for line in result.outlines if "::" in line}
    store = Store(BASELINES)
    stored = {store.load(folder).baseline.case.id.rpartition("suite/")[2] for folder in store.entries()}
    stored = {name.partition("#")[0] for name in stored}  # labels of variants
    assert {case_id for case_id in collected if "test_folder" not in case_id} == stored
    assert len({case_id for case_id in collected if "test_folder" in case_id}) == 4


class CallStopped(Exception):  # noqa: N818 - nothing is wrong
    """Ends a benchmark at its first call."""


def arguments_of(test: Any, weights: str, *parameters: Any) -> dict[str, dict[str, Any]]:
    """Arguments of a benchmark's call, by the variant's name; of a plain call the name is empty."""
    calls: dict[str, dict[str, Any]] = {}

    class Recorder:
        def __init__(self) -> None:
            self.weights = weights

        def __call__(self, _pipeline: Any, prompt: str, **arguments: Any) -> None:
            calls[""] = {"prompt": prompt} | arguments
            raise CallStopped

        def compare(
            self, _pipeline: Any, prompt: str, variants: dict[str, Any], precision_rel: float, **arguments: Any
        ) -> None:
            assert precision_rel > 0
            calls.update({name: {"prompt": prompt} | arguments | changed for name, changed in variants.items()})
            raise CallStopped

    with pytest.raises(CallStopped):
        test(Recorder(), None, *parameters)
    return calls


SUITE: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "test_flux.py::test_distilled_guidance": (test_flux.test_distilled_guidance, ()),
    "test_variants.py::test_truncation_pays": (test_variants.test_truncation_pays, ()),
    "test_wan.py::test_video_cfg[on]": (test_wan.test_video_cfg, (test_wan.GUIDED,)),
    "test_wan.py::test_video_cfg[off]": (test_wan.test_video_cfg, (test_wan.PLAIN,)),
    **{
        f"{module.__name__.rpartition('.')[2]}.py::test_cfg_{name}": (getattr(module, f"test_cfg_{function}"), values)
        for module in (test_lumina2, test_neta_lumina)
        for name, function, values in [
            *((f"trunc[{ratio}]", "trunc", (ratio,)) for ratio in RATIOS),
            ("renorm[on]", "renorm", (True,)),
            ("trunc_and_renorm", "trunc_and_renorm", ()),
        ]
    },
}


@pytest.mark.parametrize("name", SUITE)
def test_every_call_is_the_call_of_the_baseline(name: str) -> None:
    store = Store(BASELINES)
    stored = [store.load(folder).baseline.case for folder in store.entries()]
    test, parameters = SUITE[name]
    known: dict[tuple[str, str], list[Any]] = {}
    for case in stored:
        known.setdefault((case.definition.weights, case.id), []).append(case)
    for weights in ("mini",) if "variants" in name else ("mini", "plan"):
        for variant, arguments in arguments_of(test, weights, *parameters).items():
            identity = f"pytest_diffbench/suite/{name}" + (f"#{variant}" if variant else "")
            assert (weights, identity) in known
            for case in known[weights, identity]:
                assert case.definition.arguments.items() >= arguments.items()


def test_half_of_the_steps_truncated_saves_a_quarter() -> None:
    def compared(half_saved_rel: float) -> Any:
        def variant(ratio: float, saved_rel: float, guided_steps: int) -> tuple[str, SimpleNamespace]:
            result = SimpleNamespace(guidance=SimpleNamespace(guided_steps=guided_steps))
            return str(ratio), SimpleNamespace(result=result, work_saved_rel=saved_rel)

        variants = dict(
            [variant(1.0, 0, 8), variant(0.7, 3 / 16, 5), variant(0.5, half_saved_rel, 4), variant(0.25, 6 / 16, 2)]
        )
        return SimpleNamespace(compare=lambda *_, **__: variants)

    test_variants.test_truncation_pays(compared(0.25), None)
    with pytest.raises(AssertionError):
        test_variants.test_truncation_pays(compared(0.5), None)


class Returning:
    """A bench that measures nothing."""

    def __init__(self, result: Any, weights: str) -> None:
        self._result = result
        self.weights = weights

    def __call__(self, *_: Any, **__: Any) -> Any:
        return self._result


@pytest.mark.parametrize(("module", "steps"), [(test_lumina2, 30), (test_neta_lumina, 20)])
def test_the_steps_are_the_authors_own(module: Any, steps: int) -> None:
    assert steps == module.STEPS
    for weights, step_count in (("plan", steps), ("mini", FEW_STEPS), ("random", FEW_STEPS)):
        half = SimpleNamespace(
            work=SimpleNamespace(steps=step_count, denoiser_calls=step_count + step_count // 2),
            guidance=SimpleNamespace(guided_steps=step_count // 2),
        )
        full = SimpleNamespace(
            work=SimpleNamespace(steps=step_count, denoiser_calls=2 * step_count),
            guidance=SimpleNamespace(guided_steps=step_count),
        )
        module.test_cfg_trunc_and_renorm(Returning(half, weights), None)
        module.test_cfg_renorm(Returning(full, weights), None, True)
        with pytest.raises(AssertionError):
            module.test_cfg_trunc_and_renorm(Returning(full, weights), None)
        with pytest.raises(AssertionError):
            module.test_cfg_renorm(Returning(half, weights), None, True)


@pytest.mark.parametrize(
    ("weights", "scale", "guided"),
    [("mini", 5.0, FEW_STEPS), ("mini", 1.0, 0), ("plan", 5.0, 50), ("random", 1.0, 0)],
)
def test_guidance_of_a_video_costs_a_second_call_a_step(weights: str, scale: float, guided: int) -> None:
    steps = FEW_STEPS if weights in ("mini", "random") else 50

    def result(calls: int, guided_steps: int = guided) -> Any:
        work = SimpleNamespace(steps=steps, denoiser_calls=calls)
        return SimpleNamespace(work=work, guidance=SimpleNamespace(guided_steps=guided_steps))

    test_wan.test_video_cfg(Returning(result(steps + guided), weights), None, scale)
    for wrong in (result(steps + guided + 1), result(steps + guided, guided + 1)):
        with pytest.raises(AssertionError):
            test_wan.test_video_cfg(Returning(wrong, weights), None, scale)


@pytest.mark.parametrize(
    ("weights", "steps"), [("mini", FEW_STEPS), ("random", FEW_STEPS), ("plan", 30), ("pretrained", 30)]
)
def test_published_or_merely_counted_weights_take_the_steps_of_the_authors(weights: str, steps: int) -> None:
    tests: list[tuple[Any, tuple[Any, ...]]] = [
        (test_lumina2.test_cfg_trunc, (0.5,)),
        (test_lumina2.test_cfg_renorm, (True,)),
        (test_lumina2.test_cfg_trunc_and_renorm, ()),
    ]
    for test, parameters in tests:
        assert arguments_of(test, weights, *parameters)[""]["num_inference_steps"] == steps


@pytest.mark.parametrize(("steps", "ratio", "guided"), [(30, 0.7, 21), (20, 0.25, 5), (50, 0.58, 29), (4, 1.0, 4)])
def test_a_ratio_promises_guided_steps_and_a_call_per_truncated_step(steps: int, ratio: float, guided: int) -> None:
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
    reports = session_json.load(pytester.path / "session.json").cases
    return {case.observation.case.id.rpartition("::")[2]: case for case in reports}


@pytest.mark.pipeline
def test_folders_of_any_content(pytester: pytest.Pytester, real_libraries: None) -> None:
    stable_diffusion().save_pretrained(pytester.path / "saved")
    result = pytester.runpytest_inprocess(
        "--diffbench-save",
        "--diffbench-gates=work,guidance,output",
        "--diffbench-rounds=1",
        "--diffbench-threads=1",
        "--diffbench-json=session.json",
        f"--diffbench-models={pytester.path / 'saved'}",
        "--pyargs",
        "pytest_diffbench.suite.test_folder",
        "-k",
        "steps",
    )
    result.assert_outcomes(passed=2, deselected=2)
    cases_by_name = cases(pytester)
    calls = {}
    for name, case in cases_by_name.items():
        assert case.observation.work is not None
        calls[name] = case.observation.work.calls_by_branch()
    assert calls == {"test_steps[1]": {"joint": 1}, "test_steps[2]": {"joint": 2}}


def test_a_folder_with_a_pipeline_without_a_prompt(pytester: pytest.Pytester, real_libraries: None) -> None:
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "block_out_channels": (8,)}
    net = UNet2DModel(sample_size=8, layers_per_block=1, norm_num_groups=4, **blocks)
    pipeline: Any = DDPMPipeline(net, DDPMScheduler())
    pipeline.save_pretrained(pytester.path / "saved")
    result = pytester.runpytest_inprocess(
        "--diffbench-save",
        "--diffbench-rounds=1",
        "--diffbench-threads=1",
        f"--diffbench-models={pytester.path / 'saved'}",
        "--pyargs",
        "pytest_diffbench.suite.test_folder",
        "-k",
        "steps or guidance",
    )
    result.assert_outcomes(passed=2, skipped=1, deselected=1)
    result.stdout.fnmatch_lines(["skipped*test_guidance: DDPMPipeline takes no guidance scale"])


@pytest.mark.parametrize("strict", [False, True])
def test_a_pipeline_uncallable_by_the_suite_is_reported_and_nothing_measured_fails(
    pytester: pytest.Pytester, real_libraries: None, strict: bool
) -> None:
    pytester.makeconftest(
        """
import pytest

class Painter:
    components = {}
    def __call__(self, image, height=None): ...

@pytest.fixture
def diffbench_pipeline():
    return Painter()
"""
    )
    pytester.makepyfile(
        """
import pytest
from pytest_diffbench.suite import test_folder

@pytest.mark.diffbench()
def test_default(diffbench, diffbench_pipeline):
    test_folder.test_default_call(diffbench, diffbench_pipeline)
"""
    )
    result = pytester.runpytest_inprocess("--diffbench", "-rs", *(["--diffbench-strict"] if strict else []))
    result.assert_outcomes(failed=strict, skipped=not strict)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    said = "*Painter can't be called with nothing alone: it needs image. Write a test that passes it*"
    result.stdout.fnmatch_lines([said] if strict else ["nothing was measured: 1 benchmark was skipped*", said])


class Fake:
    """A pipeline of which only the call's parameters matter."""

    def __call__(
        self, prompt: str = "", num_inference_steps: int = 1, guidance_scale: float = 1.0, negative_prompt: str = ""
    ) -> None: ...


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


def test_a_true_scale_gets_the_required_negative_prompt() -> None:
    calls: list[dict[str, Any]] = []
    folder_suite.test_guidance(measured(calls, {"on": 9, "off": 5}, {"on": 2, "off": 0}), Distilled())
    assert [(call["true_cfg_scale"], call.get("negative_prompt")) for call in calls] == [(4.0, ""), (1.0, None)]


def test_a_scale_without_a_negative_prompt_is_asked_for_alone_and_equal_work_passes() -> None:
    calls: list[dict[str, Any]] = []
    both = {"on": 5, "off": 5, "": 5}
    folder_suite.test_guidance(measured(calls, both, {"on": 0, "off": 0}), Fake())
    assert [call["guidance_scale"] for call in calls] == [4.0, 1.0]
    assert all("negative_prompt" not in call for call in calls)
    assert [call["num_inference_steps"] for call in calls] == [folder_suite.STEPS] * 2 == [2, 2]
    folder_suite.test_default_call(measured(calls, both, {"": 0}), Fake())
    with pytest.raises(AssertionError):
        folder_suite.test_guidance(measured(calls, {"on": 4, "off": 5}, {"on": 0, "off": 0}), Fake())
    with pytest.raises(AssertionError):
        folder_suite.test_guidance(measured(calls, both, {"on": 0, "off": 1}), Fake())


WATCH = """
import pytest
from pytest_diffbench.measure import pace

REAL = pace._prepared

@pytest.hookimpl(trylast=True)
def pytest_runtest_call(item):
    assert pace._prepared is REAL, "the pace of the project's own tests is none"
    pytest.skip("enough was seen")
"""


@pytest.mark.full
def test_set_up_for_the_projects_tests_touches_no_benchmark_run_from_the_folder(tmp_path: Path) -> None:
    """As `make bench` does, from the repository's root, whose conftest.py is loaded."""
    (tmp_path / "watch_pace.py").write_text(WATCH, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "watch_pace",
        "-p",
        "no:cacheprovider",
        "-rs",
        "--diffbench",
    ]
    command += ["--diffbench-weights=plan", "--pyargs", "pytest_diffbench.suite.test_flux"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTHONPATH"] = str(tmp_path)
    done = subprocess.run(command, cwd=BASELINES.parent, env=environment, capture_output=True, text=True, check=False)
    assert "enough was seen" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
