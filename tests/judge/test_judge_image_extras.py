"""Metrics of other packages: their traps, their limits, and what a verdict makes of them."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import image_damages as damage
import judge_factories as make
import numpy as np
import pytest
import report_factories as make_report
import report_records
from golden_files import REPOSITORY, assert_equals_file

from pytest_diffbench.judge import Limits
from pytest_diffbench.judge.output.loosening import TOLERANCES
from pytest_diffbench.judge.output.tolerance import checks, figures, tolerance, worst_of
from pytest_diffbench.outputs.metrics import METRICS, OPTIONAL, ImageMetric, ImagePair, Measurement, distance
from pytest_diffbench.outputs.metrics.canvases import canvases, mirrored
from pytest_diffbench.outputs.metrics.flip import worst_tile_mean
from pytest_diffbench.records import RerunNoise
from pytest_diffbench.report.sentences.output import metric_text
from pytest_diffbench.settings import options

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_diffbench.records import Distance

REAL = {name: METRICS[name] for name in OPTIONAL if METRICS[name].measure is not None}
PACKAGES = {name: metric.package.module for name, metric in REAL.items() if metric.package is not None}


@pytest.fixture(params=sorted(REAL))
def metric(request: pytest.FixtureRequest) -> ImageMetric:
    """Each metric whose package is installed."""
    pytest.importorskip(PACKAGES[request.param], reason=f"needs the extra {request.param}")
    return REAL[request.param]


def fixed(name: str, value: float) -> ImageMetric:
    """A metric with a value that is given."""
    return METRICS[name].measured_by(lambda _: Measurement(value=value))


def measured(
    metric: ImageMetric, reference: NDArray[np.uint8], image: NDArray[np.uint8], tile_size_px: int = 64
) -> Measurement:
    assert metric.measure is not None
    return metric.measure(ImagePair(image, reference, tile_size_px))


def photograph() -> NDArray[np.uint8]:
    return damage.photograph(128)


def judged(
    metrics: list[Any],
    distance: Distance = "machine",
    limits: Limits | None = None,
    change: damage.Change = damage.rounding,
) -> Any:
    image, changed = photograph(), change(photograph())
    against = make.reference(
        make.observation(output=make.output(image)), stored=make.artifacts(image), distance=distance
    )
    observation = make.observation(output=make.output(changed))
    return make.ask("output", observation, against, returned=make.artifacts(changed), limits=limits, metrics=metrics)


def error(metric: ImageMetric, reference: NDArray[np.uint8], image: NDArray[np.uint8]) -> float:
    return metric.error(measured(metric, reference, image).value)


# -- the packages


@pytest.mark.parametrize("name", damage.BENIGN)
@pytest.mark.parametrize("draw", damage.PICTURES.values(), ids=damage.PICTURES)
def test_benign_noise_stays_within_the_limit(metric: ImageMetric, name: str, draw: Any) -> None:
    image = draw(128, 0)
    assert error(metric, image, damage.BENIGN[name](image)) < metric.error(metric.machine)


@pytest.mark.parametrize("name", ["gain 0.92", "JPEG 75", "red for blue", "seam steps +6", "noise 6"])
def test_damage_does_not(metric: ImageMetric, name: str) -> None:
    image = photograph()
    assert error(metric, image, damage.DAMAGES[name](image)) > metric.error(metric.machine)


def test_more_damage_is_worse_in_the_metrics_own_direction(metric: ImageMetric) -> None:
    image = photograph()
    errors = [error(metric, image, damage.noise(deviation)(image)) for deviation in (1, 4, 16)]
    assert errors == sorted(errors)
    assert error(metric, image, image) == pytest.approx(0, abs=1e-6)
    assert errors[0] > 0


@pytest.mark.parametrize("size_px", [(1, 1), (1, 40), (5, 3), (31, 300)])
def test_no_size_is_too_small(metric: ImageMetric, size_px: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*size_px, 3), dtype=np.uint8)
    assert error(metric, image, image) == pytest.approx(0, abs=1e-6)
    assert error(metric, image, 255 - image) > 0.05


def test_layout_and_memory_order_change_nothing(metric: ImageMetric) -> None:
    image = photograph()[:96]  # not square, so that swapped axes would show
    noisy = damage.noise(6)(image)
    usual = measured(metric, image, noisy)
    views = [np.asfortranarray(view) for view in (image, noisy)]
    turned = [np.ascontiguousarray(view[:, :, ::-1])[:, :, ::-1] for view in (image, noisy)]
    assert measured(metric, views[0], views[1]) == measured(metric, turned[0], turned[1]) == usual


def test_grey_is_the_same_grey_in_colour(metric: ImageMetric) -> None:
    grey, noisy = (picture[:, :, 0] for picture in (photograph(), damage.noise(6)(photograph())))
    colour = [np.repeat(picture[:, :, None], 3, axis=2) for picture in (grey, noisy)]
    assert measured(metric, grey, noisy) == measured(metric, grey[:, :, None], noisy[:, :, None])
    assert measured(metric, grey, noisy) == measured(metric, colour[0], colour[1])


@pytest.mark.parametrize("level", [0, 255])
def test_a_hole_in_alpha_is_noticed_on_black_and_on_white(metric: ImageMetric, level: int) -> None:
    image = np.full((64, 64, 4), level, dtype=np.uint8)
    image[..., 3] = 255
    holed = image.copy()
    holed[16:48, 16:48, 3] = 0
    assert error(metric, image, holed) > metric.error(metric.drift)


def test_only_bytes_come_in_so_no_range_can_be_wrong_and_nan_is_no_equal(metric: ImageMetric) -> None:
    image = photograph()
    unit = image / 255
    unit[:8, :8] = np.nan
    for wrong in (unit, unit.astype(np.float32), image.astype(np.int16)):
        with pytest.raises(ValueError, match="uint8"):
            measured(metric, image, wrong)  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(ValueError, match="can't be compared"):
        measured(metric, image, image[:64])


def test_a_metric_leaves_no_trace(metric: ImageMetric, capfd: pytest.CaptureFixture[str]) -> None:
    image, noisy = photograph(), damage.noise(6)(photograph())
    kept = image.copy(), noisy.copy()
    before = np.geterr(), str(np.random.get_state())
    first = measured(metric, image, noisy)
    assert measured(metric, image, noisy) == first
    assert (image == kept[0]).all()
    assert (noisy == kept[1]).all()
    assert (np.geterr(), str(np.random.get_state())) == before
    assert capfd.readouterr() == ("", "")


def test_a_package_brings_no_heavy_import_along(metric: ImageMetric) -> None:
    code = (
        f"import sys, {PACKAGES[metric.name]}\n"
        "print(sorted({'torch', 'matplotlib', 'cv2', 'pytest', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.full
def test_flips_worst_tile_shows_the_patch_hidden_by_the_mean() -> None:
    evaluator = pytest.importorskip("flip_evaluator", reason="needs the extra flip")
    image = damage.photograph(512)
    lost, noisy = damage.patch()(image), damage.rounding(image)
    means = [
        evaluator.evaluate(image / np.float32(255), changed / np.float32(255), "LDR")[1] for changed in (lost, noisy)
    ]
    assert means[0] < means[1]
    flip = measured(METRICS["flip"], image, lost)
    assert flip.value > 0.2
    assert flip.tile is not None
    assert (flip.tile.left_px, flip.tile.top_px, flip.tile.width_px) == (256, 128, 64)


def test_ssimulacra2_has_all_the_scales_in_small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("ssimulacra2.ssimulacra2", reason="needs the extra ssimulacra2")
    scales: list[int] = []
    score = package.Msssim.score

    def counted(self: Any) -> float:
        scales.append(len(self.scales))
        return float(score(self))

    monkeypatch.setattr(package.Msssim, "score", counted)
    for size_px in (8, 128, 255, 256):
        image = np.full((size_px, size_px, 3), 9, dtype=np.uint8)
        measured(METRICS["ssimulacra2"], image, image)
    assert set(scales) == {6}


# -- what surrounds them


def test_the_lists_of_names_are_equal() -> None:
    assert options.METRICS == OPTIONAL
    assert set(METRICS) <= set(TOLERANCES)


def test_canvases_are_rgb_and_two_for_transparency() -> None:
    image = np.zeros((2, 2, 4), dtype=np.uint8)
    image[..., 3] = 51  # a fifth
    black, white = canvases(ImagePair(image, image))
    assert (np.unique(black[0]).tolist(), np.unique(white[0]).tolist()) == ([0], [204])


def test_an_image_is_continued_by_the_mirror_image() -> None:
    row = np.arange(3, dtype=np.uint8).reshape(1, 3, 1)
    assert mirrored(row, 5)[:, :, 0].tolist() == [[0, 1, 2, 2, 1]] * 5
    assert mirrored(row, 1) is row


def test_of_an_error_map_the_worst_tile_is_named_and_nan_is_the_worst() -> None:
    errors = np.zeros((100, 70))
    errors[60:, 40:] = 0.5
    tile = worst_tile_mean(errors, 64)
    assert tile.tile is not None
    assert (tile.tile.left_px, tile.tile.top_px) == (35, 50)
    errors[0, 0] = np.nan
    tile = worst_tile_mean(errors, 64)
    assert tile.tile is not None
    assert math.isnan(tile.value)
    assert (tile.tile.left_px, tile.tile.top_px) == (0, 0)


@pytest.mark.parametrize(
    ("name", "good", "bad", "words"),
    [
        ("flip", 0.039, 0.041, "FLIP 0.0410 (limit 0.04)"),
        ("ssimulacra2", 88.1, 87.9, "SSIMULACRA2 87.9 (limit 88)"),
        ("ssimulacra2", 100.0, -30.0, "SSIMULACRA2 -30.0 (limit 88)"),
        ("lpips", 0.0, 0.001, "LPIPS 0.0010 (limit 0)"),
    ],
)
def test_every_metric_has_a_separate_limit(name: str, good: float, bad: float, words: str) -> None:
    assert judged([fixed(name, good)]).decision == "same"
    answer = judged([fixed(name, bad)])
    assert (answer.decision, answer.reason) == ("worse", "output.differs")
    assert f"Image 0 differs from the baseline: {words}" in answer.message


@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("distance", ["machine", "any"])
def test_not_a_number_is_worse_at_any_limit(name: str, value: float, distance: Distance) -> None:
    answer = judged([fixed(name, value)], distance)
    assert answer.reason == "output.differs", answer.message
    assert answer.details.images[0][name].value is None


def test_the_figures_hold_value_tile_and_limit_of_what_was_asked_for_alone() -> None:
    metrics = [fixed("ssimulacra2", 91.25)]
    details = judged(metrics).details
    assert (details.images[0]["ssimulacra2"].value, details.images[0]["ssimulacra2"].tile) == (91.25, None)
    assert details.allowed["ssimulacra2"] == 88
    assert not {"flip", "lpips"} & (set(details.images[0]) | set(details.allowed))
    assert "SSIMULACRA2 88" in judged(metrics).message
    assert "FLIP" not in judged(metrics).message


def test_several_images_are_judged_by_the_worst() -> None:
    image = photograph()
    steady = RerunNoise(rounds=1, identical=True)
    allowed = tolerance("machine", steady, steady, Limits(), ["ssimulacra2"])
    pictures = [distance(image, image, 64, [fixed("ssimulacra2", value)]) for value in (100.0, 40.0)]
    worst = worst_of(checks(pictures, allowed)).figure
    assert (worst.image, metric_text(worst)) == (1, "SSIMULACRA2 40.0 (limit 88)")
    assert figures(pictures[1])["ssimulacra2"].value == 40.0


def test_a_test_loosens_a_limit_with_the_marker_and_never_tightens_the_far_limit() -> None:
    from pytest_diffbench.judge.output.loosening import checked, limit_fields, looser_than_default

    given = checked({"flip": 0.3, "ssimulacra2": 70, "lpips": 0.05})
    assert looser_than_default(given) == [("flip", 0.04, 0.3), ("ssimulacra2", 88, 70), ("lpips", 0, 0.05)]
    limits = Limits(**limit_fields(given, "measured"))
    assert [limits.tiers(name).drift for name in OPTIONAL] == [0.3, 70, 0.05]
    assert judged([fixed("lpips", 0.04)], limits=limits).decision == "same"
    assert looser_than_default(checked({"ssimulacra2": 95})) == []


def test_a_foreign_machine_has_the_limits_of_drift_and_no_excuse_past_the_limits() -> None:
    assert judged([fixed("flip", 0.09)], "any").reason == "output.within_tolerance"
    assert judged([fixed("flip", 0.9)], "any").reason == "output.decoder"


def test_where_the_case_drifts_the_limits_of_drift_hold() -> None:
    noise = RerunNoise(rounds=5, identical=False, psnr_db=35.0)
    tolerated = tolerance("machine", noise, noise, Limits(), ["flip", "ssimulacra2"])
    assert (tolerated.images["flip"], tolerated.images["ssimulacra2"]) == (0.1, 75.0)


def test_equal_bits_need_no_metric() -> None:
    def refuse(_: ImagePair) -> Measurement:
        raise AssertionError("asked")

    assert judged([METRICS["flip"].measured_by(refuse)], change=lambda image: image).reason == "output.same_bits"


def test_a_metric_is_a_single_entry_for_limits_calibration_and_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    from pytest_diffbench.commands.calibrate import Evidence, proposed
    from pytest_diffbench.judge.output import loosening
    from pytest_diffbench.report.figures import image_figures

    def darkest(pair: ImagePair) -> Measurement:
        return Measurement(value=abs(int(pair.image.min()) - int(pair.reference.min())))

    added = ImageMetric(
        name="darkest_levels", label="darkest value", measure=darkest, machine=3.0, drift=9.0, digits=0,
        unit="/255", steps_per_unit=1, in_summary=True,
    )  # fmt: skip
    monkeypatch.setitem(METRICS, added.name, added)
    monkeypatch.setitem(loosening.TOLERANCES, added.name, loosening.threshold_of(added))

    def lifted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(np.maximum(image, image.min() + 5), dtype=np.uint8)

    answer = judged([], change=lifted)
    assert answer.reason == "output.differs"
    assert "darkest value 5/255 (limit 3)" in "; ".join([answer.message, *answer.changes])
    assert answer.details.allowed["darkest_levels"] == 3
    assert proposed("case", [Evidence(setting="x", figures={"darkest_levels": 5.0})], 3.0).tolerance == {
        "darkest_levels": 8.0
    }
    loose = Limits(**loosening.limit_fields(loosening.checked({"darkest_levels": 6}), "measured"))
    assert judged([], limits=loose, change=lifted).details.allowed["darkest_levels"] == 6
    report = make_report.report(report_records.flux("t"), answer)
    assert (image_figures(report) or {})["darkest_levels"] == 5


def test_documentation_has_the_registry_as_tables() -> None:
    docs = REPOSITORY / "docs"
    text = (docs / "verdicts.md").read_text("utf-8")
    row = re.compile(r"^\| `(\w+)` \| ([^|]*) \| at [^|]* \| at [^|]* \| (.*) \|$", re.MULTILINE)
    assert [line[1] for line in row.finditer(text)] == list(METRICS)
    assert_equals_file(docs / "verdicts.md", row.sub(described, text))
    text = (docs / "writing-benchmarks.md").read_text("utf-8")
    row = re.compile(rf"^\| `({'|'.join(METRICS)})` \| [^|]* \| (?:less|more) \|$", re.MULTILINE)
    assert [line[1] for line in row.finditer(text)] == list(METRICS)
    assert_equals_file(docs / "writing-benchmarks.md", row.sub(listed, text))


def described(line: re.Match[str]) -> str:
    metric = METRICS[line[1]]
    limits = [
        f"at {'least' if metric.higher_is_better else 'most'} {plain(limit)}"
        for limit in (metric.machine, metric.drift)
    ]
    return f"| `{metric.name}` | {line[2]} | {' | '.join(limits)} | {line[3]} |"


def listed(line: re.Match[str]) -> str:
    metric = METRICS[line[1]]
    return f"| `{metric.name}` | {plain(metric.machine)} | {'less' if metric.higher_is_better else 'more'} |"


def plain(limit: float) -> str:
    return f"{limit:g}".replace("0.", ".", 1) if 0 < limit < 1 else f"{limit:g}"
