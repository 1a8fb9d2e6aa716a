"""Faults that this field has had, by public reports, put back into the installed libraries for a while.

And changes that were none. The pieces that bring a fault back are written anew here.

    python tests/full/zoo/historical_faults.py

prints the table of docs/historical-faults.md.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))

import diffusers
import plants
import torch
from diffusers.hooks.first_block_cache import FBCHeadBlockHook
from diffusers.hooks.hooks import StateManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Plant = Callable[[Any], contextlib.AbstractContextManager[object]]


@dataclasses.dataclass(frozen=True)
class Historic:
    """A fault, or a change that was none.

    Attributes:
        reference: issue or pull request; of huggingface/diffusers where no project is named.
        about: what happens.
        name: of the class of the zoo in which it is planted.
        plant: brings it back; None where the installed version has it.
        beside: reasons of the gates that find it beside a baseline.
        alone: invariants, and reasons of gates without a baseline, that find it.
        prepare: makes the pipeline what the fault needs.
        call: arguments beside the zoo's.
        beside_call: further ones of the call that shows it beside a baseline.
        benign: no gate may be red, and no invariant broken; `beside` are reasons of gates that leave it open.
    """

    reference: str
    about: str
    name: str
    plant: Plant | None
    beside: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    prepare: Callable[[Any], None] = lambda _pipeline: None
    call: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    beside_call: Callable[[Any], Mapping[str, Any]] = lambda _pipeline: {}
    benign: bool = False


@dataclasses.dataclass(frozen=True)
class Elsewhere:
    """What isn't planted into a class of the zoo: where it is tested in place of that.

    Attributes:
        reference: as above.
        about: what happens.
        beside: what finds it beside a baseline, or what is made of it.
        alone: and without one.
        tests: files and names of tests.
    """

    reference: str
    about: str
    beside: str
    alone: str
    tests: tuple[str, ...]


def two_prompts(_pipeline: Any) -> dict[str, Any]:
    prompts = ["a red circle", "two small green squares on a white ground, seen from above"]
    return {"prompt": prompts, "negative_prompt": ["a green cross", "a blue ring"]}


def encoded(pipeline: Any) -> dict[str, Any]:
    """Embeddings without masks in the places of the prompts."""
    with torch.no_grad():
        prompt, negative = (pipeline.encode_prompt(text)[0] for text in ("a red circle", "a green cross"))
    return {
        "prompt": None,
        "negative_prompt": None,
        "prompt_embeds": prompt,
        "negative_prompt_embeds": negative,
    }


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
def guided_above_one(pipeline: Any) -> Iterator[None]:
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


def mask_of_ones(pipeline: Any) -> contextlib.AbstractContextManager[object]:
    def masked(arguments: dict[str, Any]) -> dict[str, Any]:
        ones = torch.ones(arguments["encoder_hidden_states"].shape[:2], dtype=torch.bool)
        return arguments | {"encoder_hidden_states_mask": ones}

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
def moved_to_where_it_is(pipeline: Any) -> Iterator[None]:
    sound = pipeline.transformer.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        kwargs = {
            name: value.to("cpu", non_blocking=True) if isinstance(value, torch.Tensor) else value
            for name, value in kwargs.items()
        }
        return sound(*args, **kwargs)

    with plants.replaced(pipeline.transformer, "forward", forward):
        yield


HISTORY = [
    Historic(
        "vLLM-Omni #5694",
        "a model of two stages is guided in the first one alone, and so is faster",
        "WanPipeline (2.2)",
        second_stage_unguided,
        beside=("guidance.missing_steps", "output.differs"),
        alone=("guidance.missing_steps",),
        call={"guidance_scale_2": 4.0},
    ),
    Historic(
        "#13377",
        "masks of None drop guidance: twice as fast, and wrong",
        "QwenImagePipeline",
        guidance_needs_masks,
        beside=("guidance.missing_steps", "output.trace"),
        alone=("guidance.missing_steps", "text.embeddings"),
        beside_call=encoded,
    ),
    Historic(
        "#14649",
        "a scale that stands for off still makes unconditional calls",
        "LTXPipeline",
        never_off,
        beside=("work.branches",),
        alone=("off.unconditional_calls",),
        beside_call=lambda _pipeline: {"guidance_scale": 1.0},
    ),
    Historic(
        "sglang #33827",
        "a cache that compares 0/0 never hits",
        "FluxPipeline",
        nothing_over_nothing,
        beside=("work.inert",),
        alone=("work.inert",),
        prepare=cached,
    ),
    Historic(
        "#13634",
        "masks and embeddings of several images for a prompt lie in different orders",
        "LuminaPipeline",
        None,
        alone=("batch.prompts_and_images",),
    ),
    Historic(
        "#13730",
        "the last step has dt = 0",
        "ZImagePipeline",
        ends_with_two_zeros,
        beside=("work.schedule", "output.differs"),
        alone=("waste.idle_steps",),
    ),
    Historic(
        "#13183, #13212",
        "a scale of 0.5 is ignored",
        "ZImagePipeline",
        guided_above_one,
        beside=("guidance.missing_steps", "output.trace"),
        alone=("guidance.missing_steps",),
        call={"guidance_scale": 0.5},
    ),
    Historic(
        "#14184",
        "the VAE is cast in place, for whoever calls it next",
        "AuraFlowPipeline",
        None,
        alone=("repeat.as_it_was",),
        prepare=half_vae,
    ),
    Historic(
        "#13944",
        "max_sequence_length is ignored: more tokens than asked for",
        "OvisImagePipeline",
        all_the_room,
        beside=("work.shapes",),
        call={"max_sequence_length": 32},
    ),
    Historic(
        "#13944",
        "samples of a batch are guided by another one's prediction",
        "OvisImagePipeline",
        unlike_negatives,
        beside=("output.differs",),
        beside_call=two_prompts,
        alone=("batch.prompts",),
    ),
    Historic(
        "#13678",
        "a stochastic scheduler doesn't use the generator",
        "FluxPipeline",
        global_noise,
        beside=("output.global_generator",),
        alone=("output.global_generator", "repeat.generator_alone"),
        prepare=stochastic,
    ),
    Historic(
        "#12294",
        "the mask isn't handed on: padding takes part",
        "QwenImagePipeline",
        mask_not_handed_on,
        beside=("output.differs",),
        beside_call=two_prompts,
        alone=("batch.prompts",),
    ),
    Historic(
        "#12508, #12263",
        "a mask of 0.0 and 1.0 is added",
        "ChromaPipeline",
        None,
        alone=("text.masked_tokens", "text.longer_padding"),
    ),
    Historic(
        "#12913",
        "the shift of the schedule comes of the number of channels",
        "Lumina2Pipeline",
        None,
        alone=("schedule.shift",),
        prepare=dynamic_shift,
    ),
    Historic(
        "#12131",
        "a LoRA is worked out twice",
        "FluxPipeline",
        twice_the_lora,
        beside=("work.flops",),
        prepare=with_lora,
    ),
    Historic(
        "#12955",
        "a mask of ones alone sends attention another, slower way",
        "QwenImagePipeline",
        mask_of_ones,
        beside=("work.attention_mask",),
    ),
    Historic(
        "pytorch #166643",
        "convolutions take several times the memory while decoding",
        "FluxPipeline",
        unfolded,
        beside=("memory.workspace",),
    ),
    Historic(
        "#13356",
        "Python between the kernels, for nothing",
        "FluxPipeline",
        idle_python,
        beside=("work.python_calls",),
    ),
    Historic(
        "Flow-Factory #196",
        "a cache that is enabled after a failed call finds an empty state each time",
        "FluxPipeline",
        forgetting,
        beside=("work.inert",),
        alone=("work.inert",),
        prepare=cached,
    ),
    Historic(
        "#13805",
        "pad tokens are memory that nobody has written to",
        "ZImagePipeline",
        uninitialised_pad,
        alone=("repeat.uninitialised_memory",),
    ),
    Historic(
        "#13406",
        "tensors are moved to the device in each call, where they are",
        "FluxPipeline",
        moved_to_where_it_is,
        benign=True,
    ),
    Historic(
        "#14589",
        "the host reads values in each step",
        "ZImagePipeline",
        host_reads_the_sample,
        beside=("work.operators",),
        benign=True,
    ),
    Historic(
        "#11696",
        "the scheduler looks for its place in each call",
        "FluxPipeline",
        index_is_searched,
        beside=("work.operators",),
        benign=True,
    ),
]
"""In the order of the table."""

_TIME = "tests/judge/test_judge_time.py::"
_REAL = "tests/guidance/test_guidance_real_pipelines.py::"

ELSEWHERE = [
    Elsewhere(
        "#11890",
        "a callback cuts guidance off: no fault",
        "`guidance.steered`, not red",
        "`guidance.steered`, not red",
        (f"{_REAL}test_a_callback_that_cuts_guidance_off_is_described_and_no_fault",),
    ),
    Elsewhere(
        "sglang #25848",
        "a cached difference of the branches is used again: no fault",
        "`guidance.steered`, not red",
        "`guidance.steered`, not red",
        (f"{_REAL}test_a_difference_of_branches_that_is_reused_is_described",),
    ),
    Elsewhere(
        "newton #2534",
        "a base whose runs have two speeds",
        "not red",
        "",
        (f"{_TIME}test_a_base_whose_runs_have_two_speeds_is_not_red_at_either",),
    ),
    Elsewhere(
        "sglang, one card in two pools",
        "837 and 1,334 ms under one name of a machine",
        "`time.*`: what the machine explains is taken off",
        "",
        (
            "tests/measure/test_measure_machine.py::test_two_processors_of_one_name_are_two_classes",
            f"{_TIME}test_a_slow_machine_is_told_from_slow_code",
        ),
    ),
    Elsewhere(
        "lodestar #10074",
        "one lucky run in the baseline",
        "not red",
        "",
        (f"{_TIME}test_one_lucky_run_in_the_baseline_is_no_lasting_red",),
    ),
    Elsewhere(
        "vLLM-Omni #5063",
        "a golden image slides by small steps that are accepted",
        "told at each save: how far it is from the first",
        "",
        ("tests/judge/test_judge_slide.py::test_a_picture_that_went_further_is_told_with_figures_and_limit",),
    ),
    Elsewhere(
        "mold #1485",
        "the control read its weights from a cold cache",
        "by turns, ABBA",
        "",
        ("tests/workers/test_workers_turns.py::test_like_rounds_lie_side_by_side_in_the_order_abba",),
    ),
    Elsewhere(
        "#11360, #10932",
        "each resolution is compiled anew",
        "`work.compiled`",
        "",
        ("tests/full/measure/test_measure_real_work_compiled.py::test_measuring_what_is_compiled_compiles_nothing",),
    ),
]


def table() -> str:
    """For the page."""
    lines = ["| reference | what happens | planted in | beside a baseline | without one |", "|---|---|---|---|---|"]
    for historic in HISTORY:
        where = f"`{historic.name}`" + (" (0.42.1 has it)" if historic.plant is None else "")
        beside = _codes(historic.beside) or (
            "nothing for sure" if historic.plant is not None else "it was there before"
        )
        alone = _codes(historic.alone) or "nothing"
        if historic.benign:
            beside = f"not red, and left open by {_codes(historic.beside)}" if historic.beside else "green"
            alone = "all hold"
        lines.append(f"| {historic.reference} | {historic.about} | {where} | {beside} | {alone} |")
    for elsewhere in ELSEWHERE:
        where = ", ".join(f"`{name.rpartition('::')[2]}`" for name in elsewhere.tests)
        cells = [elsewhere.reference, elsewhere.about, where, elsewhere.beside, elsewhere.alone or "not asked"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _codes(codes: tuple[str, ...]) -> str:
    return ", ".join(f"`{code}`" for code in codes)


if __name__ == "__main__":
    print(table())
