"""The work gate: what it names, which way it decides, and what it lets through."""

from __future__ import annotations

from typing import Any

import judge_factories as make
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_diffbench.judge import REASONS
from pytest_diffbench.judge.calls import call_differences
from pytest_diffbench.records import CallGroup, format_steps

COND, UNCOND = make.group("cond", "0-29"), make.group("uncond", "0-14")


def judged(*groups: CallGroup, against: Any = None, **changed: Any) -> Any:
    observation = make.observation(work=make.work(groups or None, **changed))
    return make.ask("work", observation, against or make.reference())


def test_equal_work_lists_the_work() -> None:
    answer = judged()
    assert answer.message == (
        "Same work: 45 denoiser calls in 30 steps, 812.5 TFLOP. Any change would have been detected."
    )
    assert answer.changes == ()


def test_grouping_and_order_of_calls_dont_matter() -> None:
    assert judged(UNCOND, make.group("cond", "10-29"), make.group("cond", "0-9")).reason == "work.same"


def test_ignored_truncation_is_named_with_branch_and_steps() -> None:
    answer = judged(COND, make.group("uncond", "0-29"))
    assert "15 unconditional transformer calls that the baseline did not make (steps 15-29)" in answer.message
    assert "45 -> 60 denoiser calls" in answer.message
    assert answer.details.denoiser_calls == (45, 60)


def test_a_repeated_call_is_named() -> None:
    answer = judged(COND, make.group("cond", "7"), UNCOND)
    assert "conditional transformer calls at step 7: 1 -> 2" in answer.message


def test_less_work_is_better_but_points_at_the_other_gates() -> None:
    answer = judged(COND, make.group("uncond", "0-9"))
    assert answer.decision == "better"
    assert "5 unconditional transformer calls of the baseline not made (steps 10-14)" in answer.message
    assert "output and guidance gates" in REASONS[answer.reason].remedy


def test_a_mix_of_more_and_less_is_worse_and_says_both() -> None:
    calls = make.work().component_calls | {"vae.decode": 2, "text_encoder": 1}
    answer = judged(component_calls=calls)
    assert (answer.decision, answer.reason) == ("worse", "work.component_calls")
    assert "vae.decode calls: 1 -> 2" in answer.message
    assert "text_encoder calls: 2 -> 1" in answer.message


def test_joint_calls_in_place_of_two_are_less_at_no_higher_cost() -> None:
    guided, plain = make.group("joint", "0-14", batch=2, flops=36 * make.TFLOP), make.group("cond", "15-29")
    answer = judged(guided, plain)
    assert answer.reason == "work.less"
    assert "15 joint transformer calls that the baseline did not make (steps 0-14)" in answer.message
    assert "45 -> 30 denoiser calls" in answer.message


def test_joint_calls_costing_more_than_two_are_a_different_use_of_branches() -> None:
    guided, plain = make.group("joint", "0-14", batch=2, flops=37 * make.TFLOP), make.group("cond", "15-29")
    answer = judged(guided, plain)
    assert answer.reason == "work.branches"
    assert "15 joint transformer calls that the baseline did not make (steps 0-14)" in answer.message
    assert "15 unconditional transformer calls of the baseline not made (steps 0-14)" in answer.message


@pytest.mark.parametrize(
    ("flops", "reason"),
    [(18, "work.shapes"), (17, "work.less"), (19, "work.shapes")],
)
def test_changed_shapes_go_by_their_flops(flops: int, reason: str) -> None:
    shapes = make.SHAPES | {"encoder_hidden_states": (1, 128, 64)}
    changed = [make.group(branch, steps, shapes=shapes, flops=flops * make.TFLOP)
               for branch, steps in (("cond", "0-29"), ("uncond", "0-14"))]  # fmt: skip
    answer = judged(*changed)
    assert answer.reason == reason
    assert (
        "conditional transformer inputs at steps 0-29: encoder_hidden_states shape (1, 256, 64) -> (1, 128, 64)"
        in answer.message
    )


def test_a_changed_batch_and_an_absent_argument_are_named() -> None:
    shapes = {"hidden_states": make.SHAPES["hidden_states"]}
    answer = judged(make.group("cond", "0-29", batch=2, shapes=shapes), UNCOND)
    assert "conditional transformer inputs at steps 0-29: batch 1 -> 2, " in answer.message
    assert "encoder_hidden_states shape (1, 256, 64) -> absent" in answer.message


def test_a_single_flop_shows() -> None:
    flops = make.work().flops
    answer = judged(flops=flops | {"vae.decode": flops["vae.decode"] + 1})
    assert answer.reason == "work.flops"
    assert "vae.decode: 2.000 TFLOP -> 2.000 TFLOP (+1 FLOP)" in answer.message


@pytest.mark.parametrize("where", [{"family": "cuda"}, {"software": {"torch": "2.12.0"}}, {"software": {}}])
@pytest.mark.parametrize(("factor", "reason"), [(1.009, "work.same"), (1.02, "work.flops"), (0.98, "work.less")])
def test_flops_get_an_allowance_under_a_different_torch_or_family(where: Any, factor: float, reason: str) -> None:
    flops = {name: int(count * factor) for name, count in make.work().flops.items()}
    against = make.reference(runs=[make.run(env=make.environment(**where))], distance="any")
    answer = judged(flops=flops, against=against)
    assert answer.reason == reason
    if reason == "work.same":
        assert "FLOPs beyond 1 % only" in answer.message


def test_the_newest_run_names_the_torch_of_the_baseline() -> None:
    old, new = make.run(env=make.environment(software={"torch": "2.12.0"})), make.run()
    flops = {name: int(count * 1.005) for name, count in make.work().flops.items()}
    assert judged(flops=flops, against=make.reference(runs=[old, new])).reason == "work.flops"
    assert judged(flops=flops, against=make.reference(runs=[new, old])).reason == "work.same"


def test_fewer_recognised_attention_parameters_are_only_reported() -> None:
    answer = judged(attention_parameters={"transformer": 0})
    assert answer.decision == "same"
    assert "parameters recognised as attention: 1,000,000 -> 0" in answer.changes[0]


def test_nothing_observed_on_both_sides_is_never_the_same() -> None:
    empty = make.work([], component_calls={}, flops={})
    observation = make.observation(work=empty)
    assert make.ask("work", observation, make.reference(observation)).reason == "work.not_seen"


def test_a_baseline_without_work_is_no_baseline() -> None:
    assert judged(against=make.reference(work=None)).reason == "work.no_baseline"


calls = st.lists(
    st.tuples(st.sampled_from(["cond", "uncond"]), st.integers(0, 5), st.integers(1, 2), st.integers(1, 3)),
    max_size=12,
)


def groups_of(drawn: list[tuple[str, int, int, int]]) -> list[CallGroup]:
    return [
        make.group(branch, format_steps([step]), batch=batch, flops=flops) for branch, step, batch, flops in drawn
    ]


@given(calls, st.randoms())
def test_the_same_calls_in_any_order_never_differ(drawn: list[tuple[str, int, int, int]], random: Any) -> None:
    shuffled = list(drawn)
    random.shuffle(shuffled)
    assert call_differences(groups_of(drawn), groups_of(shuffled)) == []


@given(calls, calls)
def test_different_calls_always_differ_and_mirror(a: Any, b: Any) -> None:
    there, back = call_differences(groups_of(a), groups_of(b)), call_differences(groups_of(b), groups_of(a))
    assert bool(there) == (sorted(a) != sorted(b))
    mirrored = {"more": "less", "less": "more", "other": "other"}
    assert sorted(mirrored[finding.direction] for finding in there) == sorted(finding.direction for finding in back)
