"""Metrics of other packages: their traps, their limits, and what a verdict makes of them."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import TYPE_CHECKING, Any, get_args

import image_damages as damage
import judge_factories as make
import numpy as np
import pytest

from pytest_diffbench.judge import Limits
from pytest_diffbench.judge.output.image_members import figures, members
from pytest_diffbench.judge.output.loosening import TOLERANCES
from pytest_diffbench.judge.output.tolerance import tolerance
from pytest_diffbench.outputs.image_extras import (
    KINDS,
    Extra,
    ExtraMetric,
    ExtraName,
    Flip,
    Ssimulacra2,
    canvases,
    mirrored,
    worst_tile_mean,
)
from pytest_diffbench.outputs.images import distance
from pytest_diffbench.records import RerunNoise
from pytest_diffbench.settings import options

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_diffbench.records import Distance, Verdict

PACKAGES = {"flip": "flip_evaluator", "ssimulacra2": "ssimulacra2"}
REAL: dict[str, ExtraMetric] = {"flip": Flip(), "ssimulacra2": Ssimulacra2()}


@pytest.fixture(params=sorted(REAL))
def metric(request: pytest.FixtureRequest) -> ExtraMetric:
    """Each metric whose package is installed."""
    pytest.importorskip(PACKAGES[request.param], reason=f"needs the extra {request.param}")
    return REAL[request.param]


class Said:
    """A metric that says what it was told to."""

    def __init__(self, name: ExtraName, value: float) -> None:
        self.name = name
        self.value = value

    def __call__(self, reference: NDArray[np.uint8], image: NDArray[np.uint8], tile_size_px: int) -> Extra:
        return Extra(name=self.name, value=self.value)


def photograph() -> NDArray[np.uint8]:
    return damage.photograph(128)


def judged(
    metrics: list[Any],
    distance: Distance = "machine",
    limits: Limits | None = None,
    change: damage.Change = damage.rounding,
) -> Verdict:
    image, changed = photograph(), change(photograph())
    against = make.reference(
        make.observation(output=make.output(image)), stored=make.artifacts(image), distance=distance
    )
    seen = make.observation(output=make.output(changed))
    return make.ask("output", seen, against, mine=make.artifacts(changed), limits=limits, metrics=metrics)


def error(metric: ExtraMetric, reference: NDArray[np.uint8], image: NDArray[np.uint8]) -> float:
    return KINDS[metric.name].error(metric(reference, image, 64).value)


# -- the packages


@pytest.mark.parametrize("name", damage.BENIGN)
@pytest.mark.parametrize("draw", damage.PICTURES.values(), ids=damage.PICTURES)
def test_benign_noise_stays_within_the_limit(metric: ExtraMetric, name: str, draw: Any) -> None:
    image = draw(128, 0)
    assert error(metric, image, damage.BENIGN[name](image)) < KINDS[metric.name].error(
        getattr(Limits(), f"{metric.name}_machine")
    )


@pytest.mark.parametrize("name", ["gain 0.92", "JPEG 75", "red for blue", "seam steps +6", "noise 6"])
def test_damage_does_not(metric: ExtraMetric, name: str) -> None:
    image = photograph()
    limit = KINDS[metric.name].error(getattr(Limits(), f"{metric.name}_machine"))
    assert error(metric, image, damage.DAMAGES[name](image)) > limit


def test_more_damage_is_worse_in_the_metrics_own_direction(metric: ExtraMetric) -> None:
    image = photograph()
    errors = [error(metric, image, damage.noise(deviation)(image)) for deviation in (1, 4, 16)]
    assert errors == sorted(errors)
    assert error(metric, image, image) == pytest.approx(0, abs=1e-6)
    assert errors[0] > 0


@pytest.mark.parametrize("size_px", [(1, 1), (1, 40), (5, 3), (31, 300)])
def test_no_size_is_too_small(metric: ExtraMetric, size_px: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*size_px, 3), dtype=np.uint8)
    assert error(metric, image, image) == pytest.approx(0, abs=1e-6)
    assert error(metric, image, 255 - image) > 0.05


def test_layout_and_memory_order_change_nothing(metric: ExtraMetric) -> None:
    image = photograph()[:96]  # not square, so that swapped axes would show
    noisy = damage.noise(6)(image)
    usual = metric(image, noisy, 64)
    views = [np.asfortranarray(one) for one in (image, noisy)]
    turned = [np.ascontiguousarray(one[:, :, ::-1])[:, :, ::-1] for one in (image, noisy)]
    assert metric(views[0], views[1], 64) == metric(turned[0], turned[1], 64) == usual


def test_grey_is_that_grey_in_colour(metric: ExtraMetric) -> None:
    grey, noisy = (one[:, :, 0] for one in (photograph(), damage.noise(6)(photograph())))
    colour = [np.repeat(one[:, :, None], 3, axis=2) for one in (grey, noisy)]
    assert metric(grey, noisy, 64) == metric(grey[:, :, None], noisy[:, :, None], 64)
    assert metric(grey, noisy, 64) == metric(colour[0], colour[1], 64)


@pytest.mark.parametrize("level", [0, 255])
def test_a_hole_in_alpha_is_seen_on_black_and_on_white(metric: ExtraMetric, level: int) -> None:
    image = np.full((64, 64, 4), level, dtype=np.uint8)
    image[..., 3] = 255
    holed = image.copy()
    holed[16:48, 16:48, 3] = 0
    assert error(metric, image, holed) > KINDS[metric.name].error(getattr(Limits(), f"{metric.name}_drift"))


def test_only_bytes_come_in_so_that_no_range_can_be_wrong_and_nan_is_no_equal(metric: ExtraMetric) -> None:
    image = photograph()
    unit = image / 255
    unit[:8, :8] = np.nan
    for wrong in (unit, unit.astype(np.float32), image.astype(np.int16)):
        with pytest.raises(ValueError, match="uint8"):
            metric(image, wrong, 64)  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(ValueError, match="can't be compared"):
        metric(image, image[:64], 64)


def test_it_leaves_no_trace(metric: ExtraMetric, capfd: pytest.CaptureFixture[str]) -> None:
    image, noisy = photograph(), damage.noise(6)(photograph())
    kept = image.copy(), noisy.copy()
    before = np.geterr(), str(np.random.get_state())
    first = metric(image, noisy, 64)
    assert metric(image, noisy, 64) == first
    assert (image == kept[0]).all()
    assert (noisy == kept[1]).all()
    assert (np.geterr(), str(np.random.get_state())) == before
    assert capfd.readouterr() == ("", "")


def test_a_package_brings_no_heavy_one_along(metric: ExtraMetric) -> None:
    code = (
        f"import sys, {PACKAGES[metric.name]}\n"
        "print(sorted({'torch', 'matplotlib', 'cv2', 'pytest', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_flips_worst_tile_shows_the_patch_that_its_mean_hides() -> None:
    evaluator = pytest.importorskip("flip_evaluator", reason="needs the extra flip")
    image = damage.photograph(512)
    lost, noisy = damage.patch()(image), damage.rounding(image)
    means = [evaluator.evaluate(image / np.float32(255), one / np.float32(255), "LDR")[1] for one in (lost, noisy)]
    assert means[0] < means[1]
    found = Flip()(image, lost, 64)
    assert found.value > 0.2
    assert found.tile is not None
    assert (found.tile.left_px, found.tile.top_px, found.tile.width_px) == (256, 128, 64)


def test_ssimulacra2_has_all_its_scales_in_small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("ssimulacra2.ssimulacra2", reason="needs the extra ssimulacra2")
    scales: list[int] = []
    score = package.Msssim.score

    def counted(self: Any) -> float:
        scales.append(len(self.scales))
        return float(score(self))

    monkeypatch.setattr(package.Msssim, "score", counted)
    for size_px in (8, 128, 255, 256):
        image = np.full((size_px, size_px, 3), 9, dtype=np.uint8)
        Ssimulacra2()(image, image, 64)
    assert set(scales) == {6}


# -- what surrounds them


def test_the_lists_of_names_are_one() -> None:
    assert tuple(KINDS) == options.METRICS == get_args(ExtraName)
    assert set(KINDS) <= set(TOLERANCES)
    assert {name for name in KINDS if KINDS[name].least} == {name for name in KINDS if TOLERANCES[name].least}


def test_canvases_are_rgb_and_two_for_transparency() -> None:
    image = np.zeros((2, 2, 4), dtype=np.uint8)
    image[..., 3] = 51  # a fifth
    black, white = canvases(image, image)
    assert (np.unique(black[0]).tolist(), np.unique(white[0]).tolist()) == ([0], [204])


def test_an_image_is_continued_by_its_mirror_image() -> None:
    row = np.arange(3, dtype=np.uint8).reshape(1, 3, 1)
    assert mirrored(row, 5)[:, :, 0].tolist() == [[0, 1, 2, 2, 1]] * 5
    assert mirrored(row, 1) is row


def test_of_an_error_map_the_worst_tile_is_named_and_nan_is_the_worst() -> None:
    errors = np.zeros((100, 70))
    errors[60:, 40:] = 0.5
    found = worst_tile_mean("flip", errors, 64)
    assert found.tile is not None
    assert (found.tile.left_px, found.tile.top_px) == (35, 50)
    errors[0, 0] = np.nan
    found = worst_tile_mean("flip", errors, 64)
    assert found.tile is not None
    assert math.isnan(found.value)
    assert (found.tile.left_px, found.tile.top_px) == (0, 0)


@pytest.mark.parametrize(
    ("name", "good", "bad", "words"),
    [
        ("flip", 0.039, 0.041, "FLIP 0.0410 of image 0 (at most 0.04)"),
        ("ssimulacra2", 88.1, 87.9, "SSIMULACRA2 87.9 of image 0 (at least 88)"),
        ("ssimulacra2", 100.0, -30.0, "SSIMULACRA2 -30.0 of image 0 (at least 88)"),
        ("lpips", 0.0, 0.001, "LPIPS 0.0010 of image 0 (at most 0)"),
    ],
)
def test_each_has_a_limit_of_its_own(name: ExtraName, good: float, bad: float, words: str) -> None:
    assert judged([Said(name, good)]).decision == "same"
    answer = judged([Said(name, bad)])
    assert (answer.decision, answer.reason) == ("worse", "output.differs")
    assert f"Another picture: {words}" in answer.message


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("distance", ["machine", "any"])
def test_what_is_no_number_is_worse_whatever_is_allowed(name: ExtraName, value: float, distance: Distance) -> None:
    answer = judged([Said(name, value)], distance)
    assert answer.reason == "output.differs", answer.message
    assert answer.details["images"][0][name]["value"] is None


def test_the_figures_hold_value_tile_and_limit_of_what_was_asked_for_alone() -> None:
    metrics = [Said("ssimulacra2", 91.25)]
    details = judged(metrics).details
    assert details["images"][0]["ssimulacra2"] == {"value": 91.25, "tile": None}
    assert details["allowed"]["ssimulacra2"] == 88
    assert not {"flip", "lpips"} & (set(details["images"][0]) | set(details["allowed"]))
    assert "SSIMULACRA2 88" in judged(metrics).message
    assert "FLIP" not in judged(metrics).message


def test_several_images_are_judged_by_the_worst() -> None:
    image = photograph()
    steady = RerunNoise(rounds=1, identical=True)
    allowed = tolerance("machine", steady, steady, Limits(), ["ssimulacra2"])
    pictures = [distance(image, image, 64, [Said("ssimulacra2", value)]) for value in (100.0, 40.0)]
    worst = max(members(pictures, allowed), key=lambda one: one.excess)
    assert worst.text.startswith("SSIMULACRA2 40.0 of image 1")
    assert figures(pictures[1])["ssimulacra2"]["value"] == 40.0


def test_a_test_loosens_its_limit_with_the_marker_and_never_makes_the_far_one_stricter() -> None:
    from pytest_diffbench.judge.output.loosening import checked, limit_fields, looser_than_default

    given = checked({"flip": 0.3, "ssimulacra2": 70, "lpips": 0.05})
    assert looser_than_default(given) == ["flip 0.04 -> 0.3", "ssimulacra2 88 -> 70", "lpips 0 -> 0.05"]
    limits = Limits(**limit_fields(given, "measured"))
    assert (limits.flip_drift, limits.ssimulacra2_drift, limits.lpips_drift) == (0.3, 70, 0.05)
    assert judged([Said("lpips", 0.04)], limits=limits).decision == "same"
    assert looser_than_default(checked({"ssimulacra2": 95})) == []


def test_another_machine_has_the_limits_of_drift_and_past_them_there_is_no_excuse_by_these_alone() -> None:
    assert judged([Said("flip", 0.09)], "any").reason == "output.within_tolerance"
    assert judged([Said("flip", 0.9)], "any").reason == "output.decoder"


def test_where_the_case_drifts_the_limits_of_drift_hold() -> None:
    noise = RerunNoise(rounds=5, identical=False, psnr_db=35.0)
    found = tolerance("machine", noise, noise, Limits(), ["flip", "ssimulacra2"])
    assert dict(found.extras) == {"flip": 0.1, "ssimulacra2": 75.0}


def test_equal_bits_need_no_metric() -> None:
    def refuse(*_: Any) -> Extra:
        raise AssertionError("asked")

    refuse.name = "flip"  # type: ignore[attr-defined]  # as a metric has it
    assert judged([refuse], change=lambda image: image).reason == "output.same_bits"
