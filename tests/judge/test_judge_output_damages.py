"""What the output gate lets through and what it catches, on photographs and drawings of three sizes."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import image_damages as damage
import judge_factories as make
import numpy as np
import pytest

from pytest_diffbench.judge import Limits
from pytest_diffbench.judge.limits import TierLimits
from pytest_diffbench.judge.output.tolerance import checks, tolerance
from pytest_diffbench.outputs.metrics import METRICS, distance, over
from pytest_diffbench.records import RerunNoise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_diffbench.records import Distance

picture = functools.cache(lambda kind, size_px: damage.PICTURES[kind](size_px, 0))


def judged(
    image: NDArray[np.uint8],
    damaged: NDArray[np.uint8],
    distance: Distance = "machine",
    rerun: RerunNoise | None = None,
    limits: Limits | None = None,
    drift_rel: float = 0.0,
) -> Any:
    changed = {} if rerun is None else {"rerun": rerun}
    old = make.observation(output=make.output(image, **changed))
    against = make.reference(old, stored=make.artifacts(image), distance=distance)
    observation = make.observation(output=make.output(damaged))
    return make.ask("output", observation, against, returned=make.artifacts(damaged, scale=drift_rel), limits=limits)


@pytest.mark.parametrize("size_px", damage.SIZES_PX)
@pytest.mark.parametrize("kind", damage.PICTURES)
@pytest.mark.parametrize("name", damage.DAMAGES)
def test_every_damage_is_worse_on_the_same_machine(name: str, kind: str, size_px: int) -> None:
    image = picture(kind, size_px)
    answer = judged(image, damage.DAMAGES[name](image))
    assert (answer.decision, answer.reason) == ("worse", "output.differs"), answer.message


@pytest.mark.parametrize("size_px", damage.SIZES_PX)
@pytest.mark.parametrize("kind", [*damage.PICTURES, "flat"])
@pytest.mark.parametrize("name", damage.BENIGN)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_noise_of_45_db_is_the_same_even_on_a_flat_picture(name: str, kind: str, size_px: int, mode: str) -> None:
    image = np.full((size_px, size_px, 3), 128, np.uint8) if kind == "flat" else picture(kind, size_px)
    if mode == "L":
        image = image[:, :, 1].copy()
    # the flat picture is refused for being constant, were it not for one pixel
    image = image.copy()
    image.flat[0] ^= 1
    noisy = damage.BENIGN[name](image)
    assert distance(image, noisy)["psnr_db"].value > 45
    answer = judged(image, noisy)
    assert (answer.decision, answer.reason) == ("same", "output.within_tolerance"), answer.message


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gamma 1.03", "Image 0 differs from the baseline: colour shift 2."),
        ("red +8", "Image 0 differs from the baseline: colour shift 8.0/255 (limit 1)"),
        ("black patch", "Largest difference: image 0, 64 x 64 px at (64, 0)."),
        ("seam lines +6", "/255, horizontal at y = 32, repeated every 32 px (limit 2)"),
        ("shifted by a row", "64 x 64 px at ("),
    ],
)
def test_the_worst_metric_is_named_with_the_place_and_limit(name: str, words: str) -> None:
    image = picture("drawing", 128)
    assert words in judged(image, damage.DAMAGES[name](image)).message


def test_the_others_beyond_their_limits_are_listed() -> None:
    image = picture("drawing", 128)
    answer = judged(image, damage.seam_steps(image))
    assert answer.message.startswith("Image 0 differs from the baseline: colour shift")
    assert any(change.startswith("image 0: seam 6.0/255") for change in answer.changes)


def test_the_details_hold_the_metrics_and_limits() -> None:
    image = picture("drawing", 128)
    details = judged(image, damage.seam_lines(image)).details
    names = {name for name, metric in METRICS.items() if metric.package is None}
    assert set(details.images[0]) == names
    assert details.images[0]["seam_levels"].line.period_px == 32
    assert details.allowed["seam_levels"] == METRICS["seam_levels"].machine
    assert set(details.allowed) == names | {"latents_rel"}


@pytest.mark.parametrize("name", ["red +8", "seam lines +6", "black patch"])
def test_on_a_different_machine_the_same_metrics_ask_for_a_look_where_latents_drift(name: str) -> None:
    image = picture("drawing", 512)
    assert judged(image, damage.DAMAGES[name](image), "any", drift_rel=0.05).reason == "output.other_machine"
    assert judged(image, damage.DAMAGES[name](image), "any").reason == "output.decoder"


@pytest.mark.parametrize("name", ["gamma 1.03", "blur 1 px"])
def test_on_a_different_machine_what_drift_may_do_is_the_same(name: str) -> None:
    image = picture("drawing", 512)
    assert judged(image, damage.DAMAGES[name](image), "family").reason == "output.within_tolerance"


def test_percentiles_follow_small_rerun_noise_within_the_allowance_of_psnr() -> None:
    image = picture("drawing", 512)
    blurred = damage.blurred(image)
    noise = RerunNoise(rounds=5, identical=False, psnr_db=distance(image, blurred)["psnr_db"].value)
    assert noise.psnr_db is not None
    assert noise.psnr_db - Limits().rerun_margin_db > 36
    assert judged(image, blurred).decision == "worse"
    assert judged(image, blurred, rerun=noise).reason == "output.within_tolerance"
    # and no further than that of another machine
    assert judged(image, damage.patch(64)(image), rerun=noise).decision == "worse"


@pytest.mark.parametrize(
    ("psnr_db", "expected"),
    [(90.0, (8, 8, 1.0)), (50.0, (22.8, 22.8, 1.97)), (40.0, (72.0, 72.0, 6.0)), (25.0, (128, 128, 6.0))],
)
def test_the_allowance_for_rerun_noise_grows_with_the_noise_between_the_two_tiers(
    psnr_db: float, expected: tuple[float, float, float]
) -> None:
    noise = RerunNoise(rounds=5, identical=False, psnr_db=psnr_db)
    tolerated = tolerance("machine", noise, noise, Limits())
    names = ("p999_levels", "tile_p99_levels", "colour_levels")
    assert [tolerated.images[name] for name in names] == pytest.approx(expected, rel=0.01)


def test_a_limit_of_nothing_allows_nothing() -> None:
    image = picture("drawing", 128)
    verdict = judged(
        image, damage.rounding(image), limits=Limits(metric_limits={"p999_levels": TierLimits(0.0, 128.0)})
    )
    assert verdict.decision == "worse"
    assert "p99.9 difference 1/255" in verdict.message
    assert over(0.0, 0.0) == 0.0
    assert over(1e-9, 0.0) == math.inf


def test_beyond_every_excuse_counts_psnr_and_ssim_alone() -> None:
    image = picture("photograph", 128)
    allowed = tolerance("any", RerunNoise(rounds=1, identical=True), RerunNoise(rounds=1, identical=True), Limits())
    exceeded = checks([distance(image, damage.swapped(image))], allowed.broken(Limits()))
    assert all(check.excess <= 1 for check in exceeded if check.figure.metric not in ("psnr_db", "ssim"))
