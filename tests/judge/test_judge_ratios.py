"""The time gate of variants: ratios are held against stored ratios, on this machine and on others."""

from __future__ import annotations

import dataclasses
import math
import random
from typing import TYPE_CHECKING, Any

import judge_factories as make
import msgspec
import pytest

from pytest_diffbench.judge import Limits, wants_runs
from pytest_diffbench.records import Case, Ratio, RatioRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.records import Distance

FULL = Case(id="case#full", definition=make.definition(cfg_trunc_ratio=1.0))


def ratio(*speedups: float, error: float = 0.004, blocks: int = 12, reference: Case = FULL) -> Ratio:
    return Ratio(
        reference=reference,
        runs=tuple(
            RatioRun(
                run=f"run {number}",
                log_ratio=math.log(speedup),
                standard_error_log=error,
                blocks=blocks,
                denoise_log_ratio=1.2 * math.log(speedup),
            )
            for number, speedup in enumerate(speedups)
        ),
    )


THREE = (1.33, 1.34, 1.32)


def judged(
    now: float | Ratio,
    *stored: float,
    fresh: Sequence[float] = (),
    distance: Distance = "machine",
    env: Any = None,
    median_s: float = 12.0,
    calibration_s: float | None = 0.02,
    family_size: int = 1,
    limits: Limits | None = None,
    **changed: Any,
) -> Any:
    """The time gate's answer for a variant; its plain time is as given, its baseline's 12 s.

    `fresh` are the ratios of further processes, `stored` those of the baseline.
    """
    measured = now if isinstance(now, Ratio) else ratio(now)
    run = make.run(median_s, env=env, calibration_s=calibration_s)
    reference = make.reference(distance=distance)
    base = msgspec.structs.replace(reference.baseline, ratio=ratio(*stored, **changed) if stored else None)
    return make.ask(
        "time",
        make.observation(ratio=measured, run=run),
        dataclasses.replace(reference, baseline=base),
        limits=limits,
        more_runs=[run] * len(fresh),
        more_ratios=ratio(*fresh).runs if fresh else (),
        family_size=family_size,
    )


@pytest.mark.parametrize(
    ("now", "stored", "reason"),
    [
        (1.33, THREE, "time.ratio_same"),
        (1.30, THREE, "time.ratio_same"),
        (1.15, THREE, "time.ratio_worse"),
        (1.15, (1.33, 1.34, 1.32, 1.33, 1.33, 1.335), "time.ratio_worse"),
        (1.60, THREE, "time.ratio_better"),
    ],
)
def test_a_ratio_is_held_against_the_baselines_ratios(now: float, stored: tuple[float, ...], reason: str) -> None:
    assert judged(now, *stored, fresh=(now, now)).reason == reason


def test_a_process_alone_asks_for_more_and_fails_nothing() -> None:
    first = judged(1.15, *THREE)
    assert (first.reason, first.decision) == ("time.ratio_unconfirmed", "unsure")
    assert wants_runs(first)
    assert not wants_runs(judged(1.30, *THREE))


def test_fresh_processes_have_to_agree() -> None:
    agreed = judged(1.15, *THREE, fresh=(1.14, 1.16))
    assert agreed.reason == "time.ratio_worse"
    assert "confirmed by 2 of 2 fresh processes" in agreed.message
    torn = judged(1.05, *THREE, fresh=(1.10, 1.33))
    assert torn.reason == "time.ratio_unconfirmed"
    assert "1 of 2 fresh processes agree" in torn.message
    assert wants_runs(torn)
    assert not wants_runs(judged(1.05, *THREE, fresh=(1.10, 1.33, 1.32, 1.32)))


def test_a_process_alone_decides_where_none_may_confirm() -> None:
    alone = Limits(time_confirmations=0, time_max_runs=1)
    assert judged(1.15, *THREE, limits=alone).reason == "time.ratio_worse"


@pytest.mark.parametrize("stored", [(1.33,), (1.33, 1.34)])
def test_too_few_stored_ratios_tell_nothing_of_their_spread(stored: tuple[float, ...]) -> None:
    answer = judged(1.0, *stored, fresh=(1.0, 1.0))
    assert answer.reason == "time.ratio_few_runs"
    assert f"{3 - len(stored)} more run" in answer.message
    assert not wants_runs(answer)


def test_many_decisions_share_a_single_chance_of_error() -> None:
    alone, among = (judged(1.30, *THREE, family_size=count).details.allowed_rel for count in (1, 1000))
    assert among > 1.2 * alone


def test_a_variant_faster_by_itself_has_got_no_worse() -> None:
    # a denoiser that got three times as fast in both: (9 + 1) / (4.5 + 1) -> (3 + 1) / (1.5 + 1)
    overtaken = judged(4 / 2.5, *[10 / 5.5] * 3, fresh=(4 / 2.5, 4 / 2.5), median_s=12 * 2.5 / 5.5)
    assert (overtaken.reason, overtaken.decision) == ("time.ratio_overtaken", "unsure")
    assert "12.00 s -> 5.455 s (-55 %)" in overtaken.message
    assert not wants_runs(overtaken)


def test_a_faster_machine_excuses_nothing() -> None:
    quick = judged(1.15, *THREE, fresh=(1.15, 1.15), median_s=9.0, calibration_s=0.015)
    assert quick.reason == "time.ratio_worse"


