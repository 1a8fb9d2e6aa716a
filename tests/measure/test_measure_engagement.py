"""Whether optimisations take part in real calls: caches that never hit, options without effect, adapters of zeros."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any

import diffusers
import judge_factories as make
import pytest
import torch
from diffusers.hooks.first_block_cache import FBCHeadBlockHook
from diffusers.hooks.hooks import StateManager
from diffusers.models.attention_dispatch import _AttentionBackendRegistry
from real_calls import (
    PROMPT,
    frozen_heap,  # noqa: F401 - a fixture
    mini,
    new_mini,
    observe,
)
from real_comparisons import CALL, side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_diffbench.records import Engagement

pytestmark = pytest.mark.pipeline


def engagements(target: Any, **arguments: Any) -> tuple[Engagement, ...]:
    observation = observe(target, PROMPT, **(CALL | arguments))
    assert observation.work is not None
    return observation.work.engagements


def cached(threshold: float = 1e9) -> Any:
    pipeline = new_mini("flux")
    pipeline.transformer.enable_cache(diffusers.FirstBlockCacheConfig(threshold=threshold))
    return pipeline


def test_a_cache_says_for_what_layers_and_when() -> None:
    pipeline = cached()
    (cache,) = engagements(pipeline)
    # one block beside the first, skipped in the three steps that have one before
    assert (cache.layers, cache.active, cache.skipped, cache.skipped_steps) == (2, 1, 3, "1-3")
    assert (cache.reached, cache.cheaper_calls, cache.chances) == (8, 3, 3)
    assert engagements(pipeline) == (cache,), "the hooks are as they were"


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (lambda: diffusers.PyramidAttentionBroadcastConfig(
            spatial_attention_block_skip_range=2, current_timestep_callback=lambda: 500
        ), "PyramidAttentionBroadcast"),
        (lambda: diffusers.TaylorSeerCacheConfig(cache_interval=2, disable_cache_before_step=1), "TaylorSeerCache"),
    ],
    ids=["pyramid", "taylorseer"],
)  # fmt: skip
def test_caches_of_other_kinds_are_recognised_by_their_hooks(config: Callable[[], Any], name: str) -> None:
    pipeline = new_mini("flux")
    pipeline.transformer.enable_cache(config())
    (cache,) = engagements(pipeline)
    assert (cache.kind, cache.name) == ("cache", name)
    assert cache.skipped
    assert not cache.inert


def test_a_single_step_has_nothing_to_reuse() -> None:
    (cache,) = engagements(cached(), num_inference_steps=1)
    assert (cache.skipped, cache.chances, cache.inert) == (0, 0, False)


@pytest.mark.full
def test_a_cache_with_a_residual_of_nothing_over_nothing_never_hits(monkeypatch: pytest.MonkeyPatch) -> None:
    def never_known(self: Any, residual: torch.Tensor) -> bool:
        diff = (residual - residual).abs().mean() / (residual - residual).abs().mean()
        return not bool(diff <= self.threshold)

    monkeypatch.setattr(FBCHeadBlockHook, "_should_compute_remaining_blocks", never_known)
    call = {"num_inference_steps": 2}
    compared = side_by_side({"plain": (mini("flux"), call), "cached": (cached(), call)})
    assert make.ask("work", compared.results["cached"].observation, None).reason == "work.inert"
    assert compared["cached"].inert
    assert compared["cached"].image_difference.same_bits


@pytest.mark.full
def test_a_cache_enabled_after_a_failed_call_and_keeping_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = new_mini("flux")
    with contextlib.suppress(ValueError):
        pipeline(PROMPT, **(CALL | {"height": 32, "callback_on_step_end": _fails}))
    pipeline.transformer.enable_cache(diffusers.FirstBlockCacheConfig(threshold=1e9))
    assert not engagements(pipeline)[0].inert, "so far so good"
    # what was left behind by the failed call: each call of the denoiser finds a state that is empty
    set_context = StateManager.set_context

    def forgetting(self: Any, context: Any) -> None:
        self._state_cache.clear()
        set_context(self, context)

    monkeypatch.setattr(StateManager, "set_context", forgetting)
    (cache,) = engagements(pipeline)
    assert cache.inert


def _fails(*_: Any) -> dict[str, Any]:
    raise ValueError("out of luck")


def test_truncation_where_guidance_is_off_is_inert() -> None:
    call = {"guidance_scale": 1.0, "num_inference_steps": 2}
    variants = {
        name: (mini("lumina2"), call | {"cfg_trunc_ratio": ratio}) for name, ratio in (("full", 1), ("half", 0.5))
    }
    compared = side_by_side(variants)
    assert compared["half"].inert
    assert compared["full"].report.inert is None


@pytest.mark.full
def test_an_attention_backend_falling_back_is_inert(monkeypatch: pytest.MonkeyPatch) -> None:
    backends = _AttentionBackendRegistry._backends
    native = next(backend for name, backend in backends.items() if name.value == "native")
    flash = next(name for name in backends if name.value == "_native_math")

    @functools.wraps(native)
    def falls_back(*args: Any, **kwargs: Any) -> Any:
        return native(*args, **kwargs)

    monkeypatch.setitem(backends, flash, falls_back)
    monkeypatch.setattr(_AttentionBackendRegistry, "_active_backend", _AttentionBackendRegistry._active_backend)
    other = new_mini("flux")
    other.transformer.set_attention_backend("_native_math")
    compared = side_by_side({"native": (mini("flux"), {}), "other": (other, {})})
    assert compared["other"].inert
    looked_at = [compared.results[name].observation.profile for name in ("native", "other")]
    assert all(looked_at), "equal to the last bit: the kernels are looked at too"


@pytest.mark.full
def test_adapters_of_zeros_are_inert_and_others_are_not() -> None:
    from peft import LoraConfig

    pipeline = new_mini("lumina2")
    config = LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=True)  # B begins as zero
    pipeline.transformer.add_adapter(config, adapter_name="style")
    (adapter,) = engagements(pipeline)
    assert (adapter.kind, adapter.name, adapter.active, adapter.inert) == ("lora", "style", 0, True)
    layers = [part for part in pipeline.transformer.modules() if hasattr(part, "lora_B")]
    assert adapter.layers == len(layers)
    with torch.no_grad():
        layers[0].lora_B["style"].weight.fill_(0.1)
    (adapter,) = engagements(pipeline)
    assert (adapter.active, adapter.fused, adapter.inert) == (1, 0, False)
    pipeline.transformer.disable_adapters()
    assert engagements(pipeline) == (), "it is off, and isn't to take part"


@pytest.mark.full
@pytest.mark.full
def test_rounding_is_lossless_and_an_approximation_is_lossy() -> None:
    call = {"num_inference_steps": 2}
    reordered, approximate = new_mini("flux"), cached()
    _reorder_sums(reordered.transformer)
    variants = {
        name: (target, call)
        for name, target in (("plain", mini("flux")), ("sums", reordered), ("cached", approximate))
    }
    compared = side_by_side(variants, float64=True)
    exact = compared["plain"].report.float64_rel
    assert exact is not None
    assert 0 < exact < 1e-4
    assert compared["sums"].image_difference.latents_rel != 0
    assert {name: compared[name].report.tier for name in variants} == {
        "plain": None,
        "sums": "lossless",
        "cached": "lossy",
    }
    assert mini("flux").transformer.dtype == torch.float32, "it was copied"


def _reorder_sums(module: Any) -> None:
    """Let each linear layer add up its inputs in the reverse order: another rounding of the same call."""
    for part in module.modules():
        if isinstance(part, torch.nn.Linear):
            part.weight = torch.nn.Parameter(part.weight.flip(-1), requires_grad=False)
            part.register_forward_pre_hook(lambda _, args: (args[0].flip(-1),))
