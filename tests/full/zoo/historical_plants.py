"""What brings faults of the past back into the installed libraries for a while; each is written anew here.

`historical_faults.py` says what each is, and what finds it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import diffusers
import plants
import torch
from diffusers.hooks.first_block_cache import FBCHeadBlockHook
from diffusers.hooks.hooks import StateManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# -- what is planted


def second_stage_unguided(pipeline: Any) -> contextlib.AbstractContextManager[object]:
    sound = "if self.do_classifier_free_guidance:\n                    with current_model.cache_context("
    broken = sound.replace("guidance:", "guidance and current_model is self.transformer:")
    return plants.line((sound, broken))(pipeline)


def guidance_needs_masks(pipeline: Any) -> contextlib.AbstractContextManager[object]:
    """Embeddings without a mask don't count as a negative prompt; masks of ones alone are none."""
    sound = "negative_prompt is not None or negative_prompt_embeds is not None"
    return plants.line((sound, f"{sound} and negative_prompt_embeds_mask is not None"))(pipeline)


@contextlib.contextmanager
def never_off(pipeline: Any) -> Iterator[None]:
    with plants.line()(pipeline):
        type(pipeline).do_classifier_free_guidance = property(lambda _self: True)
        yield


def ends_with_two_zeros(pipeline: Any) -> contextlib.AbstractContextManager[object]:
    sound = "sigmas = get_default_z_image_sigmas(num_inference_steps)"
    return plants.line((sound, "sigmas = torch.linspace(1.0, 0.0, num_inference_steps).tolist()"))(pipeline)


@contextlib.contextmanager
def guided_above_scale_1(pipeline: Any) -> Iterator[None]:
    with plants.line()(pipeline):
        type(pipeline).do_classifier_free_guidance = property(lambda self: self._guidance_scale > 1)
        yield


def all_the_room(pipeline: Any) -> contextlib.AbstractContextManager[object]:
    return plants.argument("_get_ovis_prompt_embeds", lambda arguments: arguments | {"max_sequence_length": 256})(
        pipeline
    )


def unlike_negatives(pipeline: Any) -> contextlib.AbstractContextManager[object]:
    """In a batch, each sample is guided by its neighbour's unconditional prediction."""
    sound = "noise_pred = neg_noise_pred + guidance_scale * (noise_pred - neg_noise_pred)"
    return plants.line((sound, f"neg_noise_pred = neg_noise_pred.flip(0); {sound}"))(pipeline)


def global_noise(_pipeline: Any) -> contextlib.AbstractContextManager[object]:
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler
    sound = scheduler.step

    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        return sound(self, *args, **{**kwargs, "generator": None})

    return plants.replaced_in_class(scheduler, "step", step)


def stochastic(pipeline: Any) -> None:
    pipeline.scheduler = diffusers.FlowMatchEulerDiscreteScheduler.from_config(
        pipeline.scheduler.config, stochastic_sampling=True
    )


def mask_not_handed_on(pipeline: Any) -> contextlib.AbstractContextManager[object]:
    return plants.argument("transformer.forward", lambda arguments: arguments | {"encoder_hidden_states_mask": None})(
        pipeline
    )


def half_vae(pipeline: Any) -> None:
    pipeline.vae.to(torch.float16)
    pipeline.vae.register_to_config(force_upcast=True)


def with_lora(pipeline: Any) -> None:
    from peft import LoraConfig

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline.transformer.add_adapter(LoraConfig(target_modules=["to_q"], r=4, init_lora_weights=False))


@contextlib.contextmanager
def twice_the_lora(pipeline: Any) -> Iterator[None]:
    """Each adapter is worked out twice, of which one is thrown away."""
    with contextlib.ExitStack() as stack:
        for module in pipeline.transformer.modules():
            if hasattr(module, "lora_A"):
                adapter = module.lora_B["default"]
                stack.enter_context(plants.replaced(adapter, "forward", _twice(adapter.forward)))
        yield


def _twice(sound: Callable[..., Any]) -> Callable[..., Any]:
    def forward(value: Any) -> Any:
        sound(value)
        return sound(value)

    return forward


