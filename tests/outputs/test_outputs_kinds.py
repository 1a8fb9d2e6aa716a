"""Kinds of output: what is recognised as which, what is kept and how much, and a kind that a project adds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
import returned_parts as returned
from golden_files import assert_equals_file

from pytest_diffbench.outputs.kinds import (
    KINDS,
    PART_METRICS,
    Figure,
    Kept,
    Kind,
    Part,
    PartComparison,
    Rates,
    Value,
    audio,
    maps,
    parts_of,
    recorded,
    register,
    tensors,
    unregister,
    video,
)
from pytest_diffbench.outputs.kinds.kind import kept_of, stored_float32
from pytest_diffbench.outputs.metrics.metric import Metric
from pytest_diffbench.records import PartFacts

if TYPE_CHECKING:
    from collections.abc import Iterator


DOCS = Path(__file__).parents[2] / "docs" / "verdicts.md"


def draw(*shape: int, low: float = 0.0, high: float = 1.0) -> Any:
    return np.random.default_rng(0).uniform(low, high, shape)


def parts_read(name: str, content: Any, **value: Any) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(part.kind, part.name, part.array.shape) for part in parts_of(Value(name=name, content=content, **value))]


PICTURES = [np.uint8(255 * draw(8, 6, 3)) for _ in range(4)]


@pytest.mark.parametrize(
    ("name", "content", "value", "parts"),
    [
        ("frames", draw(1, 4, 8, 6, 3), {}, [("video", "frames", (4, 8, 6, 3))]),
        ("frames", draw(2, 4, 8, 6, 3), {}, [("video", f"frames.{n}", (4, 8, 6, 3)) for n in (0, 1)]),
        ("frames", draw(4, 8, 6, 3), {}, [("video", "frames", (4, 8, 6, 3))]),
        ("frames", [PICTURES], {"pictures": True}, [("video", "frames", (4, 8, 6, 3))]),
        ("frames", PICTURES, {"pictures": True}, [("video", "frames", (4, 8, 6, 3))]),
        (
            "frames",
            [draw(4, 8, 6, 3), draw(4, 8, 6, 3)],
            {},
            [("video", f"frames.{n}", (4, 8, 6, 3)) for n in (0, 1)],
        ),
        ("frames", draw(1, 4, 3, 8, 6), {"channels_first": True}, [("video", "frames", (4, 8, 6, 3))]),
        ("frames", draw(1, 3, 5, 8, 6), {"channels_first": True}, [("video", "frames", (5, 8, 6, 3))]),
        ("0", draw(1, 4, 8, 6, 3), {}, [("video", "0", (4, 8, 6, 3))]),
        ("frames", draw(1, 4, 8, 6, 3, low=-3), {}, [("tensor", "frames", (1, 4, 8, 6, 3))]),
        ("frames", draw(1, 4, 5, 8, 6), {"latents": True}, [("latents", "frames", (1, 4, 5, 8, 6))]),
        ("audios", draw(1, 5000, low=-1), {}, [("audio", "audios", (1, 5000))]),
        ("audios", draw(2, 5000, low=-1), {}, [("audio", f"audios.{n}", (1, 5000)) for n in (0, 1)]),
        ("audios", draw(1, 2, 5000, low=-1), {}, [("audio", "audios", (2, 5000))]),
        ("audios", [draw(2, 5000, low=-1)], {}, [("audio", "audios.0", (2, 5000))]),
        ("audio", draw(2, 5000, low=-1), {}, [("audio", "audio", (2, 5000))]),
        ("audio", draw(5000, 2, low=-1), {}, [("audio", "audio", (2, 5000))]),
        ("speech", np.int16(30000 * draw(5000, low=-1)), {}, [("audio", "speech", (1, 5000))]),
        ("0", draw(1, 16000, low=-0.1, high=0.1), {}, [("audio", "0", (1, 16000))]),
        ("prediction", draw(1, 8, 6, 1), {}, [("map", "prediction", (8, 6, 1))]),
        ("prediction", draw(2, 8, 6, 3, low=-1), {}, [("map", f"prediction.{n}", (8, 6, 3)) for n in (0, 1)]),
        ("prediction", draw(1, 1, 8, 6), {"channels_first": True}, [("map", "prediction", (8, 6, 1))]),
        ("depth", [np.uint16(65535 * draw(8, 6))], {"pictures": True}, [("map", "depth.0", (8, 6, 1))]),
        ("images", draw(1, 4, 8, 6, low=-3), {"latents": True}, [("latents", "images", (1, 4, 8, 6))]),
        ("latents", draw(1, 4, 8, 6), {}, [("latents", "latents", (1, 4, 8, 6))]),
        ("image_embeds", draw(1, 32, low=-1), {}, [("embeddings", "image_embeds", (1, 32))]),
        ("0.negative_prompt_embeds", draw(1, 7, 32), {}, [("embeddings", "0.negative_prompt_embeds", (1, 7, 32))]),
        ("x", draw(3), {}, [("tensor", "x", (3,))]),
        ("x", [draw(3), draw(4)], {}, [("tensor", "x.0", (3,)), ("tensor", "x.1", (4,))]),
        ("x", np.array(["text"]), {}, []),
    ],
)
def test_what_is_recognised_as_what(name: str, content: Any, value: dict[str, Any], parts: list[Any]) -> None:
    assert parts_read(name, content, **value) == parts


@pytest.mark.parametrize(
    ("field", "content", "bound_bytes"),
    [
        pytest.param(
            "frames", draw(40, 200, 320, 3), video.MOST_SKETCH_BYTES + video.MOST_FRAME_BYTES, marks=pytest.mark.full
        ),
        ("frames", draw(6000, 24, 32, 3), video.MOST_SKETCH_BYTES),
        ("audio", draw(2, 3_000_000, low=-1), 4 * audio.MOST_SAMPLES * 1.05),
        ("prediction", draw(1600, 1600), 4 * maps.MOST_VALUES),
        ("latents", draw(1, 16, 300, 300, low=-1), 4 * tensors.MOST_VALUES),
    ],
)
def test_what_is_kept_is_bounded(field: str, content: Any, bound_bytes: int) -> None:
    (part,) = returned.read(field, content)
    kept_bytes = sum(array.nbytes for array in part.kept.arrays.values())
    assert 0 < kept_bytes <= bound_bytes
    assert part.facts.shape == part.kept.shape


def test_first_and_last_frames_are_kept_whole_and_every_frame_has_a_digest() -> None:
    (part,) = returned.read("frames", draw(40, 100, 160, 3))
    assert len(part.facts.piece_digests) == 40
    assert part.facts.kept_pieces == (0, 5, 10, 15, 20, 24, 29, 34, 39)
    assert part.kept.arrays["frames"].shape == (9, 100, 160, 3)
    assert part.kept.arrays["sketches"].shape == (40, 60, 96, 3)


def test_a_patch_lost_in_an_unkept_frame_is_detected() -> None:
    frames = np.stack([returned.film(1, 240, 320)[0]] * 40)
    damaged = frames.copy()
    damaged[7, 100:164, 100:164] = 0
    base, now = (returned.read("frames", frames)[0].kept for frames in (frames, damaged))
    assert 7 not in base.kept_pieces
    comparison = KINDS["video"].compare(now, base)
    figures = {figure.metric: figure for figure in comparison.figures}
    largest = figures["video_sketch_levels"]
    assert PART_METRICS["video_sketch_levels"].excess(largest.value, 8.0) > 1
    assert largest.place is not None
    assert largest.place.frame == 7


def test_a_moment_of_long_audio_has_the_place_in_the_whole() -> None:
    samples = draw(1, 3_000_000, low=-1).astype(np.float32)
    damaged = samples.copy()
    base = returned.read("audio", samples)[0].kept
    block = base.kept_pieces[50]
    assert len(base.kept_pieces) < len(base.piece_digests)
    damaged[0, block * audio.BLOCK : (block + 1) * audio.BLOCK] *= -1
    comparison = KINDS["audio"].compare(returned.read("audio", damaged)[0].kept, base)
    (worst,) = [figure for figure in comparison.figures if figure.metric == "audio_window_snr_db"]
    assert worst.place is not None
    assert worst.place.first_sample is not None
    assert worst.place.first_sample // audio.BLOCK == block


def test_a_gap_in_unkept_audio_is_detected() -> None:
    samples = draw(1, 3_000_000, low=-1).astype(np.float32)
    base = returned.read("audio", samples)[0].kept
    block = next(number for number in range(len(base.piece_digests)) if number not in base.kept_pieces)
    damaged = samples.copy()
    damaged[0, block * audio.BLOCK : (block + 1) * audio.BLOCK] = 0
    comparison = KINDS["audio"].compare(returned.read("audio", damaged)[0].kept, base)
    figures = {figure.metric: figure for figure in comparison.figures}
    measured = figures["audio_spectrum_db"]
    assert figures["audio_snr_db"].value == np.inf
    assert PART_METRICS["audio_spectrum_db"].excess(measured.value, 1.5) > 1
    assert measured.place is not None
    assert measured.place.first_sample is not None
    assert measured.place.first_sample // audio.BLOCK == block
    assert comparison.findings[0].place is not None
    assert comparison.findings[0].place.first_sample == block * audio.BLOCK


def test_every_channel_of_a_large_tensor_is_looked_at() -> None:
    latents = draw(1, 1, 2100, 1024, low=-1)
    base = returned.read("x", latents)[0].kept
    assert len(base.arrays["values"]) < latents.size
    for channel in (0, 511, 1023):
        damaged = latents.copy()
        damaged.reshape(-1, 1024)[:, channel] *= -1
        now = returned.read("x", damaged)[0].kept
        assert (now.arrays["values"] != base.arrays["values"]).any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_metric_belongs_to_a_kind_and_has_sound_limits(kind: str) -> None:
    for metric in KINDS[kind].metrics:
        assert PART_METRICS[metric.name] == metric
        assert metric.looser(metric.machine, metric.drift) == metric.drift
        assert metric.broken is None or metric.looser(metric.drift, metric.broken) == metric.broken
        assert metric.excess(metric.best, metric.machine) == 0


@pytest.mark.parametrize(("field", "content"), [("audio", draw(2, 5000, low=-1)), ("prediction", draw(1, 40, 30, 3))])
def test_pictures_are_pictures(field: str, content: Any) -> None:
    (part,) = returned.read(field, content)
    picture = KINDS[part.facts.kind].picture(part.kept)
    assert picture is not None
    assert picture.dtype == np.uint8
    assert picture.ndim in (2, 3)
    assert picture.min() < picture.max()


class Points(Kind):
    """Points in space, of shape (points, 3)."""

    name: ClassVar[str] = "points"
    noun: ClassVar[str] = "cloud of points"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric(name="points_distance", label="largest distance", machine=0.1, drift=1.0, digits=2, unit=" m"),
    )

    def read(self, value: Value) -> tuple[Part, ...] | None:
        """By its name and shape."""
        array = value.array
        if array is None or value.field != "points" or array.shape[1:] != (3,):
            return None
        return (Part(kind=self.name, name=value.name, array=array, dtype=str(array.dtype)),)

    def keep(self, part: Part) -> Kept:
        """All of them."""
        return kept_of(part, {"points": stored_float32(part.array)})

    def compare(self, now: Kept, base: Kept) -> PartComparison:
        """By the point that moved furthest."""
        gaps = np.linalg.norm(now.arrays["points"] - base.arrays["points"], axis=1)
        return PartComparison(figures=(Figure(metric="points_distance", value=float(gaps.max())),))


@pytest.fixture
def with_points() -> Iterator[None]:
    register(Points(), before="latents")
    yield
    unregister("points")


def test_a_kind_is_a_class_and_a_registration(with_points: None) -> None:
    import test_judge_parts as parts

    cloud = draw(20, 3)
    base = returned.read("points", cloud)
    assert base[0].facts.kind == "points"
    assert parts.judged(returned.read("points", cloud), base).reason == "output.same_bits"
    assert parts.judged(returned.read("points", cloud + 0.01), base).reason == "output.within_tolerance"
    verdict = parts.judged(returned.read("points", cloud + 0.3), base)
    assert verdict.reason == "output.differs"
    assert (
        "Cloud of points 'points' differs from the baseline: largest distance 0.52 m (limit 0.1)" in verdict.message
    )


def test_a_kind_is_registered_once_and_gone_when_taken_out(with_points: None) -> None:
    with pytest.raises(ValueError, match="already"):
        register(Points())
    assert list(KINDS).index("points") < list(KINDS).index("latents")
    unregister("points")
    assert "points_distance" not in PART_METRICS
    assert parts_read("points", draw(20, 3))[0][0] == "tensor"
    register(Points())  # for the fixture to take out


def test_documentation_has_the_metrics_as_a_table() -> None:
    rows = [
        f"| `{metric.name}` | {' and '.join(kinds)} | {metric.label} | {bound(metric, metric.machine)} | "
        f"{bound(metric, metric.drift)} |"
        for metric in PART_METRICS.values()
        if (kinds := [kind.noun for kind in KINDS.values() if metric in kind.metrics])
    ]
    text = DOCS.read_text("utf-8")
    table = re.compile(r"(?<=\|---\|---\|---\|---\|---\|\n)(?:\| `\w+` \|.*\n)+(?=\nThe metrics of whole frames)")
    assert_equals_file(DOCS, table.sub(lambda _: "\n".join(rows) + "\n", text))


def bound(metric: Metric, limit: float) -> str:
    return f"{'from' if metric.higher_is_better else 'up to'} {metric.limit_text(limit)}"


def test_a_record_and_arrays_make_up_what_is_kept() -> None:
    (part,) = returned.read("frames", draw(4, 8, 6, 3), rates=Rates(video_hz=8.0))
    again = recorded(part.facts, part.kept.arrays)
    assert again == part.kept
    assert isinstance(part.facts, PartFacts)
