"""A variant is inert only if nothing that was seen differs: each difference takes the word back."""

from __future__ import annotations

from typing import Any

import judge_factories as make
import msgspec
import pytest

from pytest_diffbench.judge.gains import is_inert
from pytest_diffbench.records import Engagement, Operator, Profile, Speedup, StageMemory

AS_FAST = Speedup(value=1.0, low=0.98, high=1.02)
OPERATORS = {"transformer": {"add": 10}}
CACHE = Engagement(component="transformer", kind="cache", name="FirstBlockCache", layers=2, active=0, chances=29)
STAGES = {"denoise": StageMemory(peak_bytes=9, workspace_bytes=8)}
REFERENCE = make.observation(
    work=make.work(operators=OPERATORS), output=make.output(make.BASE_IMAGE), memory=make.memory(stages=STAGES)
)


def with_work(**changed: Any) -> Any:
    return make.observation(
        work=make.work(**{"operators": OPERATORS, **changed}),
        output=make.output(make.BASE_IMAGE),
        memory=make.memory(stages=STAGES),
    )


def profile(*names: str) -> Profile:
    rows = tuple(Operator(name=name, stage="denoise", calls=1, self_s=0.1) for name in names)
    return Profile(kind="device", total_s=1.0, operators=rows)


def test_equal_in_all_is_inert() -> None:
    assert is_inert(REFERENCE, REFERENCE, AS_FAST) is True


def test_an_attached_cache_without_hits_is_inert() -> None:
    assert is_inert(with_work(engagements=(CACHE,)), REFERENCE, AS_FAST) is True


def test_added_operators_are_no_effect() -> None:
    assert is_inert(with_work(operators={"transformer": {"add": 11, "mean": 3}}), REFERENCE, AS_FAST) is True


def test_slower_is_inert_too() -> None:
    assert is_inert(REFERENCE, REFERENCE, Speedup(value=0.9, low=0.85, high=0.95)) is True


@pytest.mark.parametrize(
    "variant",
    [
        with_work(operators={"transformer": {"add": 9}}),
        with_work(flops=make.work().flops | {"vae.decode": 1}),
        with_work(uncounted={"sage::attention": 4}),
        with_work(engagements=(msgspec.structs.replace(CACHE, skipped=4, skipped_steps="1"),)),
        with_work(engagements=(msgspec.structs.replace(CACHE, kind="compile", active=1),)),
        msgspec.structs.replace(REFERENCE, output=make.output(make.noisy(make.BASE_IMAGE, 1))),
        msgspec.structs.replace(
            REFERENCE, memory=make.memory(stages={"denoise": StageMemory(peak_bytes=1, workspace_bytes=7)})
        ),
    ],
    ids=["operators", "flops", "uncounted", "cache", "compiled", "output", "workspace"],
)
def test_any_difference_is_an_effect(variant: Any) -> None:
    assert is_inert(variant, REFERENCE, AS_FAST) is False


def test_a_gain_beyond_chance_is_an_unobserved_effect() -> None:
    assert is_inert(REFERENCE, REFERENCE, Speedup(value=1.2, low=1.1, high=1.3)) is False


def test_other_latents_are_an_effect_invisible_in_the_picture() -> None:
    assert is_inert(REFERENCE, REFERENCE, AS_FAST, same_latents=False) is False


def test_other_kernels_are_an_effect_where_both_were_looked_at() -> None:
    flash = msgspec.structs.replace(REFERENCE, profile=profile("flash"))
    plain = msgspec.structs.replace(REFERENCE, profile=profile("math"))
    assert is_inert(flash, plain, AS_FAST) is False
    assert is_inert(flash, flash, AS_FAST) is True
    assert is_inert(flash, REFERENCE, AS_FAST) is True


@pytest.mark.parametrize("part", ["work", "output"])
def test_what_was_not_observed_is_not_judged(part: str) -> None:
    assert is_inert(msgspec.structs.replace(REFERENCE, **{part: None}), REFERENCE, AS_FAST) is None
    uncounted = msgspec.structs.replace(REFERENCE, work=make.work())
    assert is_inert(uncounted, uncounted, AS_FAST) is None
