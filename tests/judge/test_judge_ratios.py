"""The time gate of variants: ratios are held against stored ratios, on this machine and on others."""

from __future__ import annotations

import dataclasses
import math
import random
from typing import TYPE_CHECKING, Any

import judge_factories as make
import msgspec
import pytest

from pytest_diffbench.records import Case, Ratio, RatioRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.records import Distance, Verdict

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


def judged(
    now: float | Ratio,
    *stored: float,
    distance: Distance = "machine",
    env: Any = None,
    median_s: float = 12.0,
    **changed: Any,
) -> Verdict:
    """The time gate's answer for a variant; its plain time is as given, its baseline's 12 s."""
    mine = now if isinstance(now, Ratio) else ratio(now)
    seen = make.observation(ratio=mine, run=make.run(median_s, env=env))
    reference = make.reference(distance=distance)
    base = msgspec.structs.replace(reference.baseline, ratio=ratio(*stored, **changed) if stored else None)
    return make.ask("time", seen, dataclasses.replace(reference, baseline=base))


@pytest.mark.parametrize(
    ("now", "stored", "reason"),
    [
        (1.33, (1.33,), "time.ratio_same"),
        (1.30, (1.33, 1.34, 1.32), "time.ratio_same"),
        (1.15, (1.33,), "time.ratio_worse"),
        (1.15, (1.33, 1.34, 1.32, 1.33, 1.33, 1.335), "time.ratio_worse"),
        (1.60, (1.33,), "time.ratio_better"),
    ],
)
def test_a_ratio_is_held_against_those_of_the_baseline(now: float, stored: tuple[float, ...], reason: str) -> None:
    assert judged(now, *stored).reason == reason


def test_the_plain_time_says_nothing_where_there_is_a_ratio() -> None:
    assert judged(1.33, 1.33, median_s=30.0).reason == "time.ratio_same"
    assert not judged(1.33, median_s=30.0).reason.startswith("time.ratio")


def test_a_message_has_the_figures_and_the_stage() -> None:
    worse = judged(1.10, 1.33)
    assert "1.330 -> 1.100 times as fast as the reference (-17 %), 1 run in the baseline" in worse.message
    assert worse.changes == ("denoise: 1.408 -> 1.121 times as fast as the reference's",)
    assert worse.details["ratio_change_rel"] == pytest.approx(1.10 / 1.33 - 1)


@pytest.mark.parametrize(("distance", "expected"), [("machine", "worse"), ("family", "worse"), ("any", "same")])
def test_the_tolerance_widens_with_the_distance(distance: Distance, expected: str) -> None:
    assert judged(1.10, 1.33, distance=distance).decision == expected
    assert judged(0.95, 1.33, distance=distance).decision == "worse"


def test_other_settings_are_another_machine_of_the_same_kind() -> None:
    other = make.environment(settings={"threads": 2, "attention_backend": "native"})
    assert judged(1.19, 1.33).decision == "worse"
    assert judged(1.19, 1.33, env=other).decision == "same"
    assert judged(1.19, 1.33, env=other).details["distance"] == "family"


def test_a_green_gate_would_have_seen_what_it_says() -> None:
    green = judged(1.33, 1.33)
    seen_rel = green.details["detectable_rel"]
    assert judged(1.33 / (1 + seen_rel), 1.33).decision == "worse"
    assert f"would have seen +{100 * seen_rel:.0f} %" in green.message


def test_a_wide_interval_is_no_sameness() -> None:
    assert judged(ratio(1.33, error=0.2), 1.33).reason == "time.ratio_blind"
    assert judged(1.33, 1.33, error=0.3).reason == "time.ratio_blind"


def test_runs_that_differ_allow_more() -> None:
    close = judged(1.33, 1.32, 1.33, 1.34).details["allowed_rel"]
    far = judged(1.33, 1.20, 1.33, 1.50).details["allowed_rel"]
    assert far > 3 * close


def test_another_reference_is_never_compared() -> None:
    other = Case(id=FULL.id, definition=make.definition(cfg_trunc_ratio=0.7))
    answer = judged(ratio(1.33, reference=other), 1.33)
    assert answer.reason == "time.ratio_reference"
    assert answer.changes == ("arguments.cfg_trunc_ratio: 1.0 -> 0.7",)
    renamed = judged(ratio(1.33, reference=Case(id="case#all", definition=FULL.definition)), 1.33)
    assert renamed.changes == ("case: case#full -> case#all",)


def test_parallel_processes_spoil_a_ratio_too() -> None:
    crowded = make.environment(state={"xdist_workers": 4})
    assert judged(1.33, 1.33, env=crowded).reason == "time.parallel"


def _alarms(count: int, spread: float, error: float, seeds: Sequence[int]) -> float:
    alarms = 0
    for seed in seeds:
        draw = random.Random(seed)
        drawn = [1.33 * math.exp(draw.gauss(0, spread) + draw.gauss(0, error)) for _ in range(count + 1)]
        answer = judged(ratio(drawn[0], error=error), *drawn[1:], error=error)
        alarms += answer.decision in ("worse", "better")
    return alarms / len(seeds)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 10])
def test_equal_code_is_hardly_ever_called_otherwise(count: int) -> None:
    # Two sides at a chance of one in a thousand each, and the practical floor on top.
    assert _alarms(count, spread=0.02, error=0.01, seeds=range(400)) <= 0.01
