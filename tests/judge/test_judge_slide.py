"""How far a case has gone by small accepted steps: what is said of it, and from where it counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import judge_factories as make
import msgspec
import numpy as np
import pytest
import returned_parts as returned

from pytest_diffbench.errors import BaselineError
from pytest_diffbench.judge import Limits
from pytest_diffbench.judge.limits import TierLimits
from pytest_diffbench.judge.slide import (
    CELLS,
    MOST_IMAGES,
    origin_distance,
    origin_of,
    origin_with,
    pictures_of,
    slide,
)
from pytest_diffbench.outputs.image_metrics import colour_levels
from pytest_diffbench.records import Case, RerunNoise
from pytest_diffbench.records.artifacts import Artifacts, Reference
from pytest_diffbench.report.sentences.saving import slide_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_diffbench.records import Observation, Origin

FLAT = np.full((128, 128, 3), 100, np.uint8)


def origin(image: NDArray[np.uint8] = FLAT, observation: Observation | None = None) -> Origin:
    observation = observation or make.observation()
    return origin_of(1, observation.run, observation.work, observation.memory, [image])


def slide_text_of(
    image: NDArray[np.uint8] = FLAT,
    observation: Observation | None = None,
    *,
    first: Origin | None = None,
    generation: int = 3,
    limits: Limits | None = None,
    **changed: Any,
) -> str:
    """What is said of a case whose baseline of generation 2 has `first` as its origin."""
    standing = make.reference(generation=2, origin=first or origin(), **changed)
    observation = observation or make.observation(output=make.output(image))
    slid = slide(observation, Artifacts(images=(image,)), standing, limits or Limits(), generation)
    return slide_text(slid) if slid is not None else ""


def moved(levels: int) -> NDArray[np.uint8]:
    return (FLAT + levels).astype(np.uint8)


@pytest.mark.parametrize("levels", [0, 1])
def test_a_step_within_the_limit_is_not_mentioned(levels: int) -> None:
    assert slide_text_of(moved(levels)) == ""


def test_a_picture_further_off_is_reported_with_figures_and_limit() -> None:
    text = slide_text_of(moved(5))
    assert text.startswith("since generation 1 (2026-")
    assert "colour shift of image 0 at least 5.0/255 (limit per step 1)" in text
    assert "PSNR of image 0 at most 34.2 dB (limit per step 40 dB)" in text


def test_the_limits_match_the_case() -> None:
    assert (
        slide_text_of(
            moved(5), limits=Limits(metric_limits={"colour_levels": TierLimits(6, 6), "psnr_db": TierLimits(30, 28)})
        )
        == ""
    )
    noisy = make.output(FLAT, rerun=RerunNoise(rounds=5, identical=False, psnr_db=30.0))
    assert slide_text_of(moved(5), output=noisy) == ""


@pytest.mark.parametrize(("levels", "said"), [(0, False), (5, True)])
def test_a_video_is_sketched_by_the_frames(levels: int, said: bool) -> None:
    film = np.clip(np.rint(255 * returned.film()), 10, 240).astype(np.uint8)

    def artifacts(frames: NDArray[np.uint8]) -> Artifacts:
        return Artifacts(parts=tuple(part.kept.arrays for part in returned.read("frames", frames[None])))

    observation = make.observation(output=returned.output_of(returned.read("frames", film[None])))
    pictures = pictures_of(artifacts(film))
    assert len(pictures) == returned.FRAMES
    first = origin_of(1, observation.run, observation.work, observation.memory, pictures)
    assert len(first.images) == MOST_IMAGES
    standing = make.reference(generation=2, origin=first)
    slid = slide(observation, artifacts((film + levels).astype(np.uint8)), standing, Limits(), 3)
    assert ("colour shift" in slide_text(slid) if slid is not None else False) is said
    distance = origin_distance(observation, artifacts((film + levels).astype(np.uint8)), standing)
    assert distance is not None
    assert distance.colour_levels == pytest.approx(levels, abs=0.5)


def test_recordings_maps_and_tensors_are_no_pictures() -> None:
    parts = [*returned.read("audios", returned.recording()[None]), *returned.read("0", returned.latents())]
    assert pictures_of(Artifacts(parts=tuple(part.kept.arrays for part in parts))) == ()


@pytest.mark.parametrize(("generation", "said"), [(2, False), (3, True), (4, True)])
def test_a_single_step_is_left_to_the_gates(generation: int, said: bool) -> None:
    assert bool(slide_text_of(moved(50), generation=generation)) is said


def test_work_and_memory_go_by_their_own_limits() -> None:
    observation = make.observation(output=make.output(FLAT))
    assert observation.work is not None
    assert observation.memory is not None
    more = msgspec.structs.replace(
        observation.work, flops={name: 2 * n for name, n in observation.work.flops.items()}
    )
    assert "+100 %, limit per step: no change" in slide_text_of(
        observation=msgspec.structs.replace(observation, work=more)
    )
    fewer = msgspec.structs.replace(observation.work, denoiser=observation.work.denoiser[:1])
    assert "denoiser calls (limit per step: no change)" in slide_text_of(
        observation=msgspec.structs.replace(observation, work=fewer)
    )
    for growth, said in ((1.019, False), (1.021, True), (0.5, False)):
        memory = make.memory(int(growth * observation.memory.peak_bytes))
        text = slide_text_of(observation=msgspec.structs.replace(observation, memory=memory))
        assert ("peak memory 8.00 GiB -> 8.17 GiB (+2.1 %, limit per step +164 MiB)" in text) is said, text
        assert bool(text) is said


def test_figures_with_different_meanings_are_not_compared() -> None:
    observation = make.observation(
        output=make.output(FLAT), memory=make.memory(90 * make.GIB, source="process_lifetime")
    )
    assert slide_text_of(observation=observation) == ""
    other = msgspec.structs.replace(origin(), torch="1.0", flops=int(origin().flops * 1.005))  # type: ignore[operator]
    assert slide_text_of(first=other) == ""
    assert "(-2.0 %, limit per step 1 %)" in slide_text_of(
        first=msgspec.structs.replace(other, flops=int(origin().flops * 1.02))  # type: ignore[operator]
    )
    definition = make.definition(num_inference_steps=31)
    redefined = make.observation(case=Case(id=make.observation().case.id, definition=definition))
    assert slide_text_of(moved(50), redefined) == ""


def test_a_different_size_is_reported_as_such() -> None:
    text = slide_text_of(np.full((64, 64, 3), 100, np.uint8))
    assert "images 128 x 128 px -> 64 x 64 px" in text


def test_without_images_nothing_is_said_of_any() -> None:
    observation = make.observation(output=None)
    standing = make.reference(
        generation=2, origin=origin_of(1, observation.run, observation.work, observation.memory, []), output=None
    )
    assert slide(observation, Artifacts(), standing, Limits(), 9) is None


# -- the sketch


@pytest.mark.parametrize("shape", [(128, 128, 3), (1024, 768, 3), (5, 7), (70, 41, 4), (1, 1, 1)])
def test_a_sketch_is_small_for_any_image(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    sketch = origin(image).images[0]
    assert len(sketch.levels) == sketch.rows * sketch.columns * (shape[2] if len(shape) == 3 else 1)
    assert (sketch.rows, sketch.columns) == (min(CELLS, shape[0]), min(CELLS, shape[1]))
    assert len(msgspec.json.encode(origin(image))) < 10_000


def test_of_many_images_a_few_are_kept_with_the_first_and_the_last() -> None:
    observation = make.observation()
    kept = origin_of(1, observation.run, None, None, [FLAT] * 81).images
    assert [sketch.image for sketch in kept] == [0, 27, 53, 80]
    assert len(kept) == MOST_IMAGES


@pytest.mark.parametrize("seed", range(5))
def test_what_is_reported_is_never_more_than_the_output_gate_would_find(seed: int) -> None:
    image = make.picture(seed)
    other = make.noisy(image, 3 * seed, seed) if seed % 2 else np.roll(image, seed, axis=0)
    text = slide_text_of(
        other, first=origin(image), limits=Limits(metric_limits={"colour_levels": TierLimits(0.0, 6)})
    )
    levels = float(text.partition("at least ")[2].partition("/255")[0] or 0)
    assert levels <= colour_levels(image, other) + 0.06  # a tenth is told


# -- from where it counts


def test_an_origin_is_carried_over_until_the_definition_changes() -> None:
    observation = make.observation(output=make.output(moved(9)))
    artifacts = Artifacts(images=(moved(9),))
    first = origin()
    assert (
        origin_with(observation, artifacts, True, make.reference(generation=7, origin=first), 8).images
        is first.images
    )
    other = msgspec.structs.replace(
        observation, case=Case(id=observation.case.id, definition=make.definition(prompt="else"))
    )
    anew = origin_with(other, artifacts, False, make.reference(generation=7, origin=first), 8)
    assert (anew.generation, set(anew.images[0].levels)) == (8, {109.0})
    assert origin_with(observation, artifacts, False, None, 1).generation == 1


def test_a_baseline_from_before_there_were_origins_begins_with_what_stands() -> None:
    observation = make.observation(output=make.output(moved(9)))
    old = make.reference(generation=4, stored=Artifacts(images=(FLAT,)))
    begun = origin_with(observation, Artifacts(images=(moved(9),)), False, old, 5)
    assert (begun.generation, set(begun.images[0].levels)) == (4, {100.0})

    def gone() -> Artifacts:
        raise BaselineError("image-0.png", "is missing", "Restore it.")

    lost = Reference(baseline=old.baseline, distance="machine", path="", artifacts=gone)
    begun = origin_with(observation, Artifacts(images=(moved(9),)), False, lost, 5)
    assert (begun.generation, set(begun.images[0].levels)) == (5, {109.0})
