"""Compares two sets of denoiser calls, step by step."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from pytest_diffbench.records import format_steps, parse_steps
from pytest_diffbench.records.details import Direction, InputChange, WorkDifference

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_diffbench.records import CallGroup
    from pytest_diffbench.records.details import Direction


Place: TypeAlias = tuple[str, str]
"""Component and branch."""


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class _Call:
    batch: int
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    flops: int
    dtypes: tuple[tuple[str, str], ...] = ()


def call_differences(
    base: Iterable[CallGroup], now: Iterable[CallGroup], flops_allowed_rel: float = 0.0
) -> list[WorkDifference]:
    """Compare calls as multisets of (component, step, branch, batch, shapes); FLOPs of one may differ by a share."""
    before, after = _by_step(base), _by_step(now)
    differences: list[WorkDifference] = []
    for component, branch in sorted(before.keys() | after.keys()):
        steps_by_difference: dict[WorkDifference, list[int]] = defaultdict(list)
        old_steps, new_steps = before.get((component, branch), {}), after.get((component, branch), {})
        for step in sorted(old_steps.keys() | new_steps.keys()):
            for difference in _at_step(old_steps.get(step, []), new_steps.get(step, []), flops_allowed_rel):
                steps_by_difference[difference].append(step)
        differences += [
            msgspec.structs.replace(difference, component=component, branch=branch, steps=format_steps(steps))
            for difference, steps in steps_by_difference.items()
        ]
    return _renamed_branches(differences, before, after)


def _by_step(groups: Iterable[CallGroup]) -> dict[Place, dict[int, list[_Call]]]:
    calls: dict[Place, dict[int, list[_Call]]] = defaultdict(lambda: defaultdict(list))
    for group in groups:
        shapes = tuple(sorted((name, tuple(shape)) for name, shape in group.shapes.items()))
        call = _Call(group.batch, shapes, group.flops, tuple(sorted(group.dtypes.items())))
        for step in parse_steps(group.steps):
            calls[group.component, group.branch][step].append(call)
    return calls


def _at_step(old: list[_Call], new: list[_Call], allowed_rel: float) -> list[WorkDifference]:
    """Differences between the calls of one component and branch at one step."""
    if len(old) != len(new):
        way: Direction = "more" if len(new) > len(old) else "less"
        return [WorkDifference(kind="denoiser_calls", direction=way, before=len(old), after=len(new))]
    differences: list[WorkDifference] = []
    for before, after in zip(sorted(old), sorted(new), strict=True):
        differences += _between(before, after, allowed_rel)
    return list(dict.fromkeys(differences))


def _between(before: _Call, after: _Call, allowed_rel: float) -> list[WorkDifference]:
    way = direction_within(before.flops, after.flops, allowed_rel)
    inputs = []
    if before.batch != after.batch:
        inputs.append(InputChange(name="batch", what="batch", before=before.batch, after=after.batch))
    old_shapes, new_shapes = dict(before.shapes), dict(after.shapes)
    inputs += [
        InputChange(name=name, what="shape", before=old_shapes.get(name), after=new_shapes.get(name))
        for name in sorted(old_shapes.keys() | new_shapes.keys())
        if old_shapes.get(name) != new_shapes.get(name)
    ]
    old_dtypes, new_dtypes = dict(before.dtypes), dict(after.dtypes)
    inputs += [
        InputChange(name=name, what="dtype", before=old_dtypes[name], after=new_dtypes[name])
        for name in sorted(old_dtypes.keys() & new_dtypes.keys())  # older records have none
        if old_dtypes[name] != new_dtypes[name]
    ]
    if inputs:
        return [WorkDifference(kind="shapes", direction=way or "other", inputs=tuple(inputs))]
    if way is not None:
        return [WorkDifference(kind="flops", direction=way, before=before.flops, after=after.flops)]
    return []


def _renamed_branches(
    differences: list[WorkDifference],
    before: dict[Place, dict[int, list[_Call]]],
    after: dict[Place, dict[int, list[_Call]]],
) -> list[WorkDifference]:
    """Call it `branches` where calls moved from one branch to another: some branch appears, another disappears.

    That is less where the component is called less often for no more FLOPs, such as by one call of batch 2 in place
    of two.
    """
    moved = {component for component, _ in after.keys() - before.keys()} & {
        component for component, _ in before.keys() - after.keys()
    }
    renamed = []
    for difference in differences:
        if difference.kind == "denoiser_calls" and difference.component in moved:
            old, new = _total(before, difference.component), _total(after, difference.component)
            ways = {direction(*pair) for pair in zip(old, new, strict=True)} - {"other"}
            way = ways.pop() if len(ways) == 1 else difference.direction
            renamed.append(msgspec.structs.replace(difference, kind="branches", direction=way))
        else:
            renamed.append(difference)
    return renamed


def _total(calls: dict[Place, dict[int, list[_Call]]], component: str) -> tuple[int, int]:
    """Calls of a component over all branches and steps, and their FLOPs."""
    of_component = [
        call for place, steps in calls.items() if place[0] == component for step in steps.values() for call in step
    ]
    return len(of_component), sum(call.flops for call in of_component)


def direction(before: int, after: int) -> Direction:
    """Which way a count went."""
    return "more" if after > before else "less" if after < before else "other"


def direction_within(before: int, after: int, allowed_rel: float) -> Direction | None:
    """Which way a count went, None when it stayed within a share of the larger of the two."""
    if abs(after - before) <= allowed_rel * max(before, after):
        return None
    return direction(before, after)
