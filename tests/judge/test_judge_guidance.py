"""The guidance gate: planted faults are named with their steps; what was asked for passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import judge_factories as make
import msgspec
import pytest

from pytest_diffbench.judge.guidance.formula import Call
from pytest_diffbench.judge.guidance.formula_diffusers import flux, lumina2
from pytest_diffbench.records import Case, Guidance, GuidanceStep

if TYPE_CHECKING:
    from pytest_diffbench.records import Branch


def judged(guidance: Guidance, **passed: Any) -> Any:
    case = Case(id="case", definition=make.definition(**passed))
    return make.ask("guidance", make.observation(guidance=guidance, case=case))


def lumina(guided: int, count: int = 30, step: GuidanceStep | None = None, **arguments: Any) -> Any:
    steps = [step or make.guided_step()] * guided + [make.plain_step()] * (count - guided)
    return judged(make.guidance(steps, num_inference_steps=count, **arguments))


def flux_case(count: int, step: GuidanceStep, passed: dict[str, Any] | None = None, **arguments: Any) -> Any:
    asked = {"num_inference_steps": count, "true_cfg_scale": 1.0, "negative_prompt": None} | arguments
    record = Guidance(pipeline="FluxPipeline", arguments=asked, dtype_eps=2.0**-7, steps=(step,) * count)
    return judged(record, **(passed or {}))


def test_a_pass_says_what_was_asked_for_and_how_exactly() -> None:
    answer = lumina(15)
    assert answer.message == (
        "As requested: 15 of 30 steps guided (cfg_trunc_ratio 0.5), 45 denoiser calls, scale 4 ± 0.0004,"
        " renorm by rows (norm ratio 1 ± 2e-06, limit 0.0001)."
    )
    assert answer.details.predicted_saved_calls_rel == 0.25


def test_ratio_1_is_truncation_off() -> None:
    answer = lumina(30, cfg_trunc_ratio=1.0)
    assert "30 of 30 steps guided (truncation off), 60 denoiser calls" in answer.message
    assert answer.details.predicted_saved_calls_rel == 0


@pytest.mark.parametrize(
    ("count", "ratio", "guided"),
    [(30, 1.0, 30), (30, 0.7, 21), (30, 0.5, 15), (30, 0.25, 7), (50, 0.25, 12), (30, 0.0, 0),
     # where int(count * ratio) would be off by one
     (50, 0.58, 29), (90, 0.70, 63), (100, 0.29, 29), (100, 0.57, 57), (100, 0.58, 58)],
)  # fmt: skip
def test_guided_steps_follow_the_pipelines_own_predicate(count: int, ratio: float, guided: int) -> None:
    assert lumina(guided, count, cfg_trunc_ratio=ratio).reason == "guidance.same"
    if guided < count:
        assert lumina(guided + 1, count, cfg_trunc_ratio=ratio).reason == "guidance.extra_steps"
    if guided:
        assert lumina(guided - 1, count, cfg_trunc_ratio=ratio).reason == "guidance.missing_steps"


def test_guidance_off_expects_conditional_calls_alone() -> None:
    off = lumina(0, guidance_scale=1.0)
    assert off.reason == "guidance.same"
    assert off.details.predicted_saved_calls_rel == 0
    answer = lumina(30, guidance_scale=1.0)
    assert answer.reason == "guidance.extra_steps"
    assert "guidance_scale 1 switches guidance off" in answer.message


def test_the_steps_of_ignored_truncation_are_named() -> None:
    answer = lumina(20)
    assert answer.message == (
        "Guidance is not as requested: steps 15-19 guided in error (20 guided, 15 expected, cfg_trunc_ratio 0.5)."
    )


def test_several_faults_are_all_listed_and_the_first_names_the_verdict() -> None:
    answer = lumina(20, step=make.guided_step(scale=3.0, sign=1))
    assert answer.reason == "guidance.extra_steps"
    assert [fault.kind for fault in answer.details.faults] == ["extra_steps", "sign", "scale"]
    assert "steps 15-19 guided in error" in answer.message
    assert answer.message.endswith("with the wrong sign; and 1 more.")
    assert answer.changes == ("steps 0-14 mixed at scale 3 (expected 4 ± 0.0004)",)


def test_a_step_guided_without_both_branches_is_impossible() -> None:
    assert lumina(15, step=make.guided_step(branches=("cond", "cond"))).reason == "guidance.wrong_branch"
    assert lumina(15, step=make.guided_step(branches=("joint",))).reason == "guidance.same"


@pytest.mark.parametrize(("eps", "ratio", "reason"), [
    (2.0**-23, 1.001, "guidance.renorm_wrong"),
    (2.0**-7, 1.012, "guidance.same"),
    (2.0**-7, 1.05, "guidance.renorm_wrong"),
])  # fmt: skip
def test_the_tolerance_follows_the_dtype(eps: float, ratio: float, reason: str) -> None:
    step = make.guided_step(norm_ratio_max=ratio)
    steps = [step] * 15 + [make.plain_step()] * 15
    record = make.guidance(steps)
    record = Guidance(pipeline=record.pipeline, arguments=record.arguments, dtype_eps=eps, steps=record.steps)
    assert judged(record).reason == reason


def test_a_merely_shrinking_clamp_isnt_renorm() -> None:
    answer = lumina(15, step=make.guided_step(norm_ratio_min=0.8, norm_ratio_max=1.0))
    assert answer.reason == "guidance.renorm_wrong"
    assert "norm ratio 0.8 to 1, expected 1 ± 0.0001" in answer.message


def test_a_single_step_without_renorm_is_enough_and_named() -> None:
    bare = make.guided_step(gain_min=1.0, gain_max=1.0, norm_ratio_min=1.2, norm_ratio_max=1.9)
    steps = [make.guided_step()] * 3 + [bare] + [make.guided_step()] * 11 + [make.plain_step()] * 15
    answer = judged(make.guidance(steps))
    assert answer.reason == "guidance.renorm_missing"
    assert "step 3 not renormalised (norm ratio 1.2 to 1.9, expected 1 ± 0.0001)" in answer.message


def test_renorm_off_wants_unscaled_predictions() -> None:
    bare = make.guided_step(gain_min=1.0, gain_max=1.0, norm_ratio_min=1.2, norm_ratio_max=1.9)
    assert lumina(15, step=bare, cfg_normalization=False).reason == "guidance.same"
    # branches that hardly differ keep the norm by themselves, which is no renorm
    near = make.guided_step(gain_min=1.0, gain_max=1.0, norm_ratio_min=1.0, norm_ratio_max=1.00005)
    assert lumina(15, step=near, cfg_normalization=False).reason == "guidance.same"


def test_without_gains_a_norm_kept_at_every_step_tells_renorm() -> None:
    blind = make.guided_step(gain_min=None, gain_max=None)
    assert lumina(15, step=blind, cfg_normalization=False).reason == "guidance.renorm_unasked"


def test_an_unread_scale_or_sign_is_mentioned_and_passes() -> None:
    answer = lumina(15, step=make.guided_step(scale=None, sign=0))
    assert answer.reason == "guidance.same"
    assert "scale not readable" in answer.message
    assert answer.changes == (
        "scale at steps 0-14 not readable",
        "sign at steps 0-14 not readable",
    )


def test_unread_norms_leave_renorm_open() -> None:
    assert lumina(15, step=make.guided_step(norm_ratio_min=None)).reason == "guidance.unknown"


@pytest.mark.parametrize("value", [None, "unknown", True, float("nan")])
def test_an_unknown_argument_is_named(value: Any) -> None:
    answer = lumina(15, guidance_scale=value)
    assert answer.reason == "guidance.unknown"
    assert "guidance_scale" in answer.message


def test_a_nan_in_what_was_observed_never_passes() -> None:
    nan = float("nan")
    assert lumina(15, step=make.guided_step(scale=nan)).reason == "guidance.scale"
    assert lumina(15, step=make.guided_step(norm_ratio_max=nan)).decision == "worse"


def test_no_steps_at_all_never_pass() -> None:
    assert judged(make.guidance([])).reason == "guidance.steps"


def test_sigmas_set_the_number_of_steps() -> None:
    expected = lumina2(Call(arguments=make.guidance().arguments, passed={"sigmas": [1.0, 0.6, 0.3, 0.1]}))
    assert (expected.steps, expected.guided) == (4, frozenset({0, 1}))


def test_flux_is_distilled_and_calls_once_a_step() -> None:
    answer = flux_case(50, make.plain_step(sign=1))
    assert answer.message == "As requested: 0 of 50 steps guided (no true CFG), 50 denoiser calls."
    assert flux_case(50, make.plain_step(sign=-1)).reason == "guidance.sign"
    # a scale alone does nothing without a negative prompt
    assert flux_case(50, make.plain_step(sign=1), true_cfg_scale=4.0).reason == "guidance.same"


def test_flux_with_true_cfg_is_guided_at_every_step_without_renorm() -> None:
    step = make.guided_step(sign=1, gain_min=1.0, gain_max=1.0, norm_ratio_min=1.2, norm_ratio_max=1.8)
    asked: dict[str, Any] = {"true_cfg_scale": 4.0, "negative_prompt": "blurry"}
    assert flux_case(8, step, **asked).reason == "guidance.same"
    assert flux_case(8, make.plain_step(sign=1), **asked).reason == "guidance.missing_steps"


def test_flux_takes_negative_embeddings_from_the_definition() -> None:
    tensor = {"shape": [1, 512, 64], "dtype": "float32", "digest": "00"}
    arguments: dict[str, Any] = {"num_inference_steps": 4, "true_cfg_scale": 2.0, "negative_prompt": None}
    names = ("negative_prompt_embeds", "negative_pooled_prompt_embeds")
    assert len(flux(Call(arguments=arguments, passed=dict.fromkeys(names, tensor))).guided) == 4
    assert len(flux(Call(arguments=arguments, passed={names[0]: tensor})).guided) == 0
    del arguments["negative_prompt"]
    assert flux_case(4, make.plain_step(sign=1), true_cfg_scale="unknown").reason == "guidance.unknown"


# -- planned calls, whose predictions hold nothing


def planned(guided: int, count: int = 30, branches: tuple[Branch, ...] = ("cond",), **arguments: Any) -> Any:
    both: tuple[Branch, ...] = ("cond", "uncond")
    steps = [GuidanceStep(branches=both, used="guided", sign=0)] * guided
    steps += [GuidanceStep(branches=branches, used="cond", sign=0)] * (count - guided)
    record = make.guidance(steps, num_inference_steps=count, **arguments)
    definition = msgspec.structs.replace(make.definition(), weights="plan")
    return make.ask("guidance", make.observation(guidance=record, case=Case(id="case", definition=definition)))


def test_a_plan_states_what_was_observed_and_what_not() -> None:
    answer = planned(15)
    assert (answer.decision, answer.reason) == ("incomparable", "guidance.planned")
    assert "15 of 30 steps guided (cfg_trunc_ratio 0.5), 45 denoiser calls" in answer.message
    assert "Scale, sign and renorm not checked" in answer.message
    assert answer.changes == ()


def test_faults_in_the_branches_of_a_plan_are_detected() -> None:
    assert planned(16).reason == "guidance.extra_steps"
    assert planned(14).reason == "guidance.missing_steps"
    assert planned(15, branches=("cond", "uncond")).reason == "guidance.wasted_call"


def test_an_unfollowable_plan_is_unsure() -> None:
    steps = [GuidanceStep(branches=("unknown",), used="unknown", sign=0)] * 30
    definition = msgspec.structs.replace(make.definition(), weights="plan")
    record = make.guidance(steps, num_inference_steps=30)
    answer = make.ask("guidance", make.observation(guidance=record, case=Case(id="case", definition=definition)))
    assert answer.reason == "guidance.unknown"
