"""Sketches of parts that a probe kept, beside those of the same call made again: how far apart, and how large."""

from __future__ import annotations

from typing import Any

import judge_factories as make
import msgspec
import numpy as np
import pytest
import returned_parts as returned

from pytest_diffbench.judge import Limits
from pytest_diffbench.judge.part_sketches import MOST_PARTS, sketches_of
from pytest_diffbench.judge.time.variants import case_suspicions
from pytest_diffbench.records import PartNoise, PartSketch, Probe, RerunNoise, baseline_of
from pytest_diffbench.records.artifacts import Artifacts, Reference

AUDIO = returned.recording()[None]
NOISE = np.random.default_rng(1).normal(size=AUDIO.shape).astype(np.float32) * float(np.sqrt(np.mean(AUDIO**2)))


def sketched(*fields: tuple[str, Any]) -> tuple[PartSketch, ...]:
    parts = [part for field, content in fields for part in returned.read(field, content)]
    return sketches_of([part.facts for part in parts], [part.kept.arrays for part in parts])


def found(
    now: tuple[PartSketch, ...], base: tuple[PartSketch, ...], rerun: RerunNoise | None = None
) -> tuple[str, ...] | None:
    """Suspicions against a call that repeats what a baseline's probe was called with."""
    probe = Probe(prompt="a tiny blue star", seed=5, fresh_s=12.0, round_s=12.0, steps=make.STEPS)
    output = returned.output_of(returned.read("audios", AUDIO))
    saved = msgspec.structs.replace(output, rerun=rerun) if rerun is not None else output
    before = make.observation(output=saved, probe=msgspec.structs.replace(probe, parts=base))
    after = make.observation(output=output, probe=msgspec.structs.replace(probe, repeated_parts=now))
    reference = Reference(baseline_of(before), "machine", "baselines/case", Artifacts)
    return case_suspicions(after, reference, Limits())


OTHERS = {
    "silent": (("audios", 0 * AUDIO),),
    "another seed": (("audios", NOISE),),
    "in part": (("audios", AUDIO * (np.arange(AUDIO.shape[-1]) < AUDIO.shape[-1] // 2)),),
    "shorter": (("audios", AUDIO[..., :-1]),),
    "another kind": (("latents", returned.latents()),),
    "one more": (("audios", AUDIO), ("latents", returned.latents())),
    "nothing": (),
}


@pytest.mark.parametrize("fields", OTHERS.values(), ids=OTHERS)
def test_another_part_is_suspected(fields: tuple[tuple[str, Any], ...]) -> None:
    assert found(sketched(*fields), sketched(("audios", AUDIO))) == ("hidden_prompt_differs",)


def test_a_part_within_the_limits_is_not() -> None:
    # the limit is 40 dB
    assert found(sketched(("audios", AUDIO + 0.005 * NOISE)), sketched(("audios", AUDIO))) == ()
    assert found(sketched(("audios", AUDIO + 0.02 * NOISE)), sketched(("audios", AUDIO))) == (
        "hidden_prompt_differs",
    )


def test_a_part_that_identical_calls_leave_as_far_apart_is_not() -> None:
    drift = tuple(
        PartNoise(part=0, metric=metric, value=value)
        for metric, value in {"audio_snr_db": 32.0, "audio_loudness_db": 0.1}.items()
    )
    noisy = RerunNoise(rounds=5, identical=False, parts=drift)
    sides = sketched(("audios", AUDIO + 0.02 * NOISE)), sketched(("audios", AUDIO))
    assert found(*sides, rerun=noisy) == ()
    assert found(sketched(("audios", NOISE)), sides[1], rerun=noisy) == ("hidden_prompt_differs",)


def test_a_baseline_without_sketches_has_nothing_to_be_held_against() -> None:
    assert found(sketched(("audios", AUDIO)), ()) == ()
    written = msgspec.json.encode({"prompt": None, "fresh_s": 1.0, "steps": 0})
    assert msgspec.json.decode(written, type=Probe).parts == ()


def test_sketches_are_few_and_small_and_none_of_a_video() -> None:
    batch = np.repeat(AUDIO, 9, axis=0)
    sketches = sketched(("frames", returned.film()[None]), ("audios", batch))
    assert [(sketch.part, sketch.kind) for sketch in sketches] == [(1 + n, "audio") for n in range(MOST_PARTS)]
    assert len(msgspec.json.encode(sketches)) < MOST_PARTS * 4096
