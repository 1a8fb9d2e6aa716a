"""Which operators or kernels carry a difference in time: new ones, gone ones, called more often, or just slower."""

from __future__ import annotations

import dataclasses
import statistics
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from pytest_diffbench.records import STAGES, Stage
from pytest_diffbench.records.details import OperatorChange, TimeDetails

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pytest_diffbench.judge.gate_input import GateInput
    from pytest_diffbench.records import Operator, Profile, Run, Verdict

_Place: TypeAlias = tuple[Stage, str]

_SLOWER_REL = 0.25
"""A row is from a single round: by itself, less than this is that round's noise."""

_SHARE_REL = 0.10
"""A row that is only slower is named when it carries at least this share of the added time ..."""

_TOTAL_REL = 0.05
"""... and this share of the whole profile."""

_CALLS_REL = 0.01
"""Of the rows that are called more or less often, those are named that differ by this share of what all of them add:
counts don't err, but one more attention brings a dozen views along."""

_PACE_REL = 0.10
"""A change of pace of the rows at large is told from here on."""

_FEWEST_FOR_PACE = 3


@dataclasses.dataclass(frozen=True, slots=True)
class OperatorChanges:
    """Operators that carry a difference.

    Attributes:
        changes: of each kind, the largest difference first.
        further: how many more there are.
        pace_rel: by how much operators changed that are called as often as before, where that is much.
    """

    changes: tuple[OperatorChange, ...] = ()
    further: int = 0
    pace_rel: float | None = None


def with_operators(verdict: Verdict, gate_input: GateInput) -> Verdict:
    """A verdict on time that is worse, with the operators that make it so, where both sides have a profile."""
    details, reference, observation = verdict.details, gate_input.reference, gate_input.observation
    if verdict.decision != "worse" or not isinstance(details, TimeDetails) or reference is None:
        return verdict
    if reference.baseline.profile is None or observation.profile is None:
        return verdict
    stages = _slower_stages(observation.run, reference.baseline.times)
    operators = explain(reference.baseline.profile, observation.profile, slower_in=stages)
    details = msgspec.structs.replace(
        details,
        operators=operators.changes,
        further_operators=operators.further,
        operators_pace_rel=operators.pace_rel,
    )
    return msgspec.structs.replace(verdict, details=details)


def _slower_stages(now: Run, runs: Sequence[Run]) -> frozenset[Stage]:
    """Stages that took longer in the timed rounds; all of them where the rounds don't tell stages."""
    past = [run.stage_medians_s for run in runs]
    medians = {
        stage: (statistics.median(run[stage] for run in past if stage in run), after_s)
        for stage, after_s in now.stage_medians_s.items()
        if any(stage in run for run in past)
    }
    grown = frozenset(
        stage for stage, (before_s, after_s) in medians.items() if after_s > (1 + _TOTAL_REL) * before_s
    )
    return grown if medians else frozenset(STAGES)


def explain(base: Profile, now: Profile, *, most: int = 6, slower_in: Collection[Stage] = STAGES) -> OperatorChanges:
    """Tell which rows of two profiles differ: first those of which counts differ, which never is noise.

    Of each kind, the largest difference stands first. Calls are compared as they are. Times are held against the pace
    of the two rounds, which is the median ratio of the rows that are called as often in both: a slow machine makes
    all rows slow, and none stands out.

    Args:
        base: of the baseline.
        now: of this run.
        most: number of operators.
        slower_in: stages that the timed rounds found slower. Elsewhere, a row that is only slower isn't told: it is
            of a round or two, they are of many.

    Returns:
        Nothing for profiles of different kinds.
    """
    if base.kind != now.kind:
        return OperatorChanges()
    pace = _pace(base, now)
    changes = _changes(base, now, pace)
    # Not the difference of the totals: what became faster would make shares of more than all of it.
    added_s = sum(max(_extra_s(change), 0.0) for change in changes)
    counted = [change for change in changes if change.calls[0] != change.calls[1]]
    least_s = _CALLS_REL * sum(max(_extra_s(change), 0.0) for change in counted)
    counted = [change for change in counted if abs(_extra_s(change)) >= least_s]
    slower = [
        change
        for change in changes
        if change.calls[0] == change.calls[1]
        and change.stage in slower_in
        and _is_slower(change, added_s, now.total_s)
    ]
    named = [
        change
        for group in (counted, slower)
        for change in sorted(
            group, key=lambda change: (-abs(_extra_s(change)), STAGES.index(change.stage), change.name)
        )
    ]
    return OperatorChanges(
        changes=tuple(
            msgspec.structs.replace(change, added_rel=_extra_s(change) / added_s)
            if added_s > 0 and _extra_s(change) > 0
            else change
            for change in named[:most]
        ),
        further=max(len(named) - most, 0),
        pace_rel=pace - 1 if abs(pace - 1) >= _PACE_REL else None,
    )


