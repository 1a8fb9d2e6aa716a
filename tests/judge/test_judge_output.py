"""The output gate: hard gates, tolerances by machine and noise, and the place where pictures part."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import judge_factories as make
import msgspec
import numpy as np
import pytest

from pytest_diffbench.judge.output.tolerance import flat_ssim
from pytest_diffbench.judge.trace.divergence import find_divergence, rounding_rel
from pytest_diffbench.judge.trace.entries import relative_distance
from pytest_diffbench.outputs.metrics import distance
from pytest_diffbench.records import Case, RerunNoise
from pytest_diffbench.records.artifacts import Artifacts
from pytest_diffbench.report.sentences.trace import divergence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_diffbench.records import Distance

IMAGE = make.BASE_IMAGE


def judged(
    *images: NDArray[np.uint8],
    distance: Distance = "machine",
    now: dict[str, Any] | None = None,
    base: dict[str, Any] | None = None,
    trace: dict[str, float] | None = None,
) -> Any:
    """Judge images against as many copies of the baseline's image."""
    observation = make.observation(output=make.output(*images, **(now or {})))
    old = [IMAGE] * len(images)
    against = make.reference(
        make.observation(output=make.output(*old, **(base or {}))), stored=make.artifacts(*old), distance=distance
    )
    return make.ask("output", observation, against, returned=make.artifacts(*images, **(trace or {})))


def drifted(
    psnr_db: float | None, identical: bool = False, rounds: int = 5, latents_rel: float | None = None
) -> RerunNoise:
    return RerunNoise(rounds=rounds, identical=identical, psnr_db=psnr_db, latents_rel=latents_rel)


def test_not_finite_wins_over_everything_and_says_where() -> None:
    answer = judged(IMAGE, now={"finite": False, "not_finite_where": "latents, step 3"})
    assert answer.reason == "output.not_finite"
    assert "latents, step 3" in answer.message


def test_hard_gates_need_no_baseline_and_no_equal_definition() -> None:
    black = np.zeros((64, 64, 3), np.uint8)
    case = Case(id="case", definition=make.definition(num_inference_steps=2))
    observation = make.observation(output=make.output(IMAGE, black), case=case)
    for against in (None, make.reference()):
        answer = make.ask("output", observation, against, returned=make.artifacts(IMAGE, black))
        assert answer.reason == "output.constant"
        assert "image 1" in answer.message


def test_without_a_baseline_saving_says_so() -> None:
    saved = make.ask("output", make.observation(), saving=True)
    assert "being saved" in saved.message
    assert "There is no baseline." in make.ask("output", make.observation()).message


def test_equal_bits_need_no_stored_image() -> None:
    def never() -> Artifacts:
        raise AssertionError("read for nothing")

    answer = make.ask("output", make.observation(), dataclasses.replace(make.reference(), artifacts=never))
    assert answer.reason == "output.same_bits"


def test_a_small_difference_is_within_tolerance_and_shows_figure_and_limits() -> None:
    answer = judged(make.noisy(IMAGE, 1))
    assert answer.decision == "same"
    assert "(limit" in answer.message
    assert "PSNR 40 dB" in answer.message


def test_a_lost_patch_is_named_with_the_place() -> None:
    image = make.picture(size_px=512)
    broken = image.copy()
    broken[128:192, 256:320] = 0
    against = make.reference(make.observation(output=make.output(image)), stored=make.artifacts(image))
    answer = make.ask(
        "output", make.observation(output=make.output(broken)), against, returned=make.artifacts(broken)
    )
    assert answer.reason == "output.differs"
    assert "64 x 64 px at (256, 128)" in answer.message
    assert answer.details.images[0]["tile_ssim"].tile.top_px == 128


def test_the_worst_image_decides_not_the_mean() -> None:
    answer = judged(IMAGE, IMAGE, IMAGE, make.noisy(IMAGE, 40))
    assert answer.reason == "output.differs"
    assert "Image 3" in answer.message


