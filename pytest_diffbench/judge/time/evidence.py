"""From the records of a session's and a baseline's runs to the numbers that the rule of the time gate decides on."""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics
from typing import TYPE_CHECKING

from pytest_diffbench.judge.time import rule as time_rule
from pytest_diffbench.judge.time.figures import MEDIAN, TOTAL, computing_share, kind_of, share_of_log, times_of
from pytest_diffbench.judge.time.runs import (
    alike,
    comparable,
    crowded_rel,
    days_of,
    experience_of,
    floors_of,
    pace_against,
    pace_changes_log,
    sound,
    unknown_pace,
    unsteady,
    usual_paces_s,
)
from pytest_diffbench.judge.time.spread import Peers, history_of, peers_of, strays_among

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_diffbench.judge.gate_input import GateInput
    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.judge.time.rule import Figure
    from pytest_diffbench.judge.time.runs import Pace
    from pytest_diffbench.judge.time.spread import Experience, History
    from pytest_diffbench.records import Run
    from pytest_diffbench.records.details import Doubt

_QUARTILES = (0.25, 0.75)


@dataclasses.dataclass(frozen=True, slots=True)
class SessionRun:
    """A run of this session, and what the machine did meanwhile.

    Attributes:
        run: itself.
        pace: of the machine; None where it isn't known of both sides.
        unsteady: why its rounds aren't steady; None where they are.
        crowded_rel: share of it that its threads waited for a processor; 0 where that is no more than usual.
    """

    run: Run
    pace: Pace | None
    unsteady: Doubt | None
    crowded_rel: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether its median is what it took."""
        return self.unsteady is None and not self.disturbed

    @property
    def disturbed(self) -> bool:
        """Whether the machine was busy, or off its pace."""
        return bool(self.crowded_rel) or (self.pace is not None and not self.pace.usual)


@dataclasses.dataclass(frozen=True)
class Evidence:
    """The runs that may be held against each other.

    Attributes:
        session_runs: runs of this session that nothing rules out, in the order they were made.
        used: those of them that decide: the sound ones where they are enough to confirm, else all.
        past: of the baseline.
        peer_runs: of other cases of this machine.
        limits: thresholds.
        family_size: parts of the session's error budget.
        first: the run that was judged first is among the used ones.
    """

    session_runs: tuple[SessionRun, ...]
    used: tuple[SessionRun, ...]
    past: tuple[Run, ...]
    peer_runs: tuple[tuple[Run, ...], ...]
    limits: Limits
    family_size: int
    first: bool

    @property
    def now(self) -> list[Run]:
        """The runs of this session that decide."""
        return [run.run for run in self.used]

    @property
    def fresh(self) -> int:
        """How many of them fresh processes made."""
        return len(self.used) - self.first

    @property
    def family(self) -> str:
        """Type of the device."""
        return self.used[0].run.environment.family

    @property
    def rule(self) -> time_rule.Rule:
        """Of the case."""
        return time_rule.rule_of(self.limits, self.family_size)

    @property
    def more_runs_count(self) -> bool:
        """Whether one more run would be made use of."""
        most = self.rule.most_runs
        sound_runs = sum(run.sound for run in self.session_runs)
        return (
            self.limits.time_confirmations > 0
            and sound_runs < most
            and len(self.session_runs) < most + self.limits.time_spare_runs
        )

    @property
    def undisturbed(self) -> Evidence | None:
        """The same without runs that the machine is known to have disturbed; None where that is all of them, or none.

        Unsteady ones stay: they may be the only sign of a disturbance that the pace doesn't show.
        """
        kept = tuple(run for run in self.used if not run.disturbed)
        if not kept or len(kept) == len(self.used):
            return None
        return dataclasses.replace(self, used=kept, first=self.first and kept[0] is self.used[0])

    @property
    def off_pace(self) -> Pace | None:
        """Pace of a machine that was off it in one of the used runs at least: that of the middle one of those."""
        off = [run.pace for run in self.used if run.pace is not None and not run.pace.usual]
        return sorted(off, key=lambda pace: pace.middle_log)[len(off) // 2] if off else None

    @property
    def crowded_rel(self) -> float:
        """Share of the used runs that their threads waited for a processor: the most of any."""
        return max(run.crowded_rel for run in self.used)

    @property
    def pace_known(self) -> bool:
        """Whether it is known how fast the machine was, of all runs that decide."""
        return all(run.pace is not None for run in self.used)

    @functools.cached_property
    def days(self) -> int:
        """Days on which the baseline's runs were made."""
        return len(set(self.all_days[: len(self.past)]))

    @functools.cached_property
    def aside(self) -> tuple[int, ...]:
        """Places of the baseline's runs that lie too far from the others to say how far runs spread."""
        expected_log = experience_of(self.limits, self.family).between.deviation
        return tuple(sorted(strays_among([math.log(run.median_s) for run in self.past], expected_log)))

    @functools.cached_property
    def all_days(self) -> list[int]:
        """Days of the past runs, of this session, and of the peers' runs, in one count."""
        near = [run.started for runs in self.peer_runs for run in runs]
        return days_of([*(run.started for run in self.past), self.used[0].run.started, *near])

    def figures(self) -> list[Figure]:
        """All times that are judged, the total first: as measured, and without what the machine did."""
        return _figures(self)


