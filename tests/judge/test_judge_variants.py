"""Variants beside their reference: predictions by hand, work saved, likeness, domination."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import judge_factories as make
import msgspec
import numpy as np
import pytest

from pytest_diffbench.judge.likeness import Shown, image_difference
from pytest_diffbench.judge.time.variants import Measured, compare, predicted_speedup
from pytest_diffbench.records import Case, Comparison, Observation, VariantReport
from pytest_diffbench.records.artifacts import Artifacts
from pytest_diffbench.records.details import MetricLimit

if TYPE_CHECKING:
    from numpy.typing import NDArray

PICTURE = make.picture()
JITTER = (1.0, 1.02, 0.99, 1.01, 0.98, 1.0)
FULL = make.work((make.group("cond", "0-29"), make.group("uncond", "0-29")))


def variant(
    name: str,
    total_s: float = 10.0,
    image: NDArray[np.uint8] | None = PICTURE,
    work: Any = FULL,
    jitter: float = 0.0,
    **changed: Any,
) -> Measured:
    """A variant of six rounds on a machine whose pace changes alike for all, and a little for itself."""
    totals_s = [total_s * pace * math.exp(jitter * (-1) ** number) for number, pace in enumerate(JITTER)]
    observation = make.observation(
        case=Case(id=f"case#{name}", definition=make.definition()), run=make.run(totals_s=totals_s), work=work
    )
    artifacts = Artifacts(images=(image,) if image is not None else (), trace=make.trace())
    return Measured(name=name, observation=observation, artifacts=artifacts, **changed)


def compared(*variants: Measured, reference: str = "full") -> Comparison:
    return compare(variants, reference, comparison_id="case", confidence=0.99, look=0)


def row(comparison: Comparison, name: str) -> VariantReport:
    return next(candidate for candidate in comparison.variants if candidate.name == name)


def test_a_speedup_is_the_references_time_over_the_variants() -> None:
    half = row(compared(variant("full", 10.0), variant("half", 7.5, jitter=0.01)), "half")
    assert half.speedup_rel is not None
    assert half.speedup_rel.value == pytest.approx(4 / 3)
    assert half.speedup_rel.low < 4 / 3 < half.speedup_rel.high
    assert half.speedup_rel.low > 1.28
    assert half.median_s == pytest.approx(7.5, rel=0.02)
    # Stages of the factory: text .1 s, decode .5 s, the rest denoise.
    denoise = half.stage_speedups_rel["denoise"]
    assert denoise.value == pytest.approx(9.39 / 6.89, rel=0.01)
    assert half.stage_speedups_rel.keys() == {"text_encode", "denoise", "vae_decode"}


def test_the_reference_is_a_single_row_and_equal_to_itself() -> None:
    full = row(compared(variant("full"), variant("half", 7.5)), "full")
    assert full.speedup_rel is not None
    assert (full.speedup_rel.low, full.speedup_rel.value, full.speedup_rel.high) == (1, 1, 1)
    assert full.predicted_speedup_rel == 1
    assert full.work_saved_rel == full.flops_saved_rel == 0
    assert full.image_difference is not None
    assert full.image_difference.same_bits


def test_a_prediction_by_hand() -> None:
    # T = 12 s, D = 12 - .1 - .5 - .01 = 11.39 s, a quarter of the calls saved: 12 / (12 - 11.39 / 4) = 1.3111.
    observation = make.observation(run=make.run(12.0))
    assert predicted_speedup(observation, 0.25) == pytest.approx(12 / (12 - 11.39 / 4))
    assert predicted_speedup(observation, 0.0) == 1
    assert predicted_speedup(observation, -0.2) == pytest.approx(12 / (12 + 11.39 / 5))
    blind = msgspec.structs.replace(
        observation.run, rounds=tuple(msgspec.structs.replace(timed, stages_s={}) for timed in observation.run.rounds)
    )
    assert predicted_speedup(msgspec.structs.replace(observation, run=blind), 0.25) is None


def test_work_saved_counts_calls_and_flops() -> None:
    half_work = make.work((make.group("cond", "0-29"), make.group("uncond", "0-14")))
    predicted = 10.0 / (10.0 - 9.39 / 4)
    comparison = compared(variant("full"), variant("half", 10.0 / predicted, work=half_work, jitter=0.005))
    half = row(comparison, "half")
    assert half.work_saved_rel == half.flops_saved_rel == 0.25
    assert half.denoiser_calls == 45
    assert half.predicted_from == "flops"
    assert half.predicted_speedup_rel == pytest.approx(predicted, rel=0.01)
    assert half.agrees_with_prediction is True
    slow = compared(variant("full"), variant("half", 10.0, work=half_work, jitter=0.005))
    assert row(slow, "half").agrees_with_prediction is False


def test_without_flops_calls_predict() -> None:
    def bare(*groups: Any) -> Any:
        return msgspec.structs.replace(make.work(groups), flops={})

    full = bare(make.group("cond", "0-29", flops=0), make.group("uncond", "0-29", flops=0))
    half = bare(make.group("cond", "0-29", flops=0), make.group("uncond", "0-14", flops=0))
    half_row = row(compared(variant("full", work=full), variant("half", 8.0, work=half)), "half")
    assert (half_row.work_saved_rel, half_row.flops_saved_rel, half_row.predicted_from) == (0.25, None, "calls")


def test_a_target_without_components_has_times_and_images_alone() -> None:
    half_row = row(compared(variant("full", work=None), variant("half", 8.0, work=None)), "half")
    assert half_row.speedup_rel is not None
    assert half_row.work_saved_rel is None
    assert half_row.predicted_speedup_rel is None
    assert half_row.agrees_with_prediction is None


def test_likeness_matches_the_images() -> None:
    noisy = make.noisy(PICTURE, 20)
    likeness = row(compared(variant("full"), variant("half", image=noisy)), "half").image_difference
    assert likeness is not None
    assert not likeness.same_bits
    assert likeness.psnr_db == pytest.approx(22.2, abs=0.5)
    assert likeness.ssim is not None
    assert 0 < likeness.ssim < 0.9
    assert likeness.worst is not None
    assert isinstance(likeness.worst, MetricLimit)
    assert likeness.worst.image == 0
    assert likeness.problem is None


@pytest.mark.parametrize(
    ("images", "problem"),
    [
        ((make.picture(size_px=96),), "different size: 128 x 128 px, 96 x 96 px"),
        ((PICTURE[:, :, 0],), "different mode: 3 and 1 channels"),
        ((PICTURE, PICTURE), "different number of images: 1, 2"),
        ((), "different number of images: 1, 0"),
    ],
)
def test_incomparable_images_say_why(images: tuple[NDArray[np.uint8], ...], problem: str) -> None:
    likeness = image_difference(Shown(Artifacts(images=images)), variant("full").shown)
    assert likeness is not None
    assert likeness.problem == problem
    assert likeness.psnr_db is None


def test_latents_are_compared_if_both_sides_kept_latents() -> None:
    whole = np.ones(100, np.float32)
    base = Artifacts(images=(), trace={"latents/final": whole})
    artifacts = Artifacts(images=(), trace={"latents/final": 1.1 * whole})
    likeness = image_difference(Shown(artifacts), Shown(base))
    assert likeness is not None
    assert likeness.latents_rel == pytest.approx(0.1)
    assert image_difference(Shown(), Shown()) is None


def test_slower_and_less_alike_is_dominated() -> None:
    comparison = compared(
        variant("full", 10.0),
        variant("good", 7.0, make.noisy(PICTURE, 4), jitter=0.002),
        variant("bad", 8.0, make.noisy(PICTURE, 30), jitter=0.002),
        variant("fast", 6.0, make.noisy(PICTURE, 40), jitter=0.002),
        variant("slow", 12.0, make.noisy(PICTURE, 1), jitter=0.002),
    )
    assert {compared_variant.name: compared_variant.dominated_by for compared_variant in comparison.variants} == {
        "full": (),
        "good": (),
        "bad": ("good",),
        "fast": (),
        "slow": ("full",),
    }


def test_a_difference_of_time_within_chance_dominates_nothing() -> None:
    comparison = compared(
        variant("full", 10.0),
        variant("good", 7.9, make.noisy(PICTURE, 4), jitter=0.05),
        variant("bad", 8.0, make.noisy(PICTURE, 30), jitter=-0.05),
    )
    assert row(comparison, "bad").dominated_by == ()


def test_a_variant_cut_short_has_an_error_and_no_figures() -> None:
    broken = variant("half", error="RuntimeError: no")
    comparison = compared(variant("full"), broken, variant("third", 8.0))
    assert row(comparison, "half").speedup_rel is None
    assert row(comparison, "half").error == "RuntimeError: no"
    assert row(comparison, "third").speedup_rel is not None


def test_without_the_reference_nothing_is_compared() -> None:
    comparison = compared(variant("full", error="RuntimeError: no"), variant("half"))
    assert all(compared_variant.speedup_rel is None for compared_variant in comparison.variants)


def test_a_comparison_survives_json() -> None:
    comparison = compared(variant("full"), variant("half", 7.5, make.noisy(PICTURE, 4), jitter=0.01))
    assert msgspec.json.decode(msgspec.json.encode(comparison), type=Comparison) == comparison
    assert isinstance(variant("full").observation, Observation)
