"""Thresholds that a test changes for its case: what may be given, what it does to the judge, and its history."""

from __future__ import annotations

from typing import Any

import judge_factories as make
import pytest

from pytest_diffbench.judge import Limits
from pytest_diffbench.judge.output.loosening import (
    TOLERANCES,
    checked,
    history_with,
    limit_fields,
    looser_than_default,
    pending_changes,
)
from pytest_diffbench.judge.output.tolerance import tolerance
from pytest_diffbench.outputs.metrics import METRICS, OPTIONAL
from pytest_diffbench.records import RerunNoise, ToleranceChange
from pytest_diffbench.report.sentences.output import tolerance_change

WHEN = "2026-01-31T00:00:00Z"
AGREEING = RerunNoise(rounds=5, identical=True)
LOOSER = {"psnr_db": 35, "tile_p99_levels": 24.0}


def limits(given: dict[str, float], reason: str | None = "int8 attention") -> Limits:
    return Limits(**limit_fields(checked(given), reason))


def test_every_threshold_of_the_local_machine_can_be_changed() -> None:
    default = tolerance("machine", AGREEING, AGREEING, Limits(), OPTIONAL)
    allowed = default.figures() | default.parts
    assert set(TOLERANCES) == {*allowed, "trace_first_rel"}
    for name in allowed:
        changed = tolerance("machine", AGREEING, AGREEING, limits({name: 1}), OPTIONAL)
        assert changed.figures() | changed.parts == allowed | {name: 1}


def test_a_different_machine_is_never_left_stricter() -> None:
    far = tolerance("any", AGREEING, AGREEING, limits({"psnr_db": 25, "colour_levels": 2, "ssim": 0.9}))
    assert (far.images["psnr_db"], far.images["colour_levels"], far.images["ssim"]) == (
        25,
        METRICS["colour_levels"].drift,
        0.9,
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "is a dict of thresholds such as {'psnr_db': 35}"),
        ("psnr_db=35", "is a dict"),
        ({"psnr": 35}, "has no threshold 'psnr' (did you mean 'psnr_db'?): there are psnr_db, "),
        ({"psnr_db": "35"}, "psnr_db='35', which isn't a number"),
        ({"psnr_db": True}, "isn't a number"),
        ({"psnr_db": float("nan")}, "isn't at least 0"),
        ({"ssim": 1.5}, "ssim=1.5, which isn't from 0 to 1"),
        ({"colour_levels": -1}, "isn't from 0 to 255"),
        ({"hash_bits": 4.5}, "isn't a whole number"),
    ],
)
def test_what_cant_be_a_tolerance_says_so(given: Any, words: str) -> None:
    with pytest.raises(ValueError, match=r"threshold|number|from|least") as caught:
        checked(given)
    assert words in str(caught.value)


def test_looser_is_less_for_likeness_and_more_for_distance() -> None:
    given = {"psnr_db": 35, "ssim": 0.99, "colour_levels": 2.0, "seam_levels": 1.0, "hash_bits": 4}
    assert looser_than_default(checked(given)) == [("psnr_db", 40, 35), ("colour_levels", 1, 2)]


def test_the_history_grows_by_what_changed_and_says_why() -> None:
    first = history_with(limits(LOOSER), (), WHEN)
    assert [tolerance_change(line) for line in first] == [
        "tolerance psnr_db 40 -> 35 since 2026-01-31: int8 attention",
        "tolerance tile_p99_levels 8 -> 24 since 2026-01-31: int8 attention",
    ]
    assert history_with(limits(LOOSER), first, WHEN) == first
    second = history_with(limits({"psnr_db": 30}, "fewer steps"), first, WHEN)
    assert [tolerance_change(line).partition(" since")[0] for line in second[2:]] == [
        "tolerance psnr_db 35 -> 30",
        "tolerance tile_p99_levels 24 -> 8",
    ]
    last = history_with(Limits(), second, WHEN)
    assert last[-1] == ToleranceChange(
        changed=WHEN, limit="psnr_db", before=30, after=40, reason="back to the default"
    )
    assert history_with(limits({"psnr_db": 45}, None), (), WHEN)[0].reason.startswith("stricter")


def test_a_verdict_lists_the_history_and_the_gaps() -> None:
    image = make.noisy(make.BASE_IMAGE, 3)  # about 38 dB
    observation = make.observation(output=make.output(image))
    strict = make.ask("output", observation, make.reference(), returned=make.artifacts(image))
    assert strict.reason == "output.differs"
    given = limits(
        {"psnr_db": 35, "tile_p99_levels": 24, "p999_levels": 24, "colour_levels": 3, "ssim": 0.8, "tile_ssim": 0.7}
    )
    loose = make.ask("output", observation, make.reference(), returned=make.artifacts(image), limits=given)
    assert loose.reason == "output.within_tolerance", loose.message
    assert "PSNR 35 dB" in loose.message
    assert (
        "tolerance psnr_db 40 -> 35: int8 attention (not in the baseline's history yet; the next save adds it)"
        in loose.changes
    )
    kept = make.reference(tolerances=history_with(given, (), WHEN))
    same = make.ask("output", make.observation(), kept, limits=given)
    assert same.reason == "output.same_bits"
    assert "tolerance psnr_db 40 -> 35 since 2026-01-31: int8 attention" in same.changes


def test_a_case_with_defaults_has_nothing_to_tell() -> None:
    assert pending_changes(Limits(), ()) == ()
