"""Calls of one session that disagree: red though the first agrees with the baseline, and said which and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import judge_factories as make
import numpy as np
import pytest

from pytest_diffbench.judge import Limits, judge
from pytest_diffbench.records import Output, RerunNoise, TensorFacts
from pytest_diffbench.records.artifacts import Artifacts
from pytest_diffbench.report.sentences import worded
from pytest_diffbench.report.sentences.output import cause, disagreement

if TYPE_CHECKING:
    from pytest_diffbench.records import Distance

IMAGE = make.picture()
GROUPS: dict[str, tuple[tuple[str, ...], ...]] = {
    "first": (("survey",), ("layers", "warm-up 1", "round 1", "round 2")),
    "last": (("survey", "layers", "warm-up 1", "round 1"), ("round 2",)),
    "alternating": (("survey", "warm-up 1", "round 2"), ("layers", "round 1")),
    "all": (("survey",), ("layers",), ("warm-up 1",), ("round 1",), ("round 2",)),
}


def noise(group: str, **changed: Any) -> RerunNoise:
    fields: dict[str, Any] = {"rounds": 5, "identical": False, "psnr_db": 12.0, "alike": GROUPS[group]}
    return RerunNoise(**(fields | changed))


def judged(now: Output, base: Output | None = None, **artifacts: Any) -> Any:
    reference = make.reference(make.observation(output=base)) if base is not None else None
    observation = make.observation(output=now)
    (verdict,) = judge(observation, make.artifacts(IMAGE, **artifacts), reference, Limits(), ["output"])
    return worded(verdict)


@pytest.mark.parametrize(
    ("group", "words"),
    [
        ("first", "the first (survey) differs from the 4 after it. The first call leaves something behind"),
        ("last", "round 2 differs from survey, layers, warm-up 1 and 1 more."),
        ("alternating", "layers, round 1 differ from survey, warm-up 1, round 2."),
        ("all", "no two of 5 calls agree."),
    ],
)
def test_disagreeing_calls_are_red_though_the_first_round_has_the_baselines_bits(group: str, words: str) -> None:
    verdict = judged(make.output(IMAGE, rerun=noise(group)), make.output(IMAGE))
    assert (verdict.reason, verdict.decision) == ("output.nondeterministic", "worse")
    assert words in verdict.message
    assert "PSNR 12.0 dB" in verdict.message
    first = judged(make.output(IMAGE, rerun=noise(group)))
    assert first.reason == "output.no_baseline"
    assert words in first.changes[0], "said at the first save as well"


def test_what_the_baselines_own_calls_did_is_no_regression() -> None:
    verdict = judged(make.output(IMAGE, rerun=noise("last")), make.output(IMAGE, rerun=noise("first")))
    assert verdict.reason == "output.same_bits"
    assert "Any change would have been detected" not in verdict.message


def test_the_last_bit_of_a_single_call_is_no_regression() -> None:
    verdict = judged(make.output(IMAGE, rerun=noise("last", psnr_db=70.0)), make.output(IMAGE))
    assert verdict.reason == "output.same_bits"
    assert "Identical calls of this case differ" in verdict.message


def test_images_of_a_different_number_have_no_psnr_and_disagree() -> None:
    verdict = judged(make.output(IMAGE, rerun=noise("last", psnr_db=None)), make.output(IMAGE))
    assert verdict.reason == "output.nondeterministic"
    assert "not the same number or size" in verdict.message


def test_a_global_generator_is_red_without_any_baseline_and_never_saved() -> None:
    drawn = noise("all", drew_from=("torch on the CPU",))
    for base in (None, make.output(IMAGE), make.output(IMAGE, rerun=drawn)):
        verdict = judged(make.output(IMAGE, rerun=drawn), base)
        assert (verdict.reason, verdict.decision) == ("output.global_generator", "worse")
        assert "torch on the CPU" in verdict.message
    # drawn in vain
    vain = RerunNoise(rounds=5, identical=True, drew_from=("torch on the CPU",))
    assert judged(make.output(IMAGE, rerun=vain), make.output(IMAGE)).reason == "output.same_bits"


def test_words_without_groups() -> None:
    old = RerunNoise(
        rounds=5, identical=False, latents_rel=0.02
    )  # of a record that was written before there were any
    assert disagreement(old) == "calls with the same arguments disagree (2 % apart)"
    assert cause(old) == ""


def tensor(value: float = 1.0, **changed: Any) -> TensorFacts:
    fields: dict[str, Any] = {
        "name": "frames",
        "shape": (1, 4, 8),
        "dtype": "float32",
        "constant": False,
        "digest": f"{value}",
    }
    return TensorFacts(**(fields | changed))


def of_tensors(*tensors: TensorFacts, **changed: Any) -> Output:
    fields: dict[str, Any] = {"tensors": tensors, "latents_shape": None, "latents_dtype": None}
    return make.output(**(fields | {"no_images": "float32 of shape [1, 4, 8] is no image"} | changed))


def of_sketch(scale: float = 1.0) -> Artifacts:
    return Artifacts(trace={"returned/0": (scale * np.linspace(-1, 1, 256)).astype(np.float32)})


def compared(now: Output, base: Output, scale: float = 1.0) -> Any:
    observation = make.observation(output=now)
    reference = make.reference(make.observation(output=base), stored=of_sketch())
    (verdict,) = judge(observation, of_sketch(scale), reference, Limits(), ["output"])
    return worded(verdict)


NOTHING = make.output(latents_shape=None, latents_dtype=None, no_images="NoneType is no image")


@pytest.mark.parametrize(
    ("now", "base", "reason", "words"),
    [
        (of_tensors(tensor()), of_tensors(tensor()), "output.same_bits", "1 tensor (frames 1 x 4 x 8)"),
        (of_tensors(tensor(shape=(1, 5, 8))), of_tensors(tensor()), "output.size", "[1, 5, 8]"),
        (of_tensors(tensor(dtype="float64")), of_tensors(tensor()), "output.size", "dtype float64"),
        (of_tensors(tensor(), tensor()), of_tensors(tensor()), "output.count", "2 tensors"),
        (
            of_tensors(tensor(constant=True)),
            of_tensors(tensor()),
            "output.constant",
            "All values of the returned frames",
        ),
        (NOTHING, of_tensors(tensor()), "output.lost", "NoneType is no image"),
        (NOTHING, make.output(IMAGE), "output.lost", "The baseline has 1 image, this run nothing to compare"),
        (of_tensors(tensor()), make.output(IMAGE), "output.lost", "float32 of shape [1, 4, 8] is no image"),
        (
            make.output(IMAGE),
            of_tensors(tensor()),
            "output.count",
            "The baseline has 1 tensor (frames 1 x 4 x 8), this run 1 image.",
        ),
        (NOTHING, NOTHING, "output.not_seen", "NoneType is no image"),
    ],
)
def test_what_is_returned_in_place_of_images(now: Output, base: Output, reason: str, words: str) -> None:
    verdict = compared(now, base)
    assert verdict.reason == reason
    assert words in verdict.message


@pytest.mark.parametrize(
    ("scale", "reason"), [(1 + 1e-4, "output.within_tolerance"), (1.2, "output.differs"), (-1.0, "output.differs")]
)
def test_tensors_of_other_bits_are_compared_by_their_sketches(scale: float, reason: str) -> None:
    verdict = compared(of_tensors(tensor(2.0)), of_tensors(tensor(1.0)), scale)
    assert verdict.reason == reason
    assert "returned tensor 0" in verdict.message.lower()


def test_tensors_without_kept_sketches_are_not_judged() -> None:
    reference = make.reference(make.observation(output=of_tensors(tensor(1.0))), stored=Artifacts())
    observation = make.observation(output=of_tensors(tensor(2.0)))
    (verdict,) = judge(observation, of_sketch(), reference, Limits(), ["output"])
    assert verdict.reason == "output.not_kept"


def test_tensors_in_disagreement_between_calls() -> None:
    drifting = noise("last", psnr_db=None, latents_rel=0.5)
    verdict = compared(of_tensors(tensor(), rerun=drifting), of_tensors(tensor()))
    assert verdict.reason == "output.nondeterministic"
    assert "50 % apart" in verdict.message


def test_nothing_at_all_without_a_baseline_is_not_observed() -> None:
    assert judged(NOTHING).reason == "output.not_seen"


def test_a_mask_of_all_true_beside_a_result_is_no_fault() -> None:
    both = of_tensors(tensor(name="embeds"), tensor(name="mask", constant=True))
    assert judged(both).reason == "output.no_baseline"
    assert judged(of_tensors(tensor(constant=True), tensor(constant=True))).reason == "output.constant"


@pytest.mark.parametrize(("distance", "reason"), [("machine", "output.weights"), ("family", "output.differs")])
def test_other_weights_are_a_reason_on_a_single_class_of_machine(distance: Distance, reason: str) -> None:
    """Elsewhere drawn ones differ by rounding, and it's a line beside the verdict."""
    now = make.output(make.noisy(IMAGE, 80), weights={"unet": "b"})
    base = make.observation(output=make.output(IMAGE, weights={"unet": "a"}))
    reference = make.reference(base, distance=distance)
    observation = make.observation(output=now)
    (verdict,) = judge(observation, make.artifacts(make.noisy(IMAGE, 80)), reference, Limits(), ["output"])
    assert verdict.reason == reason
    assert "unet" in "; ".join([worded(verdict).message, *worded(verdict).changes])
