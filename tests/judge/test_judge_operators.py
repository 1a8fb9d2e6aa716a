"""Operators, masks of attention, calls of Python functions and what was compiled, for the same calls and FLOPs."""

from __future__ import annotations

from typing import Any

import judge_factories as make
import pytest

from pytest_diffbench.records import ATTENTION, MASKED_ATTENTION

PLAIN = {"transformer": {ATTENTION: 17, "addmm": 100, "add": 60}, "vae.decode": {"convolution": 30}}
SOFTWARE = {"torch": "2.13.0", "diffusers": "0.42.1", "transformers": "5.23.0", "python": "3.11.7"}


def judged(now: dict[str, Any], before: dict[str, Any], **software: str) -> Any:
    """The work gate's answer, with versions of the software now that differ from `SOFTWARE`."""
    there, here = (make.environment(software=SOFTWARE | changed) for changed in ({}, software))
    observation = make.observation(work=make.work(**now), run=make.run(env=here))
    base = make.observation(work=make.work(**before), run=make.run(env=there))
    return make.ask("work", observation, make.reference(base, runs=[base.run]))


def operators(**changed: int) -> dict[str, Any]:
    names = {"masked": MASKED_ATTENTION}
    return {
        "operators": PLAIN
        | {"transformer": PLAIN["transformer"] | {names.get(name, name): count for name, count in changed.items()}}
    }


def test_equal_operators_are_reported_with_their_number() -> None:
    answer = judged({"operators": PLAIN}, {"operators": PLAIN})
    assert answer.reason == "work.same"
    assert "207 operators. Any change would have been detected" in answer.message


def test_a_baseline_without_operators_is_said_to_have_none() -> None:
    answer = judged({"operators": PLAIN}, {})
    assert answer.reason == "work.same"
    assert "Any change would have been detected (operators not at all: the baseline has none yet" in answer.message


def test_a_pass_says_what_would_not_have_been_detected() -> None:
    counted = {"operators": PLAIN, "python_calls": {"transformer": 1000}}
    assert "Any change would have been detected (Python calls beyond 5 % only)." in judged(counted, counted).message
    assert judged(counted, counted, diffusers="another").message.endswith(
        "Any change would have been detected (operators beyond 10 % only; Python calls beyond 5 % only)."
    )
    assert "Python calls" not in judged(counted, counted, torch="another").message


def test_more_operators_elsewhere_do_not_turn_a_fix_of_guidance_into_a_regression() -> None:
    cond, few = make.group("cond", "0-29"), make.group("uncond", "0-6")
    there: dict[str, Any] = {"operators": PLAIN}
    here: dict[str, Any] = {"operators": PLAIN | {"vae.decode": {"convolution": 30, "clone": 1}}}
    base = make.observation(work=make.work((cond, few), **there))
    answer = make.ask("work", make.observation(work=make.work(**here)), make.reference(base))
    assert answer.reason == "work.baseline_not_as_asked"
    assert "vae.decode operators: 30 -> 31 (clone 0 -> 1)" in answer.message


def test_a_different_operator_is_named_with_the_component() -> None:
    answer = judged(operators(add=64, clone=1), operators())
    assert (answer.decision, answer.reason) == ("unsure", "work.operators")
    assert "transformer operators: 177 -> 182 (add 60 -> 64, clone 0 -> 1)" in answer.message
    assert "vae" not in answer.message


def test_as_many_others_are_noticed() -> None:
    assert judged(operators(add=59, sub=1), operators()).reason == "work.operators"


def test_fewer_operators_are_the_same_and_reported() -> None:
    answer = judged(operators(add=40), operators())
    assert answer.reason == "work.same"
    assert "207 -> 187 operators" in answer.message
    assert answer.changes == ("transformer operators: 177 -> 157 (add 60 -> 40)",)


@pytest.mark.parametrize(
    ("attention", "masked", "reason"), [(1, 16, "work.attention_mask"), (17, 0, "work.same"), (10, 0, "work.same")]
)
def test_masks_are_worse_only_with_as_many_calls(attention: int, masked: int, reason: str) -> None:
    answer = judged(operators(attention=attention, masked=masked), operators())
    assert answer.reason == reason
    if masked:
        assert "transformer attention calls with a mask: 0 -> 16 of 17" in answer.message


def test_a_mask_less_is_less_work() -> None:
    assert judged(operators(), operators(attention=1, masked=16)).reason == "work.less"


@pytest.mark.parametrize("package", ["torch", "diffusers", "transformers"])
@pytest.mark.parametrize(("add", "reason"), [(76, "work.same"), (90, "work.operators")])
def test_a_different_release_is_allowed_a_tenth(package: str, add: int, reason: str) -> None:
    assert judged(operators(add=add), operators(), **{package: "another"}).reason == reason


def test_operators_of_a_different_kind_of_device_are_not_compared() -> None:
    observation = make.observation(
        work=make.work(**operators(add=600)), run=make.run(env=make.environment(family="cuda"))
    )
    base = make.observation(work=make.work(**operators()), run=make.run(env=make.environment(family="cpu")))
    assert make.ask("work", observation, make.reference(base, runs=[base.run])).reason == "work.same"


@pytest.mark.parametrize(
    ("calls", "software", "reason"),
    [
        (1051, {}, "work.python_calls"),
        (1050, {}, "work.same"),
        (500, {}, "work.same"),
        (9000, {"python": "3.13.0"}, "work.same"),
        (9000, {"torch": "2.14.0"}, "work.same"),
        (9000, {"diffusers": "0.43.0"}, "work.python_calls"),
    ],
)
def test_python_calls_may_grow_by_a_twentieth(calls: int, software: dict[str, str], reason: str) -> None:
    before = {"python_calls": {"transformer": 900, "pipeline": 100}}
    answer = judged({"python_calls": {"transformer": calls - 100, "pipeline": 100}}, before, **software)
    assert answer.reason == reason
    if reason != "work.same":
        assert f"Python function calls: 1,000 -> {calls:,}" in answer.message
        assert f"most in transformer 900 -> {calls - 100:,}" in answer.message


@pytest.mark.parametrize("missing", ["here", "in the baseline"])
def test_what_a_side_lacks_is_not_compared(missing: str) -> None:
    full = {"operators": PLAIN, "python_calls": {"transformer": 1000}, "compiled": {"graphs": 3}}
    sides: tuple[dict[str, Any], dict[str, Any]] = ({}, full) if missing == "here" else (full, {})
    answer = judged(*sides)
    assert (answer.reason, answer.changes) == ("work.same", ())


def test_consequences_of_other_differences_are_not_named() -> None:
    """A denoiser that costs more has other operators; a decoder's are still looked at."""
    more = {"flops": make.work().flops | {"vae.decode": 2 * make.TFLOP + 1}}
    answer = judged(more | operators(add=64), operators())
    assert answer.reason == "work.flops"
    assert [difference.component for difference in answer.details.differences] == ["vae.decode", "transformer"]
    changed = {"operators": PLAIN | {"vae.decode": {"convolution": 31}}}
    assert len(judged(more | changed, operators()).details.differences) == 1


def test_graph_breaks_are_worse_and_fewer_graphs_less() -> None:
    before = {"compiled": {"graphs": 4, "graph breaks": 1}}
    answer = judged({"compiled": {"graphs": 4, "graph breaks": 2}}, before)
    assert answer.reason == "work.compiled"
    assert "torch.compile graph breaks: 1 -> 2" in answer.message
    assert judged({"compiled": {"graphs": 3, "graph breaks": 1}}, before).reason == "work.less"
