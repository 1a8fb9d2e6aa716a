"""Planted damages of videos, audio, maps, latents and embeddings: red, and named with the place; benign ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import judge_factories as make
import msgspec
import numpy as np
import pytest
import returned_parts as returned

from pytest_diffbench.judge import Limits, judge
from pytest_diffbench.judge.output.loosening import checked, limit_fields
from pytest_diffbench.measure.outputs import part_noise
from pytest_diffbench.outputs.kinds import Rates
from pytest_diffbench.outputs.pixels import image_digest, to_uint8_arrays
from pytest_diffbench.records import Output, RerunNoise
from pytest_diffbench.records.artifacts import Artifacts
from pytest_diffbench.report.sentences import worded

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_diffbench.measure.returned import ReadPart
    from pytest_diffbench.records import Distance, Verdict

FILM, RECORDING, DEPTH, NORMALS, LATENTS = (
    returned.film(),
    returned.recording(),
    returned.depth(),
    returned.normals(),
    returned.latents(),
)
EMBEDDINGS = np.random.default_rng(1).normal(size=(2, 77, 32)).astype(np.float32)
ORIGINALS: dict[str, Any] = {
    "frames": FILM,
    "audio": RECORDING,
    "prediction": DEPTH,
    "normals": NORMALS,
    "latents": LATENTS,
    "image_embeds": EMBEDDINGS,
}


def judged(
    now: list[ReadPart],
    base: list[ReadPart],
    *,
    distance: Distance = "machine",
    limits: Limits | None = None,
    stored: Artifacts | None = None,
    rerun: RerunNoise | None = None,
    base_rerun: RerunNoise | None = None,
) -> Verdict:
    """The worded verdict on what a call returned, against what was accepted."""
    steady = RerunNoise(rounds=5, identical=True)
    accepted = make.observation(output=returned.output_of(base, rerun=base_rerun or steady))
    reference = make.reference(accepted, stored=stored or returned.artifacts_of(base), distance=distance)
    observation = make.observation(output=returned.output_of(now, rerun=rerun or steady))
    (verdict,) = judge(observation, returned.artifacts_of(now), reference, limits or Limits(), ["output"])
    return worded(verdict)


def on_field(field: str, damaged: Any, **changed: Any) -> Verdict:
    return judged(returned.read(field, damaged), returned.read(field, ORIGINALS[field]), **changed)


def with_frames(change: Callable[[Any], object]) -> Any:
    frames = FILM.copy()
    change(frames)
    return frames


def frozen_frame(frames: Any) -> None:
    frames[5] = frames[4]


def swapped_frames(frames: Any) -> None:
    frames[[3, 7]] = frames[[7, 3]]


def frozen_tail(frames: Any) -> None:
    frames[8:] = frames[8]


def jitter(frames: Any) -> None:
    frames[6] = np.roll(frames[6], 2, axis=1)


def black_frame(frames: Any) -> None:
    frames[6] = 0


def without_channel(channel: int) -> Any:
    lost = LATENTS.copy()
    lost[:, channel] = 0
    return lost


def embeddings_without(batch: int, channel: int) -> Any:
    lost = EMBEDDINGS.copy()
    lost[batch, :, channel] = 0
    return lost


DAMAGES: list[tuple[str, str, Any, list[str]]] = [
    (
        "one frame repeated",
        "frames",
        with_frames(frozen_frame),
        ["Video 'frames' differs", "Frame 5 (625 ms) repeats the frame before"],
    ),
    ("frames swapped", "frames", with_frames(swapped_frames), ["begins in frame 3", "Frames 3 and 7 are exchanged"]),
    (
        "frozen tail",
        "frames",
        with_frames(frozen_tail),
        ["is frozen from frame 8 (1.000 s) on: frames 9-11 repeat it"],
    ),
    ("jitter", "frames", with_frames(jitter), ["Frame 6 (750 ms) is moved 2 px to the right"]),
    ("black frame", "frames", with_frames(black_frame), ["Frame 6 (750 ms) is of a single colour"]),
    ("early", "frames", np.concatenate([FILM[1:], FILM[-1:]]), ["Frames 0-10 (0 s) come 1 frame early"]),
    ("polarity", "audio", -RECORDING, ["Audio 'audio' differs", "polarity is inverted"]),
    ("delay", "audio", np.roll(RECORDING, 100, axis=1), ["It comes 100 samples (6.25 ms) late"]),
    ("clipped", "audio", RECORDING.clip(-0.3, 0.3), ["It is clipped at 0.3 of full scale"]),
    ("gain", "audio", np.float32(10 ** (1 / 20)) * RECORDING, ["It is 1.00 dB louder"]),
    ("channel lost", "audio", RECORDING * np.array([[1], [0]], np.float32), ["Channel 1 is silent"]),
    ("channels swapped", "audio", RECORDING[::-1], ["Channels 0 and 1 are exchanged"]),
    ("inverted depth", "prediction", DEPTH.max() - DEPTH, ["Map 'prediction' differs", "Its values are inverted"]),
    ("scaled depth", "prediction", 1.1 * DEPTH, ["Its values are scaled by 1.1"]),
    ("moved depth", "prediction", DEPTH + 0.5, ["Its values are moved by +0.5"]),
    ("inverted normals", "normals", -NORMALS, ["mean angle 180.0 degrees"]),
    ("mirrored normals", "normals", NORMALS[:, :, ::-1], ["mirrored along its width"]),
    (
        "mirrored latents",
        "latents",
        LATENTS[..., ::-1],
        ["Latents 'latents' differs", "mirrored along its last axis"],
    ),
    ("channel zeroed", "latents", without_channel(2), ["Channel 2 is zero"]),
    ("scaled latents", "latents", np.float32(1.2) * LATENTS, ["Its values are scaled by 1.2"]),
    (
        "channel of an embedding",
        "image_embeds",
        embeddings_without(1, 3),
        ["100 % in channel 3 of sample 1 of the batch", "Channel 3 of sample 1 of the batch is zero"],
    ),
]


@pytest.mark.parametrize(("field", "damaged", "words"), [row[1:] for row in DAMAGES], ids=[row[0] for row in DAMAGES])
def test_a_damage_is_red_and_named(field: str, damaged: Any, words: list[str]) -> None:
    verdict = on_field(field, damaged)
    assert (verdict.reason, verdict.decision) == ("output.differs", "worse"), verdict.message
    for part in words:
        assert part in verdict.message


@pytest.mark.parametrize("field", ORIGINALS)
def test_the_same_result_is_the_same(field: str) -> None:
    verdict = on_field(field, ORIGINALS[field].copy())
    assert verdict.reason == "output.same_bits"
    assert "bit-identical" in verdict.message


def noise(field: str, share: float) -> Any:
    original = ORIGINALS[field]
    drawn = np.random.default_rng(2).normal(size=original.shape) * share * original.std()
    changed = original + drawn
    return (changed.clip(0, 1) if field == "frames" else changed).astype(original.dtype)


@pytest.mark.parametrize("field", ORIGINALS)
def test_a_little_noise_is_within_tolerance(field: str) -> None:
    verdict = on_field(field, noise(field, 0.003))
    assert verdict.reason == "output.within_tolerance", verdict.message
    assert "Closest to its limit" in verdict.message


@pytest.mark.parametrize("field", ORIGINALS)
def test_a_lot_of_noise_is_beyond(field: str) -> None:
    assert on_field(field, noise(field, 0.2)).decision == "worse"


def test_frames_in_a_different_form_are_the_same_frames() -> None:
    levels = (FILM * 255).round().astype(np.uint8)
    base = returned.read("frames", FILM)
    pictures = returned.read("frames", [list(levels)], pictures=True)
    tensors = returned.read("frames", np.moveaxis(levels, -1, 1)[None] / 255, channels_first=True)
    for other in (pictures, tensors, returned.read("frames", levels)):
        assert judged(other, base).reason == "output.same_bits"


@pytest.mark.parametrize(
    ("frames", "hertz", "reason", "words"),
    [
        (FILM[:-1], 8.0, "output.length", "Video 'frames' has 11 frames of 64 x 48 px; the baseline's has 12 frames"),
        (FILM[:, :, :-1], 8.0, "output.size", "12 frames of 63 x 48 px"),
        (FILM, 16.0, "output.rate", "Video 'frames' has 16 per second; the baseline's has 8 per second"),
        (FILM, None, "output.rate", "has no rate"),
        (3 * FILM, 8.0, "output.kind", "The call returned tensor 'frames'"),
        (0 * FILM, 8.0, "output.constant", "All values of video 'frames' are equal"),
    ],
)
def test_hard_gates_of_a_video(frames: Any, hertz: float | None, reason: str, words: str) -> None:
    verdict = judged(returned.read("frames", frames, rates=Rates(video_hz=hertz)), returned.read("frames", FILM))
    assert (verdict.reason, verdict.decision) == (reason, "worse")
    assert words in verdict.message


@pytest.mark.parametrize(
    ("samples", "hertz", "reason", "words"),
    [
        (0 * RECORDING, 16000, "output.silent", "No sound in audio 'audio'"),
        (RECORDING[:, :-1], 16000, "output.length", "47,999 samples"),
        (RECORDING[:1], 16000, "output.size", "48,000 samples, 1 channel"),
        (RECORDING, 22050, "output.rate", "22,050 per second"),
        (np.where(np.arange(48000) == 7, np.nan, RECORDING), 16000, "output.not_finite", "NaN"),
    ],
)
def test_hard_gates_of_audio(samples: Any, hertz: int, reason: str, words: str) -> None:
    verdict = judged(returned.read("audio", samples, rates=Rates(audio_hz=hertz)), returned.read("audio", RECORDING))
    assert (verdict.reason, verdict.decision) == (reason, "worse")
    assert words in verdict.message


def test_missing_or_inserted_frames_are_named() -> None:
    whole, shorter = returned.read("frames", FILM), returned.read("frames", np.delete(FILM, 4, axis=0))
    assert "Frame 4 (500 ms) of the baseline is missing, and all others are equal" in judged(shorter, whole).message
    assert "Frame 4 (500 ms) was put in, and all others are equal" in judged(whole, shorter).message
    other = returned.read("frames", 1 - FILM[1:])
    assert "all others" not in judged(other, whole).message


@pytest.mark.parametrize("content", [DEPTH / DEPTH.max(), np.abs(EMBEDDINGS[0]) / 8])
def test_a_part_taken_for_an_image_is_no_loss(content: Any) -> None:
    field = "prediction" if content.ndim == 4 else "image_embeds"
    parts = returned.read(field, content.astype(np.float32))
    pixels = to_uint8_arrays(content.astype(np.float32))
    images = tuple(
        msgspec.structs.replace(image, digest=image_digest(array))
        for image, array in zip(make.output(*pixels.arrays).images, pixels.arrays, strict=True)
    )
    reference = make.reference(make.observation(output=make.output(images=images)))
    for now, reason in ((parts, "not_in_baseline"), (returned.read(field, content / 2), "lost")):
        observation = make.observation(output=returned.output_of(now))
        (verdict,) = judge(observation, returned.artifacts_of(now), reference, Limits(), ["output"])
        assert verdict.reason == f"output.{reason}"


def test_a_rate_without_a_stated_baseline_is_no_fault() -> None:
    base = returned.read("frames", FILM, rates=Rates())
    assert judged(returned.read("frames", FILM), base).reason == "output.same_bits"


def test_a_lost_part_is_named_and_so_is_an_added_part() -> None:
    both = [*returned.read("frames", FILM), *returned.read("audio", RECORDING)]
    alone = both[:1]
    lost = judged(alone, both)
    assert lost.reason == "output.count"
    assert "audio 'audio' (48,000 samples, 2 channels, 16,000 per second)" in lost.message
    assert judged([], both).reason == "output.lost"
    assert judged(both, alone).reason == "output.count"


def test_the_worst_of_several_parts_is_named() -> None:
    base = [*returned.read("frames", FILM), *returned.read("audio", RECORDING)]
    verdict = judged([base[0], *returned.read("audio", -RECORDING)], base)
    assert verdict.message.startswith("Audio 'audio' differs")


def accepted_before(**fields: Any) -> Verdict:
    """A film against what a version wrote that knew no films."""
    old = make.output(**({"latents_shape": None, "latents_dtype": None} | fields))
    reference = make.reference(make.observation(output=old))
    parts = returned.read("frames", FILM)
    observation = make.observation(output=returned.output_of(parts))
    (verdict,) = judge(observation, returned.artifacts_of(parts), reference, Limits(), ["output"])
    return worded(verdict)


def test_a_baseline_without_the_part_is_never_the_same() -> None:
    verdict = accepted_before()
    assert (verdict.reason, verdict.decision) == ("output.not_in_baseline", "incomparable")
    frames = [np.ascontiguousarray(frame) for frame in returned.read("frames", FILM)[0].kept.arrays["sketches"]]
    as_images = tuple(
        msgspec.structs.replace(image, digest=image_digest(frame))
        for image, frame in zip(make.output(*frames).images, frames, strict=True)
    )
    assert accepted_before(images=as_images).reason == "output.not_in_baseline"
    lost = accepted_before(images=as_images[:1])
    assert (lost.reason, lost.decision) == ("output.lost", "worse")
    assert "this run video 'frames' (12 frames of 64 x 48 px, 8 per second)" in lost.message


def test_images_are_judged_before_a_part_absent_in_the_baseline() -> None:
    image, part = make.picture(), returned.read("audio", RECORDING)
    reference = make.reference(make.observation(output=make.output(image)))
    for shown, reason in ((image, "output.not_in_baseline"), (make.noisy(image, 60), "output.differs")):
        observation = make.observation(
            output=make.output(shown, parts=tuple(shown_part.facts for shown_part in part))
        )
        arrays = Artifacts(images=(shown,), parts=returned.artifacts_of(part).parts)
        (verdict,) = judge(observation, arrays, reference, Limits(), ["output"])
        assert verdict.reason == reason


@pytest.mark.parametrize(
    ("latents_shape", "no_base", "reason"),
    [((1, 4, 8, 8), True, "output.unrecognised"), (None, False, "output.unrecognised")],
)
def test_what_is_not_recognised_is_never_the_same(
    latents_shape: tuple[int, ...] | None, no_base: bool, reason: str
) -> None:
    now = make.output(latents_shape=latents_shape, unrecognised="list of 3 str")
    reference = None if no_base else make.reference(make.observation(output=now))
    (verdict,) = judge(make.observation(output=now), Artifacts(), reference, Limits(), ["output"])
    assert (verdict.reason, verdict.decision) == (reason, "incomparable")
    assert "list of 3 str" in worded(verdict).message


def test_unkept_values_leave_the_question_open() -> None:
    verdict = on_field("latents", -LATENTS, stored=Artifacts(parts=({},)))
    assert (verdict.reason, verdict.decision) == ("output.not_kept", "incomparable")


def drifting(field: str, share: float) -> tuple[RerunNoise, list[ReadPart]]:
    calls = [returned.read(field, ORIGINALS[field]), returned.read(field, noise(field, share))]
    drift = part_noise([[part.kept for part in call] for call in calls])
    names = tuple((name,) for name in ("survey", "round 1"))
    return RerunNoise(rounds=2, identical=False, parts=drift, alike=names), calls[1]


@pytest.mark.parametrize("field", ["frames", "audio", "prediction", "latents"])
def test_what_identical_calls_drift_by_is_tolerated(field: str) -> None:
    drift, other = drifting(field, 0.08)
    base = returned.read(field, ORIGINALS[field])
    assert judged(other, base).decision == "worse"
    verdict = judged(other, base, rerun=drift, base_rerun=drift)
    assert verdict.decision == "same", verdict.message
    far = judged(returned.read(field, noise(field, 0.5)), base, rerun=drift, base_rerun=drift)
    assert far.decision == "worse", far.message


@pytest.mark.parametrize("field", ["frames", "audio", "prediction", "latents"])
def test_newly_disagreeing_calls_are_red(field: str) -> None:
    drift, _ = drifting(field, 0.05)
    verdict = on_field(field, ORIGINALS[field], rerun=drift)
    assert (verdict.reason, verdict.decision) == ("output.nondeterministic", "worse")
    assert "not the same number or size" not in verdict.message


def test_noise_hiding_everything_makes_a_difference_say_nothing() -> None:
    drift, other = drifting("audio", 1.0)
    verdict = judged(other, returned.read("audio", RECORDING), base_rerun=drift, rerun=drift)
    assert (verdict.reason, verdict.decision) == ("output.rerun_noise", "unsure")


@pytest.mark.parametrize("field", ["frames", "audio", "prediction", "latents"])
def test_a_different_kind_of_machine_may_drift_further(field: str) -> None:
    near = on_field(field, noise(field, 0.08), distance="machine")
    far = on_field(field, noise(field, 0.08), distance="any")
    assert (near.decision, far.decision) == ("worse", "same"), far.message
    turned = np.flip(ORIGINALS[field], axis=(1, 2) if ORIGINALS[field].ndim > 2 else 1)
    assert on_field(field, turned, distance="any").decision == "worse"


def test_a_tolerance_changes_the_limit_of_a_kind() -> None:
    loose = Limits(
        **limit_fields(
            checked({"audio_snr_db": 15, "audio_window_snr_db": 15, "audio_loudness_db": 2, "audio_peak_db": 2}),
            "mp3",
        )
    )
    louder = np.float32(10 ** (1 / 20)) * RECORDING
    assert on_field("audio", louder, limits=loose).decision == "same"
    assert on_field("audio", -RECORDING, limits=loose).decision == "worse"


def test_a_mask_may_be_constant_and_a_result_may_not() -> None:
    mask = returned.read("attention_mask", np.ones((2, 77)))
    assert (
        judged([*returned.read("x", EMBEDDINGS), *mask], [*returned.read("x", EMBEDDINGS), *mask]).decision == "same"
    )
    assert judged(mask, mask).reason == "output.constant"
    assert (
        judged(returned.read("latents", 0 * LATENTS), returned.read("latents", LATENTS)).reason == "output.constant"
    )


def test_details_have_every_figure_as_data() -> None:
    details: Any = on_field("frames", with_frames(swapped_frames)).details
    assert {figure.metric for figure in details.parts} >= {"video_psnr_db", "video_flicker_levels"}
    (swapped,) = [finding for finding in details.findings if finding.code == "swapped_frames"]
    assert (swapped.part, swapped.place.frame, swapped.other) == (0, 3, 7)
    assert "video_psnr_db" in details.allowed
    assert "psnr_db" not in details.allowed


def test_records_without_parts_keep_their_form() -> None:
    assert Output(images=(), finite=True, rerun=RerunNoise(rounds=1, identical=True)).parts == ()