def test_a_colour_cast_is_caught() -> None:
    cast = IMAGE.copy()
    cast[:, :, 0] = np.minimum(cast[:, :, 0], 247) + 8
    answer = judged(cast)
    assert answer.reason == "output.differs"
    assert "Image 0 differs from the baseline: colour shift 8.0/255 (limit 1)" in answer.message


@pytest.mark.parametrize("distance", ["family", "any"])
def test_a_different_machine_is_an_excuse_down_to_a_bound(distance: Distance) -> None:
    drift = {"scale": 0.03}
    assert judged(make.noisy(IMAGE, 2), distance=distance, trace=drift).reason == "output.within_tolerance"
    cast = np.minimum(IMAGE, 240) + np.uint8(15)
    assert judged(cast, distance=distance, trace=drift).reason == "output.other_machine"
    assert judged(make.noisy(IMAGE, 60), distance=distance, trace=drift).reason == "output.differs"


@pytest.mark.parametrize("distance", ["family", "any"])
def test_on_a_different_machine_latents_are_compared_before_pixels(distance: Distance) -> None:
    faint = make.noisy(IMAGE, 2)
    cast = np.minimum(IMAGE, 240) + np.uint8(15)
    same = judged(faint, distance=distance)
    assert same.message.startswith("Final latents 0 % apart (limit 10 %). Not bit-identical, but within")
    assert "Limits across machines (cpu-test -> cpu-test): PSNR 28 dB" in same.message
    decoder = judged(cast, distance=distance)
    assert (decoder.decision, decoder.reason) == ("worse", "output.decoder")
    assert "The decoder or a later stage differs: colour shift 1" in decoder.message
    far = judged(faint, distance=distance, trace={"scale": 0.2, "from_step": 7})
    assert (far.decision, far.reason) == ("unsure", "output.other_machine")
    assert far.message.startswith("Final latents 20 % apart (limit 10 %). ")
    assert "The other machine may be the cause. First divergence: latents, step 7" in far.message
    assert all("across machines" in verdict.message for verdict in (same, decoder, far))


@pytest.mark.parametrize(
    ("trace", "reason", "words"),
    [
        ({"texts": 5e-5}, "within_tolerance", "within all limits"),
        ({"texts": 5e-3}, "trace", "but the trace is not: text embedding 0, 0.5 % apart (limit 0.01 %)"),
        ({"scale": 5e-3}, "trace", "but the trace is not: latents, step 0, 0.5 % apart (limit 0.01 %)"),
        ({"scale": 5e-3, "from_step": 1}, "within_tolerance", "within all limits"),
        ({"scale": 0.02, "from_step": 4}, "trace", "First divergence: latents, step 4 (jumps from 0 % to 2 %"),
    ],
)
def test_a_picture_painted_in_a_different_way_is_worse(trace: dict[str, float], reason: str, words: str) -> None:
    answer = judged(make.noisy(IMAGE, 1), trace=trace)
    assert answer.reason == f"output.{reason}"
    assert words in answer.message


def test_what_identical_calls_drift_by_is_no_other_way() -> None:
    noise = {"rerun": drifted(45.0, latents_rel=0.02)}
    answer = judged(make.noisy(IMAGE, 1), base=noise, trace={"scale": 0.02})
    assert answer.reason == "output.within_tolerance"


def test_half_precision_explains_own_rounding_and_no_more() -> None:
    def judged_in_half(texts: float) -> Any:
        case = Case(id="case", definition=msgspec.structs.replace(make.definition(), dtype="bfloat16"))
        image = make.noisy(IMAGE, 1)
        observation = make.observation(output=make.output(image), case=case)
        against = make.reference(make.observation(case=case), stored=make.artifacts(IMAGE))
        return make.ask("output", observation, against, returned=make.artifacts(image, texts=texts)).reason

    assert judged_in_half(0.02) == "output.within_tolerance"
    assert judged_in_half(0.03) == "output.trace"


