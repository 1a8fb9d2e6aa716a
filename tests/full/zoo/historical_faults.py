"""Faults that this field has had, by public reports, put back into the installed libraries for a while.

And changes that were none. `historical_plants.py` brings them back.

    python tests/full/zoo/historical_faults.py

prints the table of docs/historical-faults.md.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))

import torch
from historical_plants import (
    all_the_room,
    cached,
    dynamic_shift,
    ends_with_two_zeros,
    forgetting,
    global_noise,
    guidance_needs_masks,
    guided_above_scale_1,
    half_vae,
    host_reads_the_sample,
    idle_python,
    index_is_searched,
    mask_not_handed_on,
    mask_of_all_true,
    moved_in_place,
    never_off,
    nothing_over_nothing,
    second_stage_unguided,
    stochastic,
    twice_the_lora,
    unfolded,
    uninitialised_pad,
    unlike_negatives,
    with_lora,
)

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Mapping

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
        guided_above_scale_1,
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
        mask_of_all_true,
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
        moved_in_place,
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
        (f"{_REAL}test_a_callback_cutting_guidance_off_is_described_and_no_fault",),
    ),
    Elsewhere(
        "sglang #25848",
        "a cached difference of the branches is used again: no fault",
        "`guidance.steered`, not red",
        "`guidance.steered`, not red",
        (f"{_REAL}test_a_reused_difference_of_branches_is_described",),
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
            "tests/measure/test_measure_machine.py::test_two_processors_of_the_same_name_are_two_classes",
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
        ("tests/judge/test_judge_slide.py::test_a_picture_further_off_is_reported_with_figures_and_limit",),
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
