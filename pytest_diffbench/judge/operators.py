"""Compares what the same calls, shapes and FLOPs made torch and Python do."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pytest_diffbench.judge.difference import Difference, direction
from pytest_diffbench.judge.text import percent
from pytest_diffbench.records import ATTENTION, MASKED_ATTENTION

if TYPE_CHECKING:
    from collections.abc import Collection

    from pytest_diffbench.judge.question import Question
    from pytest_diffbench.records import Environment, Work

_MOST_NAMES = 4


def operator_differences(
    question: Question, now: Work, base: Work, explained: Collection[str] | None
) -> list[Difference]:
    """What differs where nothing else does. `explained` are components that differ already, None all.

    Masks of attention, and what was compiled, are a matter of the call, and exact. Operators are exact for one
    release of torch, diffusers and transformers, and compared by their sum, within an allowance, for others; not at
    all on another kind of device, where other kernels serve. Calls of Python functions are compared for one release
    of Python and torch.
    """
    found = _compiled(base, now)
    if explained is None:
        return found
    allowed_rel = operators_allowed_rel(question)
    for name in sorted((base.operators.keys() & now.operators.keys()) - set(explained)):
        before, after = Counter(base.operators[name]), Counter(now.operators[name])
        found += _masks(name, before, after)
        if allowed_rel is not None and before != after:
            found += _operators(name, before, after, allowed_rel)
    python_rel = python_calls_allowed_rel(question)
    if not explained and python_rel is not None:
        found += _python_calls(base.python_calls, now.python_calls, python_rel)
    return found


def operators_allowed_rel(question: Question) -> float | None:
    """By what share a component's operators may differ; None where they aren't compared."""
    old, new = question.baseline.baseline.runs[-1].environment, question.observation.run.environment
    if old.family != new.family:
        return None
    exact = _same_software(old, new, "torch", "diffusers", "transformers")
    return 0.0 if exact else question.limits.operators_other_software_rel


def python_calls_allowed_rel(question: Question) -> float | None:
    """By what share calls of Python functions may grow; None where they aren't compared."""
    old, new = question.baseline.baseline.runs[-1].environment, question.observation.run.environment
    return question.limits.python_calls_rel if _same_software(old, new, "python", "torch") else None


def _same_software(old: Environment, new: Environment, *names: str) -> bool:
    return all(old.software.get(name) == new.software.get(name) for name in names)


def _compiled(base: Work, now: Work) -> list[Difference]:
    """What torch compiled, where it did so in both measurements: else an earlier one in the process had done it."""
    if not base.compiled or not now.compiled:
        return []
    return [
        Difference("compiled", direction(before, after), f"torch.compile: {name} {before} -> {after}")
        for name in sorted(base.compiled.keys() | now.compiled.keys())
        if (before := base.compiled.get(name, 0)) != (after := now.compiled.get(name, 0))
    ]


def _masks(name: str, before: Counter[str], after: Counter[str]) -> list[Difference]:
    old, new = before[MASKED_ATTENTION], after[MASKED_ATTENTION]
    calls = new + after[ATTENTION]
    if old == new or calls != old + before[ATTENTION]:
        return []
    text = f"{name}: attention is handed a mask in {old:,} -> {new:,} of its {calls:,} calls"
    return [Difference("attention_mask", direction(old, new), text, name)]


def _operators(name: str, before: Counter[str], after: Counter[str], allowed_rel: float) -> list[Difference]:
    old, new = before.total(), after.total()
    if allowed_rel and abs(new - old) <= allowed_rel * max(new, old):
        return []
    changed = sorted(before.keys() | after.keys(), key=lambda key: (-abs(after[key] - before[key]), key))
    named = [f"{one} {before[one]:,} -> {after[one]:,}" for one in changed if before[one] != after[one]]
    rest = len(named) - _MOST_NAMES
    also = f" and {rest} more kinds" if rest > 0 else ""
    text = f"{name}: {old:,} -> {new:,} operators ({', '.join(named[:_MOST_NAMES])}{also})"
    return [Difference("operators", direction(old, new), text, name)]


def _python_calls(before: dict[str, int], after: dict[str, int], allowed_rel: float) -> list[Difference]:
    old, new = sum(before.values()), sum(after.values())
    if not old or not new or abs(new - old) <= allowed_rel * old:
        return []
    most = max(before.keys() | after.keys(), key=lambda key: abs(after.get(key, 0) - before.get(key, 0)))
    where = f"most in {most}: {before.get(most, 0):,} -> {after.get(most, 0):,}"
    text = f"{old:,} -> {new:,} calls of Python functions ({percent(new / old - 1)}, {where})"
    return [Difference("python_calls", direction(old, new), text)]