def test_the_first_place_with_non_finite_values_is_named_from_the_trace() -> None:
    names = ("text/0", "prediction/0/cond", "prediction/0/uncond", "latents/0")
    trace = {name: np.ones(4, np.float32) for name in names}
    lost = {"prediction/0/uncond": 3.0, "latents/0": 9.0}
    trace["moments"] = np.array([[2, 1, 0, 1, 1, lost.get(name, 0)] for name in sorted(names)], np.float32)
    observation = make.observation(output=make.output(IMAGE, finite=False, not_finite_where="latents, step 0"))
    answer = make.ask("output", observation, returned=Artifacts(images=(IMAGE,), trace=trace))
    assert answer.reason == "output.not_finite"
    assert "first at: unconditional prediction, step 0." in answer.message
    assert (answer.details.where, answer.details.place) == ("latents, step 0", "prediction/0/uncond")


def test_the_limit_follows_the_baselines_own_noise_down_to_a_bound() -> None:
    image = make.noisy(IMAGE, 4)  # about 36 dB
    assert judged(image).reason == "output.differs"
    assert judged(image, base={"rerun": drifted(36.0)}).reason == "output.within_tolerance"
    assert judged(make.noisy(IMAGE, 60), base={"rerun": drifted(30.0)}).reason == "output.differs"
    assert judged(make.noisy(IMAGE, 60), base={"rerun": drifted(12.0)}).reason == "output.rerun_noise"


def test_newly_random_code_cant_excuse_itself() -> None:
    image = make.noisy(IMAGE, 4)
    assert judged(image, now={"rerun": drifted(30.0)}).reason == "output.nondeterministic"
    # where the baseline's rounds weren't repeated, this run's noise is all there is
    once = {"rerun": drifted(None, identical=True, rounds=1)}
    assert judged(image, now={"rerun": drifted(36.0)}, base=once).reason == "output.within_tolerance"
    # a case that was random before is not newly so
    random = judged(image, now={"rerun": drifted(25.0)}, base={"rerun": drifted(30.0)})
    assert random.reason == "output.within_tolerance"
    # the last bit may move
    assert judged(make.noisy(IMAGE, 1), now={"rerun": drifted(52.0)}).reason == "output.within_tolerance"


def test_noise_of_a_flat_picture_has_the_ssim_derived_from_psnr() -> None:
    flat = np.full((256, 256), 128, np.uint8)
    measured = distance(flat, make.noisy(flat, 6))
    assert flat_ssim(measured["psnr_db"].value) == pytest.approx(measured["ssim"].value, abs=0.02)


def test_size_and_mode_say_both_values() -> None:
    small = make.picture(size_px=96)
    answer = judged(small)
    assert "96 x 96 px; the baseline's is 128 x 128 px" in answer.message
    assert "mode L; the baseline has RGB" in judged(IMAGE[:, :, 0]).message


def test_images_with_alpha_are_compared() -> None:
    alpha = np.dstack([IMAGE, np.full(IMAGE.shape[:2], 255, np.uint8)])
    clear = alpha.copy()
    clear[:, :, 3] = 0
    against = make.reference(make.observation(output=make.output(alpha)), stored=make.artifacts(alpha))
    observation = make.observation(output=make.output(clear))
    assert make.ask("output", observation, against, returned=make.artifacts(clear)).reason == "output.differs"


def test_unkept_pixels_are_reported() -> None:
    observation = make.observation(output=make.output(make.noisy(IMAGE, 1)))
    assert (
        make.ask("output", observation, make.reference(), returned=Artifacts(trace=make.trace())).reason
        == "output.not_kept"
    )
    empty = make.reference(stored=Artifacts())
    answer = make.ask("output", observation, empty, returned=make.artifacts(make.noisy(IMAGE, 1)))
    assert (answer.reason, answer.decision) == ("output.not_kept", "incomparable")


