"""What a report says of the environment: which facts differ from those of the baseline's newest run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from judge_factories import environment, reference, run

if TYPE_CHECKING:
    from pytest_diffbench.records import Environment

_HARDWARE = {"cpu": "AMD EPYC", "cpu_family": "25", "cpu_model": "1", "caches": "L2 512K", "memory_gib": 24}


def _changes(before: Environment, after: Environment) -> tuple[str, ...]:
    return reference(runs=[run(12.0, env=before)]).changed_since(after)


def test_a_foreign_class_of_machine_is_a_single_change_with_the_facts() -> None:
    before = environment(machine="cpu-amd-1", hardware=_HARDWARE, software={"torch": "2.12.0"})
    other = {"cpu": "Intel", "cpu_family": "6", "cpu_model": "207", "caches": "L2 2048K", "memory_gib": 24}
    after = environment(machine="cpu-intel-2", hardware=other, software={"torch": "2.13.0"})

    assert _changes(before, after) == (
        "machine cpu-amd-1 -> cpu-intel-2 (cpu, cpu_family, cpu_model, caches)",
        "torch 2.12.0 -> 2.13.0",
    )


def test_a_fact_or_two_of_the_hardware_are_reported_with_their_values() -> None:
    before = environment(machine="cuda-1", hardware={"device": "H200", "power_limit_w": 700})
    after = environment(machine="cuda-2", hardware={"device": "H200", "power_limit_w": 600})

    assert _changes(before, after) == ("power_limit_w 700 -> 600",)


def test_what_is_missing_on_a_side_is_reported() -> None:
    before = environment(software={"torch": "2.13.0", "accelerate": "1.15.0"}, settings={})
    after = environment(software={"torch": "2.13.0"}, settings={"threads": 2})

    assert _changes(before, after) == ("threads absent -> 2", "accelerate 1.15.0 -> absent")


@pytest.mark.parametrize(("before", "after"), [("native", None), (None, "native"), ("native", "native")])
def test_an_attention_backend_that_a_side_does_not_tell_is_no_change(before: str | None, after: str | None) -> None:
    sides = [environment(software={"attention_backend": backend}) for backend in (before, after)]
    assert _changes(*sides) == ()
    assert _changes(sides[0], environment(software={"attention_backend": "flash"})) == (
        () if before is None else ("attention_backend native -> flash",)
    )
