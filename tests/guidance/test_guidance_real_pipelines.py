"""Formulas of further pipelines, on tiny real ones: sound, and with a fault planted in a line of their own source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import guidance_pipelines as make
import plants
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.pipeline

BLUE: dict[str, Any] = {"negative_prompt": "a blue square"}
_STEP = "self.scheduler.step(noise_pred, t"
_NEGATED = "self.scheduler.step(-noise_pred, t"
_MIX = "noise_pred_uncond + self.guidance_scale * (noise_pred_text - noise_pred_uncond)"
_HALVES = "noise_pred_uncond, noise_pred_text = noise_pred.chunk(2)"
_SWAPPED_HALVES = "noise_pred_text, noise_pred_uncond = noise_pred.chunk(2)"
_RESCALE = "rescale_noise_cfg(noise_pred, noise_pred_text, guidance_rescale=self.guidance_rescale)"
_RESCALE_CHANNELS = "noise_pred * (noise_pred_text.std((2, 3), keepdim=True) / noise_pred.std((2, 3), keepdim=True))"
_TRUE = "neg_noise_pred + true_cfg_scale * (noise_pred - neg_noise_pred)"
_TRUE_SWAPPED = "noise_pred + true_cfg_scale * (neg_noise_pred - noise_pred)"
_NORMS_COLUMNS = "comb_pred * (noise_pred.norm(dim=1, keepdim=True) / comb_pred.norm(dim=1, keepdim=True))"
_FIRST = "if do_true_cfg:\n                    if"
_NOT_FIRST = "if i:\n                    if"
_PREVIOUS = "# compute the previous noisy sample"
_NORMS = "comb_pred * (cond_norm / noise_norm)"


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """diffusers and transformers import what a pipeline is made of when the first is built: no test pays for that."""
    make.stable_diffusion()


@pytest.mark.parametrize(
    ("build", "arguments", "words"),
    [
        (make.stable_diffusion, BLUE, "3 of 3 steps guided (guidance at every step), 3 denoiser calls, scale 7.5"),
        (
            make.stable_diffusion,
            {"guidance_scale": 1.0},
            "0 of 3 steps guided (guidance_scale 1 switches guidance off), 3 denoiser calls",
        ),
        (make.stable_diffusion, {"guidance_rescale": 0.7}, "rescaled by 0.7."),
        (make.stable_diffusion_xl, BLUE, "scale 5 ± 0.0005, no renorm."),
        (make.stable_diffusion_xl, {"guidance_rescale": 1.0}, "rescaled by 1."),
        (make.stable_diffusion_xl, {"guidance_rescale": 0.3, "prompt": ["a", "b"]}, "rescaled by 0.3."),
        (make.stable_diffusion_xl, {"denoising_end": 0.5, "num_inference_steps": 4}, "2 of 2 steps guided"),
        (make.stable_diffusion_3, BLUE, "3 of 3 steps guided (guidance at every step), 3 denoiser calls, scale 7"),
        (make.stable_diffusion_3, {"sigmas": [1.0, 0.5]}, "2 of 2 steps guided"),
        (make.flux, {}, "0 of 3 steps guided (no true CFG), 3 denoiser calls."),
        (
            make.flux,
            BLUE | {"true_cfg_scale": 3.0},
            "3 of 3 steps guided (true CFG at every step), 6 denoiser calls, scale 3",
        ),
        (make.qwen_image, {}, "0 of 3 steps guided (no true CFG), 3 denoiser calls."),
        (
            make.qwen_image,
            BLUE,
            "3 of 3 steps guided (true CFG at every step), 6 denoiser calls, scale 4 ± 0.0004, renorm by rows",
        ),
        (
            make.lumina2,
            {"cfg_trunc_ratio": 0.7},
            "2 of 3 steps guided (cfg_trunc_ratio 0.7), 5 denoiser calls, scale 4",
        ),
    ],
)
def test_a_sound_pipeline_does_as_asked(build: Callable[[], Any], arguments: dict[str, Any], words: str) -> None:
    verdict = make.judged(build(), **arguments)
    assert verdict.reason == "guidance.same", verdict.message
    assert words in verdict.message


@pytest.mark.parametrize(
    ("build", "arguments", "before", "after", "reason"),
    [
        (make.stable_diffusion, BLUE, _MIX, _MIX.replace("self.", "1.02 * self."), "scale"),
        (make.stable_diffusion, BLUE, _HALVES, _SWAPPED_HALVES, "wrong_branch"),
        (make.stable_diffusion, BLUE, _STEP, _NEGATED, "sign"),
        (make.stable_diffusion, {"guidance_rescale": 0.7}, _RESCALE, "noise_pred", "renorm_missing"),
        (make.stable_diffusion_xl, BLUE, _MIX, _MIX.replace("self.", "1.02 * self."), "scale"),
        (make.stable_diffusion_xl, BLUE, _HALVES, _SWAPPED_HALVES, "wrong_branch"),
        (make.stable_diffusion_xl, BLUE, _STEP, _NEGATED, "sign"),
        (make.stable_diffusion_xl, {"guidance_rescale": 0.7}, _RESCALE, "noise_pred", "renorm_missing"),
        (make.stable_diffusion_xl, {"guidance_rescale": 0.7}, _RESCALE, _RESCALE_CHANNELS, "renorm_wrong"),
        (make.stable_diffusion_xl, {}, "self.guidance_rescale > 0.0", "True", None),
        (make.stable_diffusion_xl, {}, _MIX, f"0.9 * ({_MIX})", "gain"),
        (make.stable_diffusion_3, BLUE, _MIX, _MIX.replace("self.", "1.02 * self."), "scale"),
        (make.stable_diffusion_3, BLUE, _HALVES, _SWAPPED_HALVES, "wrong_branch"),
        (make.stable_diffusion_3, BLUE, _STEP, _NEGATED, "sign"),
        (make.stable_diffusion_3, BLUE, _MIX, "noise_pred_text", "missing_steps"),
        (make.flux, BLUE | {"true_cfg_scale": 3.0}, _TRUE, _TRUE.replace("true_", "1.02 * true_"), "scale"),
        (make.flux, BLUE | {"true_cfg_scale": 3.0}, _TRUE, _TRUE_SWAPPED, "wrong_branch"),
        (make.flux, BLUE | {"true_cfg_scale": 3.0}, _STEP, _NEGATED, "sign"),
        (make.flux, BLUE | {"true_cfg_scale": 3.0}, _FIRST, _NOT_FIRST, "missing_steps"),
        (make.qwen_image, BLUE, _TRUE, _TRUE.replace("true_", "1.02 * true_"), "scale"),
        (make.qwen_image, BLUE, _TRUE, _TRUE_SWAPPED, "wrong_branch"),
        (make.qwen_image, BLUE, _STEP, _NEGATED, "sign"),
        (make.qwen_image, BLUE, _NORMS, "comb_pred", "renorm_missing"),
        (make.qwen_image, BLUE, _NORMS, _NORMS_COLUMNS, "renorm_wrong"),
    ],
)  # fmt: skip
def test_a_planted_fault_has_the_right_reason(
    build: Callable[[], Any], arguments: dict[str, Any], before: str, after: str, reason: str | None
) -> None:
    verdict = make.judged(make.broken(build, before, after), **arguments)
    # A rescale by 0 is no rescale: a change of the source that changes nothing must pass.
    assert verdict.reason == f"guidance.{reason or 'same'}", verdict.message


def test_guidance_by_skipped_layers_is_not_covered() -> None:
    arguments: dict[str, Any] = {"skip_guidance_layers": [0], "skip_layer_guidance_stop": 0.9}
    verdict = make.judged(make.stable_diffusion_3(), **arguments)
    assert verdict.reason == "guidance.no_formula"
    assert "skip_guidance_layers" in verdict.message
    observation = make.observed(make.stable_diffusion_3(), **arguments)
    assert observation.guidance is not None
    # The first step skips nothing. In the others a third prediction is part of the mix.
    assert [(step.branches, step.used) for step in observation.guidance.steps] == [
        (("joint",), "guided"),
        (("joint", "unknown"), "mixed"),
        (("joint", "unknown"), "mixed"),
    ]


def test_a_scheduler_may_take_more_steps_than_requested() -> None:
    import diffusers

    pipeline = make.broken(make.stable_diffusion, _STEP, _STEP)
    pipeline.scheduler = diffusers.HeunDiscreteScheduler()
    verdict = make.judged(pipeline)
    assert verdict.reason == "guidance.same", verdict.message
    assert "5 of 5 steps guided" in verdict.message


def test_an_early_end_of_the_loop_is_a_fault() -> None:
    verdict = make.judged(make.broken(make.stable_diffusion, "enumerate(timesteps)", "enumerate(timesteps[:-1])"))
    assert verdict.reason == "guidance.steps"


def test_a_scale_unknown_to_the_model_is_pointed_out() -> None:
    takes = make.judged(make.flux(), guidance_scale=3.5)
    assert takes.details.inert == ()
    without = make.judged(make.flux(guidance_embeds=False), guidance_scale=3.5)
    assert without.reason == "guidance.same"
    assert [argument.cause for argument in without.details.inert] == ["not_a_model_input"]
    assert "No effect: guidance_scale 3.5 (the model takes no guidance scale)." in without.message


def test_cosine_and_norm_ratio_match_the_predictions() -> None:
    observation = make.observed(make.lumina2(), cfg_trunc_ratio=0.7)
    assert observation.guidance is not None
    first, _, last = observation.guidance.steps
    assert first.cosine is not None
    assert 0.9 < first.cosine < 1 - 1e-6
    assert first.norm_ratio == pytest.approx(1, abs=1e-6)
    assert len(first.samples) == 1
    assert (last.cosine, last.norm_ratio) == (None, 1.0)  # there is but one prediction


def cutoff(ratio: float) -> dict[str, Any]:
    from diffusers.callbacks import SDCFGCutoffCallback

    callback = SDCFGCutoffCallback(cutoff_step_ratio=ratio, cutoff_step_index=None)
    return {"callback_on_step_end": callback, "callback_on_step_end_tensor_inputs": ["prompt_embeds"]}


def gated(pipeline: Any) -> Any:
    """Call the negative branch in the first step alone, and go on with what that gave."""
    return plants.line(
        (_FIRST, _FIRST.replace("do_true_cfg", "do_true_cfg and i == 0")),
        (f"noise_pred = {_TRUE}", f"kept = noise_pred - neg_noise_pred; noise_pred = {_TRUE}"),
        (
            _PREVIOUS,
            f"noise_pred = noise_pred + (true_cfg_scale - 1) * kept if i else noise_pred\n{' ' * 16}{_PREVIOUS}",
        ),
    )(pipeline)


def test_a_reused_difference_of_branches_is_described(real_libraries: None) -> None:
    asked = BLUE | {"true_cfg_scale": 3.0}
    pipeline = make.flux()
    with gated(pipeline):
        observation, verdict = make.observed(pipeline, **asked), make.judged(pipeline, **asked)
    assert observation.guidance is not None
    assert [(step.used, step.branches) for step in observation.guidance.steps] == [
        ("guided", ("cond", "uncond")),
        ("reused", ("cond",)),
        ("reused", ("cond",)),
    ]
    assert [step.scale for step in observation.guidance.steps] == pytest.approx([3.0, 3.0, 3.0], rel=1e-4)
    assert (verdict.reason, verdict.decision) == ("guidance.steered", "incomparable"), verdict.message
    assert "The difference between the branches of an earlier step was reused in steps 1-2." in verdict.message
    assert "steps 1-2 guided at scale 3 by the branch difference of an earlier step (cond)" in verdict.message


def test_calls_answered_elsewhere_are_reported(real_libraries: None) -> None:
    pipeline = make.flux()
    sound = pipeline.transformer.forward
    kept: list[Any] = []

    def forward(*args: Any, **kwargs: Any) -> Any:
        if len(kept) % 3 == 0:
            kept.append(sound(*args, **kwargs))
        else:
            kept.append(kept[-1])
        return kept[-1]

    with plants.replaced(pipeline.transformer, "forward", forward):
        observation = make.observed(pipeline)
    assert observation.remarks == ("transformer: 2 of 3 calls computed nothing: something answered in its place",)


def test_a_callback_cutting_guidance_off_is_described_and_no_fault(real_libraries: None) -> None:
    pipeline = make.stable_diffusion()
    verdict = make.judged(pipeline, **cutoff(0.4), num_inference_steps=4)
    assert (verdict.reason, verdict.decision) == ("guidance.steered", "incomparable"), verdict.message
    assert "callback_on_step_end takes part in each step" in verdict.message
    observation = make.observed(make.stable_diffusion(), **cutoff(0.4), num_inference_steps=4)
    assert observation.guidance is not None
    assert 0 < observation.guidance.guided_steps < 4
    # its settings are part of the definition
    other = make.observed(make.stable_diffusion(), **cutoff(0.8), num_inference_steps=4)
    assert observation.case.definition != other.case.definition
    assert observation.remarks == ()