@pytest.mark.parametrize(
    ("scale", "distance", "reason"),
    [
        (0.0, "machine", "output.within_tolerance"),
        (0.00005, "machine", "output.within_tolerance"),
        (0.005, "machine", "output.trace"),
        (0.05, "machine", "output.differs"),
        (0.05, "any", "output.within_tolerance"),
        (0.3, "any", "output.other_machine"),
        (0.8, "any", "output.differs"),
    ],
)
def test_a_result_of_latents_is_judged_by_latents(scale: float, distance: Distance, reason: str) -> None:
    case = Case(id="case", definition=make.definition(output_type="latent"))
    observation = make.observation(output=make.output(), case=case)
    against = make.reference(observation, stored=Artifacts(trace=make.trace()), distance=distance)
    answer = make.ask("output", observation, against, returned=Artifacts(trace=make.trace(scale)))
    assert answer.reason == reason


def test_latents_of_a_different_shape_or_without_a_trace_never_pass() -> None:
    case = Case(id="case", definition=make.definition(output_type="latent"))
    base = make.observation(output=make.output(), case=case)
    observation = make.observation(output=make.output(latents_shape=(1, 16, 4, 4)), case=case)
    against = make.reference(base, stored=Artifacts(trace=make.trace()))
    assert make.ask("output", observation, against, returned=Artifacts(trace=make.trace())).reason == "output.size"
    assert make.ask("output", base, against, returned=make.artifacts()).reason == "output.not_kept"
    bare = Artifacts(trace={"text/0": np.ones(4, np.float32)})
    assert make.ask("output", base, against, returned=bare).reason == "output.not_kept"


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (
            {"scale": 0.2, "from_step": 7},
            "First divergence: latents, step 7 (jumps from 0 % to 20 %, 20 % at the last step",
        ),
        ({"texts": 0.1}, "First divergence: text embedding 0 (10 % apart"),
        ({"scale": 0.2, "texts": 0.1}, "First divergence: text embedding 0"),
        ({"scale": 0.2, "from_step": 29}, "First divergence: latents, step 29 (jumps from 0 % to 20 %"),
        ({}, "First divergence: in the decoder or later"),
    ],
)
def test_the_place_where_the_traces_diverge_is_named(now: dict[str, float], words: str) -> None:
    answer = judged(make.noisy(IMAGE, 30), trace=now)
    assert words in answer.message
    assert words in answer.message


def test_growth_isnt_called_a_jump() -> None:
    base = make.trace()
    now = {name: value.copy() for name, value in base.items()}
    for step in range(make.STEPS):
        now[f"latents/{step}"] *= np.float32(1 + 1e-7 * 1.7**step)
    text = divergence(find_divergence(now, base, 10 * rounding_rel("float32")).details())
    assert "grows from" in text


def test_traces_of_nothing_say_so() -> None:
    divergence_of_nothing = find_divergence({}, make.trace(), 1e-6)
    assert (divergence_of_nothing.latents_rel, "unknown" in divergence(divergence_of_nothing.details())) == (
        None,
        True,
    )


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [([3.0, 4.0], [3.0, 4.0], 0.0), ([0.0, 0.0], [0.0, 0.0], 0.0), ([3.0, 0.0], [3.0, 4.0], 0.8)],
)
def test_relative_distance(a: list[float], b: list[float], expected: float) -> None:
    assert relative_distance(np.array(a, np.float32), np.array(b, np.float32)) == pytest.approx(expected)


@pytest.mark.parametrize(("a", "b"), [([1.0], [0.0]), ([np.nan], [1.0]), ([1.0], [np.inf]), ([1.0, 1.0], [1.0])])
def test_what_cant_be_compared_is_infinitely_far(a: list[float], b: list[float]) -> None:
    assert relative_distance(np.array(a, np.float32), np.array(b, np.float32)) == np.inf