def _extra_s(change: OperatorChange) -> float:
    return change.seconds[1] - change.seconds[0]


def _pace(base: Profile, now: Profile) -> float:
    """How much longer a row takes now, in the median over the rows that are called as often; 1 for too few."""
    before, after = _rows(base, now)
    ratios = [
        after[place].self_s / row.self_s
        for place, row in before.items()
        if place in after and after[place].calls == row.calls and row.self_s > 0 and after[place].self_s > 0
    ]
    return statistics.median(ratios) if len(ratios) >= _FEWEST_FOR_PACE else 1.0


def _changes(base: Profile, now: Profile, pace: float) -> list[OperatorChange]:
    before, after = _rows(base, now)
    least_before, least_after = _least_s(base), _least_s(now)
    changes = []
    for stage, name in {**before, **after}:
        old, new = before.get((stage, name)), after.get((stage, name))
        # A table has room for so many rows: one that is small enough may have been left out on the other side.
        if old is None and new is not None and new.self_s <= pace * least_before.get(stage, 0.0):
            continue
        if new is None and old is not None and pace * old.self_s <= least_after.get(stage, 0.0):
            continue
        changes.append(
            OperatorChange(
                stage=stage,
                name=name,
                calls=(old.calls if old is not None else 0, new.calls if new is not None else 0),
                seconds=(pace * old.self_s if old is not None else 0.0, new.self_s if new is not None else 0.0),
            )
        )
    return changes


def _rows(*sides: Profile) -> list[Mapping[_Place, Operator]]:
    """Rows of each side by stage and label; by stage and name where a side doesn't tell what launched kernels."""
    if all(any(row.launched_by is not None for row in side.operators) for side in sides):
        return [{(row.stage, row.label): row for row in side.operators} for side in sides]
    return [_by_name(side) for side in sides]


def _by_name(profile: Profile) -> Mapping[_Place, Operator]:
    rows: dict[_Place, Operator] = {}
    for row in profile.operators:
        place = row.stage, row.name
        known = rows.get(place)
        calls, self_s = (known.calls, known.self_s) if known is not None else (0, 0.0)
        rows[place] = msgspec.structs.replace(
            row, launched_by=None, calls=calls + row.calls, self_s=self_s + row.self_s
        )
    return rows


def _least_s(profile: Profile) -> dict[Stage, float]:
    """The smallest row of each stage, where rows were left out; empty where the table holds all there was."""
    listed_s = sum(row.self_s for row in profile.operators)
    if profile.total_s - listed_s <= 1e-6 * profile.total_s:
        return {}
    stages = {row.stage for row in profile.operators}
    return {stage: min(row.self_s for row in profile.operators if row.stage == stage) for stage in stages}


def _is_slower(change: OperatorChange, added_s: float, total_s: float) -> bool:
    before_s, after_s = change.seconds
    extra_s = after_s - before_s
    return (
        extra_s > 0
        and extra_s >= _SHARE_REL * added_s
        and extra_s >= _TOTAL_REL * total_s
        and after_s >= (1 + _SLOWER_REL) * before_s
    )