def test_the_plain_time_says_nothing_where_there_is_a_ratio() -> None:
    assert judged(1.33, *THREE, median_s=30.0).reason == "time.ratio_same"
    assert not judged(1.33, median_s=30.0).reason.startswith("time.ratio")


def test_a_message_has_the_figures_and_the_stage() -> None:
    worse = judged(1.10, 1.33, 1.33, 1.33, fresh=(1.10, 1.10))
    assert "1.330x -> 1.100x as fast as the reference (-17 %), 3 runs in the baseline" in worse.message
    assert worse.changes == ("denoise: 1.408x -> 1.121x as fast as the reference's",)
    assert worse.details.ratio_change_rel == pytest.approx(1.10 / 1.33 - 1)


@pytest.mark.parametrize(("distance", "expected"), [("machine", "worse"), ("family", "worse"), ("any", "same")])
def test_the_tolerance_widens_with_the_distance(distance: Distance, expected: str) -> None:
    assert judged(1.10, *THREE, fresh=(1.10, 1.10), distance=distance).decision == expected
    assert judged(0.95, *THREE, fresh=(0.95, 0.95), distance=distance).decision == "worse"


def test_other_settings_are_a_different_machine_of_the_same_kind() -> None:
    other = make.environment(settings={"threads": 2, "attention_backend": "native"})
    assert judged(1.20, *THREE, fresh=(1.20, 1.20)).decision == "worse"
    assert judged(1.20, *THREE, fresh=(1.20, 1.20), env=other).decision == "same"
    assert judged(1.20, *THREE, fresh=(1.20, 1.20), env=other).details.distance == "family"


def test_a_green_gate_would_have_detected_what_the_message_says() -> None:
    green = judged(1.33, *THREE)
    detectable_rel = green.details.detectable_rel
    lost = 1.33 / (1 + detectable_rel)
    assert judged(lost, *THREE, fresh=[lost] * 4).decision == "worse"
    assert f"A loss of +{100 * detectable_rel:.0f} % of time would" in green.message


def test_a_wide_interval_is_no_sameness() -> None:
    assert judged(ratio(1.33, error=0.2), *THREE).reason == "time.ratio_blind"
    assert judged(1.33, *THREE, error=0.5).reason == "time.ratio_blind"


def test_differing_runs_allow_more() -> None:
    close = judged(1.33, 1.32, 1.33, 1.34).details.allowed_rel
    far = judged(1.33, 1.20, 1.33, 1.50).details.allowed_rel
    assert far > 2.5 * close


def test_a_different_reference_is_never_compared() -> None:
    other = Case(id=FULL.id, definition=make.definition(cfg_trunc_ratio=0.7))
    answer = judged(ratio(1.33, reference=other), 1.33)
    assert answer.reason == "time.ratio_reference"
    assert "arguments.cfg_trunc_ratio: 1.0 -> 0.7" in answer.message
    renamed = judged(ratio(1.33, reference=Case(id="case#all", definition=FULL.definition)), 1.33)
    assert "case: case#full -> case#all" in renamed.message


def test_parallel_processes_spoil_a_ratio_too() -> None:
    crowded = make.environment(state={"xdist_workers": 4})
    assert judged(1.33, 1.33, env=crowded).reason == "time.parallel"


def _decisions(count: int, spread: float, error: float, lost_rel: float, seeds: Sequence[int]) -> list[str]:
    """What the gate ends with, where it gets all the processes that it asks for."""
    ended: list[str] = []
    for seed in seeds:
        draw = random.Random(seed)
        drawn = [1.33 * math.exp(draw.gauss(0, spread) + draw.gauss(0, error)) for _ in range(count + 5)]
        stored, now = drawn[:count], [ratio_rel / (1 + lost_rel) for ratio_rel in drawn[count:]]
        fresh = 0
        answer = judged(ratio(now[0], error=error), *stored, error=error)
        while wants_runs(answer):
            fresh += 1
            answer = judged(ratio(now[0], error=error), *stored, fresh=now[1 : 1 + fresh], error=error)
        ended.append(answer.decision)
    return ended


@pytest.mark.parametrize(
    "count", [3, pytest.param(5, marks=pytest.mark.full), pytest.param(10, marks=pytest.mark.full)]
)
def test_equal_code_is_hardly_ever_called_otherwise(count: int) -> None:
    # Two sides at a chance of one in a thousand each, and the practical floor on top.
    ended = _decisions(count, spread=0.02, error=0.01, lost_rel=0.0, seeds=range(400))
    assert ended.count("worse") == 0
    assert ended.count("better") <= 0.01 * len(ended)


@pytest.mark.parametrize("count", [3, pytest.param(10, marks=pytest.mark.full)])
def test_the_stated_detectable_change_is_detected(count: int) -> None:
    stored = [1.33 * math.exp(0.02 * score) for score in (-1, 0, 1, *[-1, 1] * 10)[:count]]
    detectable_rel = judged(ratio(1.33, error=0.01), *stored, error=0.01).details.detectable_rel
    ended = _decisions(count, spread=0.02, error=0.01, lost_rel=1.1 * detectable_rel, seeds=range(200))
    assert ended.count("worse") >= 0.9 * len(ended)
