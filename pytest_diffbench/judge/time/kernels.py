"""Which operators or kernels carry a difference in time: new ones, gone ones, called more often, or just slower."""

from __future__ import annotations

import dataclasses
import statistics
from typing import TYPE_CHECKING, TypeAlias

from pytest_diffbench.judge.text import percent, plural, seconds
from pytest_diffbench.records import STAGES, Stage

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pytest_diffbench.judge.question import Question
    from pytest_diffbench.records import Operator, Profile, Run

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
class _Change:
    """One row in both profiles; a side that lacks it has 0 calls."""

    stage: Stage
    name: str
    calls_before: int
    calls: int
    before_s: float
    after_s: float

    @property
    def extra_s(self) -> float:
        return self.after_s - self.before_s


def kernel_changes(question: Question) -> list[str]:
    """Lines for a verdict on time; empty where either side has no profile, or the two are of different kinds."""
    if question.reference is None:
        return []
    baseline, seen = question.reference.baseline, question.observation
    if baseline.profile is None or seen.profile is None:
        return []
    return list(explain(baseline.profile, seen.profile, slower_in=_slower_stages(seen.run, baseline.times)))


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


def explain(base: Profile, now: Profile, *, most: int = 6, slower_in: Collection[Stage] = STAGES) -> tuple[str, ...]:
    """Tell which rows of two profiles differ: first those of which counts differ, which never is noise.

    Of each kind, the largest difference stands first. Calls are compared as they are. Times are held against the pace
    of the two rounds, which is the median ratio of the rows that are called as often in both: a slow machine makes
    all rows slow, and none stands out.

    Args:
        base: of the baseline.
        now: of this run.
        most: number of lines.
        slower_in: stages that the timed rounds found slower. Elsewhere, a row that is only slower isn't told: it is
            of a round or two, they are of many.

    Returns:
        Lines such as `denoise: aten::addmm called 4,200 -> 5,040 times (+20 %), 61 % of the added time`. None for
        profiles of different kinds.
    """
    if base.kind != now.kind:
        return ()
    pace = _pace(base, now)
    changes = _changes(base, now, pace)
    # Not the difference of the totals: what became faster would make shares of more than all of it.
    added_s = sum(max(change.extra_s, 0.0) for change in changes)
    counted = [change for change in changes if change.calls != change.calls_before]
    least_s = _CALLS_REL * sum(max(one.extra_s, 0.0) for one in counted)
    counted = [one for one in counted if abs(one.extra_s) >= least_s]
    slower = [
        change
        for change in changes
        if change.calls == change.calls_before
        and change.stage in slower_in
        and _is_slower(change, added_s, now.total_s)
    ]
    named = [
        one
        for group in (counted, slower)
        for one in sorted(group, key=lambda one: (-abs(one.extra_s), STAGES.index(one.stage), one.name))
    ]
    lines = [_line(one, added_s) for one in named[:most]]
    if len(named) > most:
        lines.append(f"and {len(named) - most} more operators")
    if abs(pace - 1) >= _PACE_REL:
        lines.append(f"operators that are called as often as before took {percent(pace - 1)} in the median")
    return tuple(lines)


def _pace(base: Profile, now: Profile) -> float:
    """How much longer a row takes now, in the median over the rows that are called as often; 1 for too few."""
    before, after = _rows(base), _rows(now)
    ratios = [
        after[place].self_s / row.self_s
        for place, row in before.items()
        if place in after and after[place].calls == row.calls and row.self_s > 0 and after[place].self_s > 0
    ]
    return statistics.median(ratios) if len(ratios) >= _FEWEST_FOR_PACE else 1.0


def _changes(base: Profile, now: Profile, pace: float) -> list[_Change]:
    before, after = _rows(base), _rows(now)
    least_before, least_after = _least_s(base), _least_s(now)
    found = []
    for stage, name in {**before, **after}:
        old, new = before.get((stage, name)), after.get((stage, name))
        # A table has room for so many rows: one that is small enough may have been left out on the other side.
        if old is None and new is not None and new.self_s <= pace * least_before.get(stage, 0.0):
            continue
        if new is None and old is not None and pace * old.self_s <= least_after.get(stage, 0.0):
            continue
        found.append(
            _Change(
                stage=stage,
                name=name,
                calls_before=old.calls if old is not None else 0,
                calls=new.calls if new is not None else 0,
                before_s=pace * old.self_s if old is not None else 0.0,
                after_s=new.self_s if new is not None else 0.0,
            )
        )
    return found


def _rows(profile: Profile) -> Mapping[_Place, Operator]:
    return {(row.stage, row.name): row for row in profile.operators}


def _least_s(profile: Profile) -> dict[Stage, float]:
    """The smallest row of each stage, where rows were left out; empty where the table holds all there was."""
    listed_s = sum(row.self_s for row in profile.operators)
    if profile.total_s - listed_s <= 1e-6 * profile.total_s:
        return {}
    stages = {row.stage for row in profile.operators}
    return {stage: min(row.self_s for row in profile.operators if row.stage == stage) for stage in stages}


def _is_slower(change: _Change, added_s: float, total_s: float) -> bool:
    return (
        change.extra_s > 0
        and change.extra_s >= _SHARE_REL * added_s
        and change.extra_s >= _TOTAL_REL * total_s
        and change.after_s >= (1 + _SLOWER_REL) * change.before_s
    )


def _line(change: _Change, added_s: float) -> str:
    if not change.calls_before:
        what = f"is new, {_times(change.calls)}, {seconds(change.after_s)}"
    elif not change.calls:
        what = f"is gone, it was called {_times(change.calls_before)}, {seconds(change.before_s)}"
    elif change.calls != change.calls_before:
        more = percent(change.calls / change.calls_before - 1)
        what = f"called {change.calls_before:,} -> {change.calls:,} times ({more})"
    else:
        more = percent(change.after_s / change.before_s - 1)
        what = f"{seconds(change.before_s)} -> {seconds(change.after_s)} ({more}) in {plural(change.calls, 'call')}"
    share = (
        f", {100 * change.extra_s / added_s:.0f} % of the added time" if added_s > 0 and change.extra_s > 0 else ""
    )
    return f"{change.stage}: {change.name} {what}{share}"


def _times(calls: int) -> str:
    return "once" if calls == 1 else f"{calls:,} times"
