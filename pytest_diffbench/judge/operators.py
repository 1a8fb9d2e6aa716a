"""Compares what the same calls, shapes and FLOPs made torch and Python do."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pytest_diffbench.judge.calls import direction
from pytest_diffbench.records import ATTENTION, MASKED_ATTENTION
from pytest_diffbench.records.details import CountChange, WorkDifference

if TYPE_CHECKING:
    from collections.abc import Collection

    from pytest_diffbench.judge.gate_input import GateInput
    from pytest_diffbench.records import Environment, Work

_MOST_NAMES = 4


def operator_differences(
    gate_input: GateInput, now: Work, base: Work, explained: Collection[str] | None
) -> list[WorkDifference]:
    """What differs where nothing else does. `explained` are components that differ already, None all.

    Masks of attention, and what was compiled, are a matter of the call, and exact. Operators are exact for one
    release of torch, diffusers and transformers, and compared by their sum, within an allowance, for others; not at
    all on another kind of device, where other kernels serve. Calls of Python functions are compared for one release
    of Python and torch.
    """
    differences = _compiled(base, now)
    if explained is None:
        return differences
    allowed_rel = operators_allowed_rel(gate_input)
    for name in sorted((base.operators.keys() & now.operators.keys()) - set(explained)):
        before, after = Counter(base.operators[name]), Counter(now.operators[name])
        differences += _masks(name, before, after)
        if allowed_rel is not None and before != after:
            differences += _operators(name, before, after, allowed_rel)
    python_rel = python_calls_allowed_rel(gate_input)
    if not explained and python_rel is not None:
        differences += _python_calls(base.python_calls, now.python_calls, python_rel)
    return differences


def operators_allowed_rel(gate_input: GateInput) -> float | None:
    """By what share a component's operators may differ; None where they aren't compared."""
    old, new = gate_input.baseline.baseline.runs[-1].environment, gate_input.observation.run.environment
    if old.family != new.family:
        return None
    exact = _same_software(old, new, "torch", "diffusers", "transformers")
    return 0.0 if exact else gate_input.limits.operators_other_software_rel


def python_calls_allowed_rel(gate_input: GateInput) -> float | None:
    """By what share calls of Python functions may grow; None where they aren't compared."""
    old, new = gate_input.baseline.baseline.runs[-1].environment, gate_input.observation.run.environment
    return gate_input.limits.python_calls_rel if _same_software(old, new, "python", "torch") else None


def _same_software(old: Environment, new: Environment, *names: str) -> bool:
    return all(old.software.get(name) == new.software.get(name) for name in names)


def _compiled(base: Work, now: Work) -> list[WorkDifference]:
    """What torch compiled, where it did so in both measurements: else an earlier one in the process had done it."""
    if not base.compiled or not now.compiled:
        return []
    return [
        WorkDifference(kind="compiled", direction=direction(before, after), name=name, before=before, after=after)
        for name in sorted(base.compiled.keys() | now.compiled.keys())
        if (before := base.compiled.get(name, 0)) != (after := now.compiled.get(name, 0))
    ]


def _masks(name: str, before: Counter[str], after: Counter[str]) -> list[WorkDifference]:
    old, new = before[MASKED_ATTENTION], after[MASKED_ATTENTION]
    calls = new + after[ATTENTION]
    if old == new or calls != old + before[ATTENTION]:
        return []
    return [
        WorkDifference(
            kind="attention_mask",
            direction=direction(old, new),
            component=name,
            before=old,
            after=new,
            of_calls=calls,
        )
    ]


def _operators(name: str, before: Counter[str], after: Counter[str], allowed_rel: float) -> list[WorkDifference]:
    old, new = before.total(), after.total()
    if allowed_rel and abs(new - old) <= allowed_rel * max(new, old):
        return []
    changed = sorted(before.keys() | after.keys(), key=lambda key: (-abs(after[key] - before[key]), key))
    counts = [
        CountChange(name=key, before=before[key], after=after[key]) for key in changed if before[key] != after[key]
    ]
    return [
        WorkDifference(
            kind="operators",
            direction=direction(old, new),
            component=name,
            before=old,
            after=new,
            counts=tuple(counts[:_MOST_NAMES]),
            further_counts=max(len(counts) - _MOST_NAMES, 0),
        )
    ]


def _python_calls(before: dict[str, int], after: dict[str, int], allowed_rel: float) -> list[WorkDifference]:
    old, new = sum(before.values()), sum(after.values())
    if not old or not new or abs(new - old) <= allowed_rel * old:
        return []
    most = max(before.keys() | after.keys(), key=lambda key: abs(after.get(key, 0) - before.get(key, 0)))
    count = CountChange(name=most, before=before.get(most, 0), after=after.get(most, 0))
    return [
        WorkDifference(kind="python_calls", direction=direction(old, new), before=old, after=new, counts=(count,))
    ]