def evidence_of(gate_input: GateInput, timed: Sequence[Run], ruled_out: frozenset[int] = frozenset()) -> Evidence:
    """Gather what counts.

    Args:
        gate_input: of a case whose baseline is of this class of machine.
        timed: the baseline's runs in this session's hardware and settings.
        ruled_out: places among the session's runs, the first being 0, that are no evidence of anything.
    """
    first, limits = gate_input.observation.run, gate_input.limits
    past = alike(sound(timed), limits)
    past = [run for run in past if not crowded_rel(run, limits)] or past
    usual_s = usual_paces_s(past)
    session_runs = [
        SessionRun(run, pace_against(run, usual_s, limits), unsteady(run, limits), crowded_rel(run, limits))
        for n, run in enumerate((first, *gate_input.more_runs))
        if n not in ruled_out
    ]
    enough = [session_run for session_run in session_runs if session_run.sound]
    used = enough if len(enough) > limits.time_confirmations else session_runs
    near = [alike(sound(comparable(runs, first.environment)), limits) for runs in gate_input.peer_runs.values()]
    return Evidence(
        session_runs=tuple(session_runs),
        used=tuple(used),
        past=tuple(past),
        peer_runs=tuple(tuple(runs) for runs in near if runs),
        limits=limits,
        family_size=gate_input.family_size,
        first=bool(used) and used[0].run is first,
    )


def _figures(evidence: Evidence) -> list[Figure]:
    limits, past = evidence.limits, evidence.past
    raw, net = _Side(evidence, net=False), _Side(evidence, net=True)
    names = [name for name in raw.now_low if name in raw.past and name in net.past]
    if len(evidence.now[0].step_medians_s) != len(past[0].step_medians_s):
        names = [name for name in names if kind_of(name) != "step"]
    base_s = {name: statistics.geometric_mean(map(math.exp, raw.past[name])) for name in names}
    floors = floors_of(limits, evidence.family, names, base_s)
    shares = time_rule.shares_by_name(names)
    return [
        time_rule.Figure(
            name,
            (raw.scale(name), net.scale(name)),
            floors[name],
            shares[name],
            evidence.fresh,
        )
        for name in names
    ]


class _Side:
    """All figures on one scale: by the clock, or without waiting and the machine's pace."""

    def __init__(self, evidence: Evidence, *, net: bool) -> None:
        self._evidence = evidence
        self._experience = experience_of(evidence.limits, evidence.family)
        self._of_parts = experience_of(evidence.limits, evidence.family, part=True)
        self._net = net
        self._unknown = unknown_pace(len(evidence.past), evidence.limits)
        self._usual_s = usual_paces_s(evidence.past) if net and evidence.pace_known else {}
        self.now_low, self.now_high = (self._now(way) for way in (0, 1))
        self.past = self._paced(evidence.past)
        places, count = evidence.all_days, len(evidence.past)
        self._days, self._today = places[:count], places[count]
        self._near = []
        begin = count + 1
        for runs in evidence.peer_runs:
            self._near.append((self._paced(runs), places[begin : begin + len(runs)]))
            begin += len(runs)

    def _now(self, way: int) -> Mapping[str, list[float]]:
        """Logarithms of this session's times, without the least (0) or the most (1) that the machine explains."""
        evidence = self._evidence
        at = [MEDIAN if run.unsteady is None else _QUARTILES[way] for run in evidence.used]
        by_clock = times_of(evidence.now, quantiles=at)
        # of a crowded machine nobody knows how much faster a call would have been without the others
        net = times_of(evidence.now, net=True, quantiles=at) if self._net else by_clock
        return {
            name: [
                math.log(by_clock[name][n] if way and evidence.used[n].crowded_rel else time_s)
                - self._explained_log(evidence.used[n], time_s, way)
                for n, time_s in enumerate(values)
            ]
            for name, values in net.items()
            if name in by_clock
        }

    def _explained_log(self, session_run: SessionRun, time_s: float, way: int) -> float:
        if not self._net:
            return 0.0
        pace = pace_against(session_run.run, self._usual_s, self._evidence.limits, time_s) or self._unknown
        if way:
            return min(0.0, pace.high_log) if session_run.crowded_rel else pace.high_log
        return pace.low_log + math.log1p(session_run.crowded_rel)

    def _paced(self, runs: Sequence[Run]) -> dict[str, list[float]]:
        """Logarithms of past times, by the pace of their machine where it is known."""
        return {
            name: [math.log(time_s) - self._pace_log(run, time_s) for run, time_s in zip(runs, values, strict=True)]
            for name, values in times_of(runs, net=self._net).items()
        }

    def _pace_log(self, run: Run, time_s: float) -> float:
        changes_log = pace_changes_log(run, self._usual_s)
        if not changes_log:
            return 0.0
        return share_of_log(math.fsum(changes_log) / len(changes_log), computing_share(run, time_s))

    def scale(self, name: str) -> time_rule.Scale:
        """One figure."""
        experience = self._experience if name == TOTAL else self._of_parts
        past = self._history(self.past[name], self._days, experience)
        near = [self._history(times[name], days, experience) for times, days in self._near if name in times]
        return time_rule.scale_of(
            past,
            self.now_low[name],
            self.now_high[name],
            peers_of(near, experience) if near else Peers(),
            experience,
            self._evidence.rule,
            self._unknown.low_log if self._net and not self._usual_s else 0.0,
        )

    def _history(self, past_log: Sequence[float], days: Sequence[int], experience: Experience) -> History:
        today = self._today if self._today >= 0 else None
        return history_of(past_log, days, experience.between.deviation, today)
