"""Guidance of `WanPipeline`: two calls a step, as its formula says, and what a fault in it is called."""

from __future__ import annotations

from typing import Any

import guidance_pipelines as make
import pytest
from tiny_pipelines import build_tiny

from pytest_diffbench.judge.guidance.formula import Call, NotCoveredError
from pytest_diffbench.judge.guidance.formula_diffusers import wan

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("real_libraries")]

SIZE: dict[str, Any] = {
    "height": 32,
    "width": 32,
    "num_frames": 5,
    "num_inference_steps": 3,
    "max_sequence_length": 16,
}
_MIX = "noise_pred = noise_uncond + current_guidance_scale * (noise_pred - noise_uncond)"


def tiny() -> Any:
    return build_tiny("wan")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"guidance_scale": 4.0}, "3 of 3 steps guided (guidance at every step), 6 denoiser calls, scale 4"),
        ({"guidance_scale": 1.0}, "0 of 3 steps guided (guidance_scale 1 switches guidance off), 3 denoiser calls."),
    ],
)
def test_a_sound_pipeline_does_as_asked(arguments: dict[str, Any], words: str) -> None:
    verdict = make.judged(tiny(), **SIZE, **arguments)
    assert verdict.reason == "guidance.same", verdict.message
    assert words in verdict.message


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (_MIX, _MIX.replace("current_guidance_scale", "1.05 * current_guidance_scale"), "scale"),
        (_MIX, "noise_pred, noise_uncond = noise_uncond, noise_pred\n                    " + _MIX, "wrong_branch"),
        (_MIX, "pass", "missing_steps"),
        ("self.scheduler.step(noise_pred,", "self.scheduler.step(-noise_pred,", "sign"),
    ],
)
def test_a_fault_has_the_right_reason(before: str, after: str, reason: str) -> None:
    verdict = make.judged(make.broken(tiny, before, after), **SIZE, guidance_scale=4.0)
    assert verdict.reason == f"guidance.{reason}", verdict.message
    assert verdict.decision == "worse"


def test_a_second_scale_is_not_described() -> None:
    arguments = {"num_inference_steps": 4, "guidance_scale": 4.0, "guidance_scale_2": 3.0}
    with pytest.raises(NotCoveredError, match="guidance_scale_2"):
        wan(Call(arguments=arguments, passed={"guidance_scale_2": 3.0}, timesteps=(None,) * 4))
