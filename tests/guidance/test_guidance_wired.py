"""What the survey must hand on: lists of samples, the times of steps, the order in a batch, inherited calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import guidance_pipelines as make
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.pipeline

BLUE: dict[str, Any] = {"negative_prompt": "a blue square"}
_MIX = "pred = pos + current_guidance_scale * (pos - neg)"
_CLAMP = "pred = pred * (max_new_norm / new_pos_norm)"
_CLAMP_ROWS = "pred = pred * (0.5 * pos.norm(dim=-1, keepdim=True) / pred.norm(dim=-1, keepdim=True))"
HALF: dict[str, Any] = {"cfg_normalization": 0.5}
TRUNCATED: dict[str, Any] = {"cfg_truncation": 0.3, "num_inference_steps": 4}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "3 of 3 steps guided (truncation off), 3 denoiser calls, scale 6 ± 0.0006, no renorm."),
        ({"guidance_scale": 0.5}, "scale 1.5"),
        ({"guidance_scale": 0.0}, "0 of 3 steps guided (guidance_scale 0 switches guidance off), 3 denoiser calls"),
        ({"cfg_normalization": True}, "norm clamped to 1 times"),
        (HALF, "norm clamped to 0.5 times"),
        (HALF | {"prompt": ["a", "a red circle"]}, "norm clamped to 0.5 times"),
        # times of 0, .1, .25 and .5 by a shift of 3
        (TRUNCATED, "3 of 4 steps guided (cfg_truncation 0.3), 4 denoiser calls, scale 6"),
        ({"cfg_truncation": 0.0}, "1 of 3 steps guided"),
        ({"cfg_truncation": None}, "3 of 3 steps guided"),
    ],
)
def test_a_sound_z_image_does_as_asked(arguments: dict[str, Any], words: str) -> None:
    verdict = make.judged(make.z_image(), **arguments)
    assert verdict.reason == "guidance.same", verdict.message
    assert words in verdict.message


@pytest.mark.parametrize(
    ("arguments", "before", "after", "reason"),
    [
        ({}, _MIX, _MIX.replace("current", "1.02 * current"), "scale"),
        ({}, _MIX, f"pos, neg = neg, pos; {_MIX}", "wrong_branch"),
        ({}, "prompt_embeds + negative_prompt_embeds", "negative_prompt_embeds + prompt_embeds", "wrong_branch"),
        ({}, "noise_pred = -noise_pred", "noise_pred = +noise_pred", "sign"),
        (HALF, _CLAMP, "pass", "renorm_missing"),
        (HALF, _CLAMP, _CLAMP_ROWS, "renorm_wrong"),
        (HALF, _CLAMP, "pred = 0.9 * pred", "renorm_wrong"),
        (TRUNCATED, "_precomputed_t_norms[i] > self._cfg_truncation", "False", "extra_steps"),
        (TRUNCATED, "_precomputed_t_norms[i] > self._cfg_truncation", "i > 1", "missing_steps"),
    ],
)
def test_a_fault_in_z_image_has_the_right_reason(
    arguments: dict[str, Any], before: str, after: str, reason: str
) -> None:
    verdict = make.judged(make.broken(make.z_image, before, after), **BLUE, **arguments)
    assert verdict.reason == f"guidance.{reason}", verdict.message


@pytest.mark.parametrize(
    ("build", "before", "after"),
    [
        (
            make.stable_diffusion,
            "torch.cat([negative_prompt_embeds, prompt_embeds])",
            "torch.cat([prompt_embeds, negative_prompt_embeds])",
        ),
        (
            make.stable_diffusion_xl,
            "torch.cat([negative_prompt_embeds, prompt_embeds], dim=0)",
            "torch.cat([prompt_embeds, negative_prompt_embeds], dim=0)",
        ),
        (
            make.stable_diffusion_3,
            "torch.cat([negative_prompt_embeds, prompt_embeds], dim=0)",
            "torch.cat([prompt_embeds, negative_prompt_embeds], dim=0)",
        ),
    ],
)
def test_embeddings_in_the_wrong_order_are_the_wrong_branch(
    build: Callable[[], Any], before: str, after: str
) -> None:
    verdict = make.judged(make.broken(build, before, after), **BLUE)
    assert verdict.reason == "guidance.wrong_branch", verdict.message


def test_a_z_image_batch_is_counted_in_samples() -> None:
    observation = make.observed(make.z_image(), **BLUE)
    assert observation.work is not None
    assert [(group.branch, group.batch) for group in observation.work.denoiser] == [("joint", 2)]


def test_timesteps_match_the_scheduler() -> None:
    observation = make.observed(make.z_image())
    assert observation.guidance is not None
    assert [step.timestep for step in observation.guidance.steps] == make.z_image().scheduler.timesteps.tolist()


def test_a_subclass_inheriting_the_call_inherits_the_formula() -> None:
    pipeline = make.broken(make.lumina2, "(i + 1) / num_inference_steps", "(i + 1) / num_inference_steps")
    sound = type(make.lumina2())
    pipeline.__class__ = type("HousePipeline", (sound,), {})
    assert make.judged(pipeline, cfg_trunc_ratio=0.5).reason == "guidance.same"
    # With a call of its own it may do anything.
    pipeline.__class__ = type("OtherPipeline", (sound,), {"__call__": sound.__call__})
    assert make.judged(pipeline, cfg_trunc_ratio=0.5).reason == "guidance.no_formula"
