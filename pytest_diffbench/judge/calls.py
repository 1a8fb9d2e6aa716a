"""Compares two sets of denoiser calls step by step, and tells the differences in words."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias

from pytest_diffbench.judge.difference import Difference, Direction, Kind, direction, direction_within
from pytest_diffbench.judge.text import flops, plural, step_list
from pytest_diffbench.records import format_steps, parse_steps

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_diffbench.records import CallGroup

Place: TypeAlias = tuple[str, str]
"""Component and branch."""


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class _Call:
    batch: int
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    flops: int
    dtypes: tuple[tuple[str, str], ...] = ()


_Words: TypeAlias = tuple[Kind, Direction, str]


def call_differences(
    base: Iterable[CallGroup], now: Iterable[CallGroup], flops_allowed_rel: float = 0.0
) -> list[Difference]:
    """Compare calls as multisets of (component, step, branch, batch, shapes).

    Args:
        base: calls of the baseline.
        now: calls of this run.
        flops_allowed_rel: share by which the FLOPs of one call may differ.
    """
    before, after = _by_step(base), _by_step(now)
    found: list[Difference] = []
    for place in sorted(before.keys() | after.keys()):
        told: dict[_Words, list[int]] = defaultdict(list)
        old_steps, new_steps = before.get(place, {}), after.get(place, {})
        for step in sorted(old_steps.keys() | new_steps.keys()):
            for words in _at_step(old_steps.get(step, []), new_steps.get(step, []), flops_allowed_rel):
                told[words].append(step)
        name = f"{place[0]} {place[1]}"
        found += [
            Difference(kind, way, f"{name}: {text.format(steps=step_list(format_steps(steps)))}", place[0])
            for (kind, way, text), steps in told.items()
        ]
    return _renamed_branches(found, before, after)


def _by_step(groups: Iterable[CallGroup]) -> dict[Place, dict[int, list[_Call]]]:
    calls: dict[Place, dict[int, list[_Call]]] = defaultdict(lambda: defaultdict(list))
    for group in groups:
        shapes = tuple(sorted((name, tuple(shape)) for name, shape in group.shapes.items()))
        call = _Call(group.batch, shapes, group.flops, tuple(sorted(group.dtypes.items())))
        for step in parse_steps(group.steps):
            calls[group.component, group.branch][step].append(call)
    return calls


def _at_step(old: list[_Call], new: list[_Call], allowed_rel: float) -> list[_Words]:
    """Differences between the calls of one component and branch at one step; `{steps}` stands for where."""
    if len(old) != len(new):
        if not old:
            often = "" if len(new) == 1 else f" {len(new)} times"
            return [("denoiser_calls", "more", f"called{often} at {{steps}}, was not called there")]
        if not new:
            often = "" if len(old) == 1 else f" {len(old)} times"
            return [("denoiser_calls", "less", f"not called at {{steps}}, was called there{often}")]
        way: Direction = "more" if len(new) > len(old) else "less"
        return [("denoiser_calls", way, f"{len(old)} -> {plural(len(new), 'call')} at {{steps}}")]
    told: list[_Words] = []
    for before, after in zip(sorted(old), sorted(new), strict=True):
        told += _between(before, after, allowed_rel)
    return list(dict.fromkeys(told))


def _between(before: _Call, after: _Call, allowed_rel: float) -> list[_Words]:
    way = direction_within(before.flops, after.flops, allowed_rel)
    parts = []
    if before.batch != after.batch:
        parts.append(f"batch {before.batch} -> {after.batch}")
    old_shapes, new_shapes = dict(before.shapes), dict(after.shapes)
    for name in sorted(old_shapes.keys() | new_shapes.keys()):
        old_shape, new_shape = old_shapes.get(name), new_shapes.get(name)
        if old_shape != new_shape:
            parts.append(f"{name} {old_shape or 'absent'} -> {new_shape or 'absent'}")
    old_dtypes, new_dtypes = dict(before.dtypes), dict(after.dtypes)
    parts += [
        f"{name} of dtype {old_dtypes[name]} -> {new_dtypes[name]}"
        for name in sorted(old_dtypes.keys() & new_dtypes.keys())  # older records have none
        if old_dtypes[name] != new_dtypes[name]
    ]
    if parts:
        # braces would be taken for a place to fill in
        text = ", ".join(parts).replace("{", "{{").replace("}", "}}")
        return [("shapes", way or "other", f"{text} at {{steps}}")]
    if way is not None:
        return [("flops", way, f"{flops(before.flops)} -> {flops(after.flops)} a call at {{steps}}")]
    return []


def _renamed_branches(
    found: list[Difference], before: dict[Place, dict[int, list[_Call]]], after: dict[Place, dict[int, list[_Call]]]
) -> list[Difference]:
    """Call it `branches` where calls moved from one branch to another: some branch appears, another disappears.

    That is less where the component is called less often for no more FLOPs, such as by one call of batch 2 in place
    of two.
    """
    moved = {component for component, _ in after.keys() - before.keys()} & {
        component for component, _ in before.keys() - after.keys()
    }
    told = []
    for one in found:
        if one.kind == "denoiser_calls" and one.component in moved:
            old, new = _total(before, one.component), _total(after, one.component)
            ways = {direction(*pair) for pair in zip(old, new, strict=True)} - {"other"}
            way = ways.pop() if len(ways) == 1 else one.direction
            told.append(dataclasses.replace(one, kind="branches", direction=way))
        else:
            told.append(one)
    return told


def _total(calls: dict[Place, dict[int, list[_Call]]], component: str) -> tuple[int, int]:
    """Calls of a component over all branches and steps, and their FLOPs."""
    mine = [one for place, steps in calls.items() if place[0] == component for step in steps.values() for one in step]
    return len(mine), sum(one.flops for one in mine)
