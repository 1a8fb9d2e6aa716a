"""Every class of the zoo's table: measured, saved, the same again, and red by guidance where a scale is off."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
import zoo_check
import zoo_entry
import zoo_kinds
import zoo_table

from pytest_diffbench.judge.guidance.observed import contradictions

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("one_thread")]

LEAST_CLASSES = 110
LEAST_RED = 60


@pytest.fixture(scope="module", autouse=True)
def frozen_heap() -> None:
    """Keep what exists out of collections: each measurement begins with one, over all that the session imported."""
    zoo_entry.build(zoo_table.ENTRIES["QwenImagePipeline"])  # libraries are imported as they are needed
    gc.collect()
    gc.freeze()


@pytest.mark.parametrize("name", zoo_table.ENTRIES)
def test_a_class_is_saved_and_a_wrong_scale_is_red(tmp_path: Path, name: str) -> None:
    entry = zoo_table.ENTRIES[name]
    examined = zoo_check.examine(name, tmp_path)
    assert zoo_check.kind_of(examined.observation) == entry.kind
    guidance_again, output_again = (verdict.reason for verdict in examined.again)
    assert guidance_again == ("guidance.not_seen" if entry.no_steps else "guidance.same")
    assert (output_again == "output.same_bits") is not bool(entry.draws), output_again
    guidance = examined.observation.guidance
    odd = contradictions(guidance) if guidance is not None else ()
    assert odd == (), "the scale that is read is the argument's"
    assert bool(entry.draws) is not zoo_check.reruns_alike(examined.observation)
    assert entry.draws or examined.observation.run.rounds[0].output_digest == examined.bare_digest is not None
    for scale, verdict in examined.off.items():
        assert verdict.decision == "worse", f"{scale}: {verdict.message}"
        assert zoo_check.names_both_scales(verdict), verdict.message


def test_the_table_is_as_large_as_the_page_says() -> None:
    classes = {name.partition(" ")[0] for name in zoo_table.ENTRIES}
    assert len(classes) >= LEAST_CLASSES
    assert sum(bool(entry.scales) for entry in zoo_table.ENTRIES.values()) >= LEAST_RED
    assert all(bool(entry.scales) != bool(entry.no_guidance) for entry in zoo_table.ENTRIES.values())


TOKENS = {
    "WanPipeline": 2 * 2 * 2,  # 5 frames of 32 px: 2 x 4 x 4 latents, in patches of 1 x 2 x 2
    "LTXPipeline": 3 * 8 * 8,  # 9 frames: a quarter of each, as tokens
    "HunyuanVideoPipeline": 2 * 4 * 4,  # patches of one latent
    "CogVideoXPipeline": 3 * 2 * 2,  # 9 frames, which stand before the channels
    "MochiPipeline": 2 * 2 * 2,  # 7 frames: 2 x 4 x 4 latents
}


@pytest.mark.parametrize("name", TOKENS)
def test_the_work_of_a_video_is_counted_in_tokens(name: str) -> None:
    pipeline = zoo_entry.build(zoo_table.ENTRIES[name])
    asked = zoo_entry.arguments(zoo_table.ENTRIES[name], pipeline)
    work = zoo_kinds.measured(name, pipeline, asked).work
    assert work is not None
    assert {group.tokens for group in work.denoiser} == {TOKENS[name]}


def test_both_transformers_have_calls_and_a_scale() -> None:
    entry = zoo_table.ENTRIES["WanPipeline (2.2)"]
    pipeline = zoo_entry.build(entry)
    observation = zoo_kinds.measured("Wan 2.2", pipeline, zoo_entry.arguments(entry, pipeline))
    assert observation.work is not None
    assert observation.guidance is not None
    calls = {(group.component, group.branch): group.steps for group in observation.work.denoiser}
    assert calls == {
        ("transformer", "cond"): "0-1",
        ("transformer", "uncond"): "0-1",
        ("transformer_2", "cond"): "2-5",
        ("transformer_2", "uncond"): "2-5",
    }
    first, second = observation.guidance.groups()
    assert (first.components, first.steps) == (("transformer",), "0-1")
    assert (second.components, second.steps) == (("transformer_2",), "2-5")
    assert (first.scale, second.scale) == pytest.approx((4.0, 3.0), rel=1e-4)
