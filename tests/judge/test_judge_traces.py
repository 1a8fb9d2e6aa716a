"""Where two traces part: the earliest place and its branch, jump or growth, and what became of the tensor there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from pytest_diffbench.judge.limits import Limits
from pytest_diffbench.judge.trace.divergence import divergence_threshold_rel, find_divergence, rounding_rel
from pytest_diffbench.judge.trace.entries import TraceView, place_of
from pytest_diffbench.records import RerunNoise
from pytest_diffbench.records.artifacts import MOMENT_NAMES, MOMENTS
from pytest_diffbench.records.details import TraceDetails
from pytest_diffbench.report.sentences import trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_diffbench.judge.trace.divergence import Divergence

    Tensors = dict[str, NDArray[np.float64]]

STEPS = 8
THRESHOLD_REL = 10 * rounding_rel("float32")


def tensors() -> Tensors:
    """What passes the places of a call with two encoders and two branches, each tensor small enough to be whole."""
    rng = np.random.default_rng(0)
    names = ["text/text_encoder/0", "text/text_encoder_2/0", "text/text_encoder_2/0/1", "text/0", "text/1"]
    for step in range(STEPS):
        names += [f"prediction/{step}/cond", f"prediction/{step}/uncond", f"latents/{step}"]
    return {name: rng.normal(0.1, 1, 256) for name in [*names, "latents/final", "decoder_input", "decoded"]}


def traced(entries: Tensors) -> dict[str, NDArray[np.float32]]:
    """A trace in which each sketch is the tensor itself."""
    rows = []
    for name in sorted(entries):
        finite = entries[name][np.isfinite(entries[name])]
        lost = entries[name].size - finite.size
        rows.append([np.linalg.norm(finite), finite.mean(), finite.std(), finite.min(), finite.max(), lost])
    arrays = {name: np.nan_to_num(value, nan=0.0, posinf=0.0).astype(np.float32) for name, value in entries.items()}
    assert len(rows[0]) == len(MOMENT_NAMES)
    return arrays | {MOMENTS: np.array(rows, np.float32)}


def off(value: NDArray[np.float64], rel: float, seed: int = 1) -> NDArray[np.float64]:
    """The value with noise of so much of its norm."""
    noise = np.random.default_rng(seed).normal(size=value.shape)
    changed: NDArray[np.float64] = value + noise * rel * np.linalg.norm(value) / np.linalg.norm(noise)
    return changed


def diverged(change: Callable[[Tensors], None], threshold_rel: float = THRESHOLD_REL) -> Divergence:
    """Compare a call with the same call after a change."""
    now = tensors()
    change(now)
    return find_divergence(traced(now), traced(tensors()), threshold_rel)


def text_of(difference: Divergence) -> str:
    """The sentence about it, without its beginning."""
    return trace.divergence(difference.details()).removeprefix("First divergence: ")


def onwards(names: list[str], rel: float) -> Callable[[Tensors], None]:
    """Noise in the named places, and in all that comes after them but the text."""

    def change(now: Tensors) -> None:
        order = list(now)
        begin = min(order.index(name) for name in names)
        first_latents = next(number for number, name in enumerate(order) if number > begin and "latents" in name)
        for number, name in enumerate(order):
            if name in names or number >= first_latents:
                now[name] = off(now[name], rel, number)

    return change


def test_the_branch_is_named_with_what_still_agrees() -> None:
    difference = diverged(onwards(["prediction/3/uncond"], 0.2))
    assert (difference.place, difference.course) == ("prediction/3/uncond", "jump")
    assert text_of(difference) == (
        "unconditional prediction, step 3 (jumps from 0 % to 20 %, 20 % at the last step);"
        " conditional prediction equal; latents before it equal"
    )
    assert difference.latents_rel == pytest.approx(0.2, rel=1e-3)


def test_both_branches_of_a_step_are_named() -> None:
    difference = diverged(onwards(["prediction/3/cond", "prediction/3/uncond"], 0.2))
    assert difference.place == "prediction/3/cond"
    assert "unconditional prediction diverges too (20 %)" in text_of(difference)


def test_latents_alone_part_at_a_changed_scheduler() -> None:
    difference = diverged(onwards(["latents/3"], 0.2))
    assert difference.place == "latents/3"
    assert text_of(difference) == (
        "latents, step 3 (jumps from 0 % to 20 %, 20 % at the last step); predictions of that step equal"
    )


def test_a_differing_encoder_is_named_beside_an_agreeing_encoder() -> None:
    def change(now: Tensors) -> None:
        for name in now:
            if name not in ("text/text_encoder/0", "text/1"):
                now[name] = off(now[name], 0.1)

    difference = diverged(change)
    assert (difference.place, difference.course) == ("text/text_encoder_2/0", None)
    assert text_of(difference) == "output of text_encoder_2 (10 % apart); output of text_encoder equal"


def test_a_further_tensor_of_an_encoder_is_named() -> None:
    difference = diverged(onwards(["text/text_encoder_2/0/1"], 0.1))
    assert text_of(difference).startswith("output of text_encoder_2 (tensor 1) (10 % apart")


def test_embeddings_computed_by_the_pipeline() -> None:
    difference = diverged(onwards(["text/1"], 0.1))
    assert text_of(difference) == "text embedding 1 (10 % apart); encoder outputs equal"


def test_growth_is_distinguished_from_a_jump() -> None:
    def change(now: Tensors) -> None:
        for step in range(STEPS):
            for name in (f"prediction/{step}/cond", f"prediction/{step}/uncond", f"latents/{step}"):
                now[name] = off(now[name], 3e-8 * 3**step)

    difference = diverged(change)
    assert difference.course == "growth"
    assert difference.place == "prediction/3/cond"  # 3e-8 * 27 is the first above 3.4e-7
    assert text_of(difference).startswith("conditional prediction, step 3 (grows from 2.")
    assert "latents before it within 2.7e-05 %" in text_of(difference)


@pytest.mark.parametrize(("factor", "course"), [(5, "growth"), (50, "jump")])
def test_in_the_first_step_all_rounding_of_the_denoiser_comes_at_once(factor: float, course: str) -> None:
    difference = diverged(onwards(["prediction/0/cond"], factor * THRESHOLD_REL))
    assert (difference.place, difference.course) == ("prediction/0/cond", course)


def test_tenfold_from_a_step_to_the_next_is_the_limit_of_growth() -> None:
    def change(now: Tensors, factor: float) -> None:
        now["latents/2"] = off(now["latents/2"], 0.9 * THRESHOLD_REL)
        now["latents/3"] = off(now["latents/3"], factor * 0.9 * THRESHOLD_REL)

    assert [diverged(lambda now, by=by: change(now, by)).course for by in (9.0, 11.0)] == ["growth", "jump"]  # type: ignore[misc]  # a default binds it


@pytest.mark.parametrize(
    ("change", "words", "scale"),
    [
        (lambda x: 0.92 * x, "scaled by 0.92", 0.92),
        (lambda x: -x, "sign flipped", -1.0),
        (lambda x: -0.5 * x, "sign flipped and scaled by 0.5", -0.5),
        (lambda x: x + 0.25, "shifted by 0.25", None),
        (lambda x: np.random.default_rng(7).normal(0.1, 1, x.shape), "unrelated tensors, cosine", None),
        (lambda x: 0 * x, "all zeros in this run", None),
    ],
)
def test_the_kind_of_change_is_named(
    change: Callable[[NDArray[np.float64]], NDArray[np.float64]], words: str, scale: float | None
) -> None:
    def at_once(now: Tensors) -> None:
        now["prediction/3/uncond"] = change(now["prediction/3/uncond"])

    difference = diverged(at_once)
    assert difference.place == "prediction/3/uncond"
    assert words in text_of(difference)
    if scale is not None:
        assert difference.change.scale == pytest.approx(scale, rel=1e-5)
        assert difference.change.cosine == pytest.approx(math.copysign(1, scale))


def test_noise_is_not_explained_away() -> None:
    for rel in (1e-4, 0.01, 0.3):
        difference = diverged(onwards(["prediction/3/uncond"], rel))
        assert difference.change.kind is None
        assert not any(word in text_of(difference) for word in ("scaled", "shifted", "flipped", "unrelated"))


def test_a_small_tensor_beside_a_large_tensor_is_not_called_scaled() -> None:
    def change(now: Tensors) -> None:
        now["prediction/3/uncond"] = 1e-3 * np.random.default_rng(9).normal(size=256)

    assert diverged(change).change.kind == "unrelated"


def test_non_finite_values_are_counted() -> None:
    def change(now: Tensors) -> None:
        now["prediction/3/uncond"][:3] = np.nan

    difference = diverged(change)
    assert difference.place == "prediction/3/uncond"
    assert "step 3 (3 non-finite values, 0 % at the last step); conditional" in text_of(difference)
    assert ("prediction/3/uncond", None) in difference.details().series
    msgspec.json.encode(difference.details())


def test_not_finite_alike_on_both_sides_is_no_divergence() -> None:
    both = tensors()
    both["prediction/3/uncond"][:3] = np.inf
    assert find_divergence(traced(both), traced(both), THRESHOLD_REL).place is None


def test_the_way_into_and_through_the_decoder() -> None:
    def input_off(now: Tensors) -> None:
        now["decoder_input"] = 0.18 * now["decoder_input"]
        now["decoded"] = off(now["decoded"], 0.5)

    def output_off(now: Tensors) -> None:
        now["decoded"] = off(now["decoded"], 0.5)

    assert text_of(diverged(input_off)) == "decoder input (82 % apart, scaled by 0.18); latents equal"
    assert text_of(diverged(output_off)) == "decoder output (50 % apart); decoder input equal"
    assert text_of(diverged(lambda now: None)) == "after the decoder (its output agrees, 0 % apart)"


def test_a_trace_without_predictions_is_compared_by_the_rest() -> None:
    kept = ("latents", "text/0", "text/1")
    old = {name: value for name, value in traced(tensors()).items() if name.startswith(kept)}
    now = tensors()
    onwards(["text/text_encoder/0", "prediction/3/uncond"], 0.2)(now)
    onwards(["prediction/3/uncond"], 0.2)(same := tensors())
    assert find_divergence(traced(now), old, THRESHOLD_REL).place == "latents/0"
    difference = find_divergence(traced(same), old, THRESHOLD_REL)
    assert text_of(difference) == "latents, step 3 (jumps from 0 % to 20 %, 20 % at the last step)"
    assert find_divergence(old, traced(same), THRESHOLD_REL).place == "latents/3"
    assert {name for name, _ in difference.series} == old.keys()


def test_a_missing_branch_is_reported_where_the_latents_part() -> None:
    base, now = tensors(), tensors()
    del base["prediction/5/uncond"]
    onwards(["latents/5"], 0.2)(now)
    for current, stored, where in ((now, base, "in this run"), (base, now, "in the baseline")):
        difference = find_divergence(traced(current), traced(stored), THRESHOLD_REL)
        assert difference.place == "latents/5"
        assert text_of(difference).endswith(f"; unconditional prediction only {where}")


def test_within_the_threshold_nothing_parts() -> None:
    difference = diverged(onwards(["prediction/3/uncond"], 0.01), threshold_rel=0.02)
    assert (difference.place, difference.course) == (None, None)


def test_the_series_is_in_the_order_of_the_call_for_any_order_of_names() -> None:
    difference = diverged(onwards(["prediction/3/uncond"], 0.2))
    names = [name for name, _ in difference.series]
    assert names == list(tensors())
    assert names.index("latents/2") < names.index("prediction/3/cond")
    details = difference.details()
    assert details.series[names.index("latents/2")] == ("latents/2", 0.0)
    assert details.series[names.index("prediction/3/uncond")] == ("prediction/3/uncond", 0.2)
    assert (details.place, details.course) == ("prediction/3/uncond", "jump")
    assert msgspec.json.decode(msgspec.json.encode(details), type=TraceDetails) == details


def test_steps_are_ordered_by_number_not_by_name() -> None:
    names = ["latents/10", "latents/9", "prediction/10/cond", "decoded", "decoder_input", "latents/final", "text/0"]
    names += ["prediction/9/uncond#1", "prediction/9/uncond", "prediction/10/joint-cond/unet", "text/enc/1", MOMENTS]
    view = TraceView({name: np.ones(256, np.float32) for name in names})
    assert [entry.name for entry in view] == [
        "text/enc/1",
        "text/0",
        "prediction/9/uncond",
        "prediction/9/uncond#1",
        "latents/9",
        "prediction/10/cond",
        "prediction/10/joint-cond/unet",
        "latents/10",
        "latents/final",
        "decoder_input",
        "decoded",
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("text/text_encoder/1", "output of text_encoder (call 1)"),
        ("prediction/3/joint-uncond", "unconditional half of the joint prediction, step 3"),
        ("prediction/3/cond/unet", "conditional prediction by unet, step 3"),
        ("prediction/3/cond#1", "conditional prediction, step 3 (call 2 of that kind)"),
        ("prediction/3/unknown", "prediction, step 3"),
        ("decoded#2", "decoder output (call 3 of that kind)"),
    ],
)
def test_places_in_words(name: str, words: str) -> None:
    assert place_of(name) is not None
    assert trace.place_text(name) == words


@pytest.mark.parametrize("name", ["moments", "latents/x", "latents/03", "prediction/3", "text", "images/0", ""])
def test_what_is_no_place_is_left_alone(name: str) -> None:
    assert place_of(name) is None


def test_entries_have_moments_and_old_entries_an_estimate_of_the_norm() -> None:
    entries = tensors()
    entry = next(candidate for candidate in TraceView(traced(entries)) if candidate.name == "latents/3")
    assert entry.norm == pytest.approx(np.linalg.norm(entries["latents/3"]), rel=1e-6)
    assert entry.mean == pytest.approx(entries["latents/3"].mean(), rel=1e-5)
    assert (entry.min, entry.max) == pytest.approx((entries["latents/3"].min(), entries["latents/3"].max()))
    assert entry.not_finite == 0
    (old,) = TraceView({"latents/0": np.array([3, 4], np.float32)})
    assert (old.norm, old.mean, old.not_finite) == (5.0, None, None)


def test_distance_of_two_views() -> None:
    now = tensors()
    onwards(["prediction/3/uncond"], 0.2)(now)
    changed_view, other = TraceView(traced(now)), TraceView(traced(tensors()))
    gaps_rel = changed_view.distance(other)
    assert list(gaps_rel) == list(tensors())
    assert gaps_rel["prediction/3/cond"] == 0
    assert gaps_rel["prediction/3/uncond"] == pytest.approx(0.2, rel=1e-3)
    assert ("latents/3" in changed_view, "latents/99" in changed_view, len(changed_view)) == (
        True,
        False,
        len(tensors()),
    )
    assert changed_view["latents/3"].shape == (256,)


def test_the_threshold_is_rounding_or_the_drift_of_identical_calls() -> None:
    limits = Limits()
    still, drifting = RerunNoise(rounds=5, identical=True), RerunNoise(rounds=5, identical=False, latents_rel=0.01)
    once = RerunNoise(rounds=1, identical=True)
    assert divergence_threshold_rel("float32", still, still, limits) == pytest.approx(THRESHOLD_REL)
    assert divergence_threshold_rel("float32", drifting, still, limits) == pytest.approx(THRESHOLD_REL)
    for now, base in ((still, drifting), (drifting, once)):
        assert divergence_threshold_rel("float32", now, base, limits) == pytest.approx(0.01 * 10**0.15)
    assert divergence_threshold_rel("bfloat16", still, drifting, limits) == pytest.approx(
        10 * rounding_rel("bfloat16")
    )
