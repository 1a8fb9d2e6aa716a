"""The memory gate: thresholds by source, the stage that carries a change, and what isn't comparable."""

from __future__ import annotations

from typing import Any

import judge_factories as make
import pytest

from pytest_diffbench.records import Memory, StageMemory

GIB, MIB = make.GIB, make.MIB


def judged(now: Memory, base: Memory | None = None, **changed: Any) -> Any:
    observation = make.observation(memory=now)
    return make.ask("memory", observation, make.reference(make.observation(memory=base or make.memory()), **changed))


def bare(peak_bytes: int, **changed: Any) -> Memory:
    return make.memory(peak_bytes, stages={}, **changed)


@pytest.mark.parametrize(
    ("source", "base_bytes", "growth_bytes", "decision"),
    [
        ("cuda_allocator", 8 * GIB, 8 * GIB // 50, "same"),
        ("cuda_allocator", 8 * GIB, 8 * GIB // 50 + 1, "worse"),
        ("cuda_allocator", 8 * GIB, -8 * GIB // 49, "better"),
        ("device_allocator", 10 * MIB, 8 * MIB, "same"),
        ("device_allocator", 10 * MIB, 8 * MIB + 1, "worse"),
        ("process_rss", 8 * GIB, 2 * GIB, "same"),
        ("process_rss", 8 * GIB, 2 * GIB + 1, "worse"),
        ("process_rss", GIB // 2, 256 * MIB, "same"),
        ("process_rss", GIB // 2, -256 * MIB - 1, "better"),
    ],
)
def test_limits_by_source(source: Any, base_bytes: int, growth_bytes: int, decision: str) -> None:
    now = bare(base_bytes + growth_bytes, source=source, reserved_bytes=None)
    answer = judged(now, bare(base_bytes, source=source, reserved_bytes=None))
    assert answer.decision == decision
    assert ("Rough" in answer.message) == (source == "process_rss")


def test_a_pass_says_what_would_have_been_detected() -> None:
    answer = judged(make.memory())
    assert answer.message == "Same memory: peak 8.00 GiB. A change of 164 MiB (+2.0 %) would have been detected."


def test_the_stage_with_the_new_peak_carries_the_change() -> None:
    stages = make.memory().stages | {"denoise": StageMemory(peak_bytes=10 * GIB)}
    answer = judged(make.memory(10 * GIB, stages=stages))
    assert answer.reason == "memory.peak"
    assert "Most of it in denoise (7.00 GiB -> 10.0 GiB (+43 %))" in answer.message
    assert "denoise: peak 7.00 GiB -> 10.0 GiB (+43 %)" in answer.changes


def test_a_smaller_peak_names_the_stage_behind_the_fall() -> None:
    answer = judged(make.memory(7 * GIB))
    assert answer.decision == "better"
    assert "Most of it in vae_decode (8.00 GiB -> 7.00 GiB (-12 %))" in answer.message


def test_a_stage_below_the_peak_is_judged_where_the_source_is_exact() -> None:
    stages = make.memory().stages | {"text_encode": StageMemory(peak_bytes=8 * GIB)}
    assert judged(make.memory(stages=stages)).reason == "memory.stage"
    rough = judged(make.memory(stages=stages, source="process_rss"), make.memory(source="process_rss"))
    assert rough.reason == "memory.same"


def test_a_stage_on_a_single_side_is_reported() -> None:
    answer = judged(make.memory(stages={"denoise": StageMemory(peak_bytes=7 * GIB)}))
    assert answer.decision == "same"
    assert "vae_decode: memory not measured in this run" in answer.changes


def test_reservation_is_reported_first_and_judged_beyond_a_tenth() -> None:
    verdict = judged(make.memory(reserved_bytes=9 * GIB + GIB // 2))
    assert verdict.decision == "same"
    assert "reserved: 9.00 GiB -> 9.50 GiB (+5.6 %)" in verdict.changes
    assert judged(make.memory(reserved_bytes=10 * GIB)).reason == "memory.reserved"


def test_differing_facts_are_named() -> None:
    env = make.environment(hardware={"name": "another", "memory_bytes": 16 * GIB})
    observation = make.observation(run=make.run(env=env))
    answer = make.ask("memory", observation, make.reference())
    assert "name: 'test processor' -> 'another'" in answer.message
    software = make.observation(run=make.run(env=make.environment(software={"torch": "2.14.0"})))
    assert make.ask("memory", software, make.reference()).decision == "same"


def test_a_baseline_without_memory_is_no_baseline() -> None:
    assert judged(make.memory(), memory=None).reason == "memory.no_baseline"


@pytest.mark.parametrize("source", ["process_rss", "cuda_allocator"])
@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (6 * 2**20, 18 * 2**20, "memory.workspace"),
        (6 * 2**20, 6 * 2**20 + 125829, "memory.same"),
        (6 * 2**20, 6 * 2**20 + 125830, "memory.workspace"),
        (2**10, 2**10 + 2**16, "memory.same"),
        (2**10, 2**10 + 2**16 + 1, "memory.workspace"),
        (18 * 2**20, 6 * 2**20, "memory.same"),
        (None, 18 * 2**20, "memory.same"),
        (6 * 2**20, None, "memory.same"),
    ],
)
def test_tensors_allocated_by_a_stage(source: Any, before: int | None, after: int | None, reason: str) -> None:
    """A decoder with three times the workspace, in a resident set that it hardly shows in."""
    kept, measured = (
        make.memory(
            source=source,
            stages={
                "denoise": StageMemory(peak_bytes=7 * make.GIB, workspace_bytes=2**20),
                "vae_decode": StageMemory(peak_bytes=8 * make.GIB, workspace_bytes=workspace),
            },
        )
        for workspace in (before, after)
    )
    answer = make.ask("memory", make.observation(memory=measured), make.reference(make.observation(memory=kept)))
    assert answer.reason == reason
    if reason == "memory.workspace":
        assert "More memory for a stage's tensors: vae_decode" in answer.message
        assert "denoise" not in answer.message
    if after == 18 * 2**20 and before:
        assert "vae_decode: tensors made 6.00 MiB -> 18.0 MiB (+200 %)" in answer.changes
    assert ("of a stage's tensors 2 % (at least 64.0 KiB)" in answer.message) == (reason == "memory.same")
