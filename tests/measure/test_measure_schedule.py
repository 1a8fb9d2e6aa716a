"""What denoiser and scheduler are handed, steps that do nothing, and caches that never hit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import diffusers
import judge_factories as make
import pytest
import torch
from real_calls import (
    PROMPT,
    frozen_heap,  # noqa: F401 - a fixture
    mini,
    new_mini,
    observe,
)

from pytest_diffbench.judge import Limits

if TYPE_CHECKING:
    from pytest_diffbench.records import Observation

pytestmark = pytest.mark.pipeline

CALL: dict[str, Any] = {"num_inference_steps": 3, "height": 64, "width": 64}


def judged(now: Observation, base: Observation) -> Any:
    (verdict,) = make.judge_all(now, make.artifacts(), make.reference(base), Limits(), ["work"])
    return verdict


def test_the_schedule_is_what_every_step_was_handed() -> None:
    pipeline = new_mini("lumina2")
    work = observe(pipeline, PROMPT, **CALL).work
    assert work is not None
    assert work.timesteps == pytest.approx(pipeline.scheduler.timesteps.tolist())
    assert work.sigmas == pytest.approx(pipeline.scheduler.sigmas.tolist())
    assert work.idle_steps == ""


def test_a_different_schedule_of_as_many_steps_is_named_by_the_first_step() -> None:
    base = observe(mini("lumina2"), PROMPT, **CALL)
    pipeline = new_mini("lumina2")
    pipeline.scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=9.0)
    now = observe(pipeline, PROMPT, **CALL)
    verdict = judged(now, base)
    assert (verdict.reason, verdict.decision) == ("work.schedule", "worse")
    assert "timesteps at steps" in verdict.message
    assert "sigmas at steps" in verdict.message
    assert judged(base, base).reason == "work.same"


@pytest.mark.full
def test_a_mask_of_a_different_dtype_is_a_changed_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    base = observe(mini("lumina2"), PROMPT, **CALL)
    pipeline = new_mini("lumina2")
    encode = pipeline.encode_prompt

    def with_numbers(*args: Any, **kwargs: Any) -> Any:
        prompt, mask, negative, negative_mask = encode(*args, **kwargs)
        return prompt, mask.to(torch.int32), negative, negative_mask

    monkeypatch.setattr(pipeline, "encode_prompt", with_numbers)
    verdict = judged(observe(pipeline, PROMPT, **CALL), base)
    assert verdict.reason == "work.shapes"
    assert "encoder_attention_mask dtype int64 -> int32" in verdict.message


def test_a_step_returning_the_input_is_remarked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = new_mini("lumina2")
    step = type(pipeline.scheduler).step

    def idle_at_the_end(self: Any, prediction: Any, timestep: Any, sample: Any, **kwargs: Any) -> Any:
        result = step(self, prediction, timestep, sample, **kwargs)
        return (sample.clone(),) if self.step_index == 3 else result

    monkeypatch.setattr(type(pipeline.scheduler), "step", idle_at_the_end)
    observation = observe(pipeline, PROMPT, **CALL)
    assert observation.work is not None
    assert observation.work.idle_steps == "2"
    assert observation.remarks == ("step 2 returned the very sample that went in: the denoiser was called in vain",)


@pytest.mark.parametrize(("threshold", "hits"), [(0.0, False), pytest.param(1e9, True, marks=pytest.mark.full)])
def test_a_cache_without_hits_is_worse_without_any_baseline(threshold: float, hits: bool) -> None:
    pipeline = new_mini("flux")
    pipeline.transformer.enable_cache(diffusers.FirstBlockCacheConfig(threshold=threshold))
    observation = observe(pipeline, PROMPT, **CALL)
    assert observation.work is not None
    (cache,) = observation.work.engagements
    assert (cache.component, cache.kind, cache.name) == ("transformer", "cache", "FirstBlockCache")
    assert cache.inert is not hits
    assert (cache.skipped_steps, cache.chances) == ("1-2" if hits else "", 2)
    verdict = make.ask("work", observation, None)
    assert verdict.reason == ("work.no_baseline" if hits else "work.inert")
    assert ("never hit" in verdict.message) is not hits
    plain = observe(mini("flux"), PROMPT, **CALL)
    assert plain.work is not None
    assert plain.work.engagements == ()