def mask_of_all_true(pipeline: Any) -> contextlib.AbstractContextManager[object]:
    def masked(arguments: dict[str, Any]) -> dict[str, Any]:
        mask = torch.ones(arguments["encoder_hidden_states"].shape[:2], dtype=torch.bool)
        return arguments | {"encoder_hidden_states_mask": mask}

    return plants.argument("transformer.forward", masked)(pipeline)


@contextlib.contextmanager
def unfolded(pipeline: Any) -> Iterator[None]:
    """The decoder's convolutions write out what each of their windows sees."""
    with contextlib.ExitStack() as stack:
        for module in pipeline.vae.decoder.modules():
            if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (3, 3):
                stack.enter_context(plants.replaced(module, "forward", _unfolding(module)))
        yield


def _unfolding(convolution: torch.nn.Conv2d) -> Callable[[torch.Tensor], torch.Tensor]:
    sound = convolution.forward

    def forward(value: torch.Tensor) -> torch.Tensor:
        windows = torch.nn.functional.unfold(value, 3, padding=1)
        result = sound(value)
        del windows
        return result

    return forward


@contextlib.contextmanager
def idle_python(pipeline: Any) -> Iterator[None]:
    """A search through all modules in each call of a block, for nothing."""
    with contextlib.ExitStack() as stack:
        for block in pipeline.transformer.transformer_blocks:
            stack.enter_context(plants.replaced(block, "forward", _searching(block.forward, pipeline.transformer)))
        yield


def _searching(sound: Callable[..., Any], model: torch.nn.Module) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        for module in model.modules():
            _named(module)
        return sound(*args, **kwargs)

    return forward


def _named(module: object) -> str:
    return type(module).__name__


def cached(pipeline: Any) -> None:
    pipeline.transformer.enable_cache(diffusers.FirstBlockCacheConfig(threshold=1e9))


def nothing_over_nothing(_pipeline: Any) -> contextlib.AbstractContextManager[object]:
    def decide(self: Any, residual: torch.Tensor) -> bool:
        change = (residual - residual).abs().mean() / (residual - residual).abs().mean()
        return not bool(change <= self.threshold)

    return plants.replaced_in_class(FBCHeadBlockHook, "_should_compute_remaining_blocks", decide)


def forgetting(_pipeline: Any) -> contextlib.AbstractContextManager[object]:
    """The state that a failed call left behind: each call of the denoiser finds an empty one."""
    sound = StateManager.set_context

    def set_context(self: Any, context: Any) -> None:
        self._state_cache.clear()
        sound(self, context)

    return plants.replaced_in_class(StateManager, "set_context", set_context)


@contextlib.contextmanager
def uninitialised_pad(pipeline: Any) -> Iterator[None]:
    """The token that fills a text up is whatever lies in the memory that it is given."""
    sound = pipeline.transformer.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        before = pipeline.transformer.cap_pad_token.data
        pipeline.transformer.cap_pad_token.data = torch.empty_like(before)
        try:
            return sound(*args, **kwargs)
        finally:
            pipeline.transformer.cap_pad_token.data = before

    with plants.replaced(pipeline.transformer, "forward", forward):
        yield


def dynamic_shift(pipeline: Any) -> None:
    pipeline.scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)


# -- and what is no fault


@contextlib.contextmanager
def host_reads_the_sample(pipeline: Any) -> Iterator[None]:
    """What costs a GPU a wait in each step, and a processor nothing."""
    sound = pipeline.scheduler.step

    def step(prediction: torch.Tensor, timestep: Any, sample: torch.Tensor, **kwargs: Any) -> Any:
        float(timestep), sample.flatten()[0].item()
        return sound(prediction, timestep, sample, **kwargs)

    with plants.replaced(pipeline.scheduler, "step", step):
        yield


@contextlib.contextmanager
def index_is_searched(pipeline: Any) -> Iterator[None]:
    """The scheduler looks for its place by comparing timesteps."""
    with plants.replaced(pipeline.scheduler, "set_begin_index", lambda _index: None):
        yield


@contextlib.contextmanager
def moved_in_place(pipeline: Any) -> Iterator[None]:
    sound = pipeline.transformer.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        kwargs = {
            name: value.to("cpu", non_blocking=True) if isinstance(value, torch.Tensor) else value
            for name, value in kwargs.items()
        }
        return sound(*args, **kwargs)

    with plants.replaced(pipeline.transformer, "forward", forward):
        yield
