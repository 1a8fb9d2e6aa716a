"""How alike outputs of every kind are: by the metrics of their kinds, and better by one than by none."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import judge_factories as make
import msgspec
import numpy as np
import pytest
import returned_parts as returned

from pytest_diffbench.judge.likeness import Shown, image_difference, is_more_alike, same_picture
from pytest_diffbench.outputs.kinds import KINDS, PART_METRICS
from pytest_diffbench.records import ImageDifference, RerunNoise
from pytest_diffbench.records.artifacts import Artifacts

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONTENTS: dict[str, tuple[str, NDArray[Any], dict[str, Any]]] = {
    "video": ("frames", returned.film()[None], {}),
    "audio": ("audios", returned.recording()[None], {}),
    "map": ("prediction", returned.depth(), {}),
    "latents": ("0", returned.latents(), {"latents": True}),
    "tensor": ("0", returned.latents(), {}),
}


def shown(kind: str, change: float = 0.0, content: Any = None) -> Shown:
    """What a call returned: noise as large as a share of its values' spread is added."""
    field, usual, value = CONTENTS[kind]
    array = usual if content is None else content
    noise = np.random.default_rng(1).normal(0, 1, array.shape) * change * array.std()
    limits = (0, 1) if kind == "video" else (-1, 1) if kind == "audio" else (None, None)
    parts = returned.read(field, np.clip((array + noise).astype(array.dtype), *limits), **value)
    assert {part.facts.kind for part in parts} == {kind}
    arrays = tuple(part.kept.arrays for part in parts)
    return Shown(Artifacts(parts=arrays), tuple(part.facts for part in parts))


def difference(now: Shown, base: Shown) -> ImageDifference:
    compared = image_difference(now, base)
    assert compared is not None
    return compared


def test_every_kind_has_a_metric_for_tables() -> None:
    for kind in KINDS.values():
        assert kind.likeness, kind.name
        assert set(kind.likeness) <= {metric.name for metric in kind.metrics}


@pytest.mark.parametrize("kind", CONTENTS)
def test_a_part_is_compared_by_the_metrics_of_the_parts_kind(kind: str) -> None:
    base = shown(kind)
    equal = difference(shown(kind), base)
    assert (equal.same_bits, equal.parts, equal.worst) == (True, {}, None)
    far = difference(shown(kind, 0.5), base)
    assert not far.same_bits
    assert (far.psnr_db, far.ssim, far.problem) == (None, None, None)
    assert set(KINDS[kind].likeness) <= far.parts.keys() <= {metric.name for metric in KINDS[kind].metrics}
    assert isinstance(far.worst, msgspec.Struct)
    assert far.worst.part == 0
    assert far.worst.metric in far.parts
    assert same_picture(equal)
    assert not same_picture(far)


@pytest.mark.parametrize("kind", CONTENTS)
def test_the_nearer_part_is_more_alike_and_an_equal_part_most(kind: str) -> None:
    base = shown(kind)
    equal, near, far = (difference(shown(kind, change), base) for change in (0.0, 0.02, 0.5))
    assert is_more_alike(near, far)
    assert is_more_alike(equal, near)
    assert not is_more_alike(far, near)
    assert not is_more_alike(near, near)
    assert not is_more_alike(equal, equal)


def test_contradicting_metrics_rank_nothing() -> None:
    noisy = ImageDifference(same_bits=False, parts={"video_psnr_db": 35.0, "video_ssim": 0.8})
    shifted = ImageDifference(same_bits=False, parts={"video_psnr_db": 30.0, "video_ssim": 0.9})
    assert not is_more_alike(noisy, shifted)
    assert not is_more_alike(shifted, noisy)
    flickering = ImageDifference(
        same_bits=False, parts={"video_psnr_db": 36.0, "video_ssim": 0.9, "video_flicker_levels": 2.0}
    )
    assert is_more_alike(flickering, shifted)


def test_what_is_no_number_is_furthest() -> None:
    lost = ImageDifference(same_bits=False, parts={"returned_rel": None})
    far = ImageDifference(same_bits=False, parts={"returned_rel": 9.0})
    assert is_more_alike(far, lost)
    assert not is_more_alike(lost, far)


def test_of_several_parts_the_worst_counts() -> None:
    film = returned.film()[None]
    base = shown("video", content=np.concatenate([film, film]))
    worse = film.copy()
    worse[0, 5] = 0.3
    both = difference(shown("video", content=np.concatenate([film, worse])), base)
    alone = difference(shown("video", content=worse), shown("video"))
    assert both.parts == alone.parts
    assert isinstance(both.worst, msgspec.Struct)
    assert both.worst.part == 1


@pytest.mark.parametrize(
    ("now", "problem"),
    [
        (
            lambda: shown("video", content=returned.film(9)[None]),
            "different shape of frames: 12 x 48 x 64 x 3, 9 x 48",
        ),
        (lambda: shown("latents"), "different kind: video frames, latents 0"),
        (Shown, "different number of parts: 1, 0"),
        (lambda: Shown(Artifacts(), shown("video", 0.5).parts), "values of a part that differs aren't kept"),
    ],
)
def test_what_cant_be_compared_says_why(now: Any, problem: str) -> None:
    compared = difference(now(), shown("video"))
    assert compared.problem is not None
    assert compared.problem.startswith(problem)
    assert not compared.same_bits
    assert not same_picture(compared)
    assert not is_more_alike(compared, difference(shown("video", 0.5), shown("video")))


def test_images_and_parts_are_judged_together() -> None:
    picture = np.rint(255 * returned.film()[0]).astype(np.uint8)
    film = shown("video")
    both = Shown(Artifacts(images=(picture,), parts=film.artifacts.parts), film.parts)
    noisy = shown("video", 0.5)
    compared = difference(Shown(Artifacts(images=(picture,), parts=noisy.artifacts.parts), noisy.parts), both)
    assert (compared.same_bits, compared.psnr_db, compared.ssim) == (False, None, 1.0)
    assert isinstance(compared.worst, msgspec.Struct)
    assert compared.worst.metric in PART_METRICS
    other = Shown(Artifacts(images=(255 - picture,), parts=film.artifacts.parts), film.parts)
    assert difference(other, both).parts == {}
    assert difference(other, both).psnr_db is not None


def test_the_noise_of_the_reference_is_allowed_and_a_variants_own_is_not() -> None:
    """Else whoever adds noise to a result would excuse it."""
    picture = make.picture()
    noise = RerunNoise(rounds=5, identical=False, psnr_db=36.0)
    still, noisy = (Shown(Artifacts(images=(make.noisy(picture, deviation),))) for deviation in (0, 3))
    assert not same_picture(difference(noisy, still))
    assert same_picture(difference(noisy, dataclasses.replace(still, rerun=noise)))
    assert not same_picture(difference(dataclasses.replace(noisy, rerun=noise), still))
    other = Shown(Artifacts(images=(picture[::-1].copy(),)))
    assert not same_picture(difference(other, dataclasses.replace(still, rerun=noise)))
