"""How far runs of unchanged code lie apart: between days, within a day, and how far single ones stray.

All figures are logarithms of times. Runs that were started close to each other share what the machine did that day,
so ten runs of one afternoon say little about tomorrow: what a session is held to is the spread between days.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from typing import TYPE_CHECKING, Protocol

from pytest_diffbench.stats.variance import Variance, moderated, pooled, prior_of, within

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

LEAST_OF_PRIOR = 0.1
"""Spreads under this share of the least that is believed count as this much when peers are pooled."""

_STRAY_SCORE = 6.0
"""A run this many spreads of the bulk away from its middle isn't of the bulk."""

_STRAY_LEAST_SCORE = 4.0
"""The same, of the spread that is expected: in few runs, agreement is luck."""

_STRAYS_REL = 0.3
"""Of a case's runs. More of them are no strays: they are how the machine is."""

_STRAY_MARGIN = 1.1
"""The next stray may lie a little further than one that was seen."""

_STRAY_AGAIN = 0.5
"""Chance that the process after one that strayed strays too. On a recorded shared machine, 2 of 4 did."""

_FAST_STRAYS_REL = 0.1
"""Of a case's runs. More of them that were faster are a mode of the machine, which hides slower code."""

_FAST_IN_FEW_LOG = 0.4
"""Among few runs, one that was faster by less may be such a mode."""

_MANY = 10
"""Runs of which one of the faster of two modes would be rare: of five, one in six baselines has just one."""

_EXPECTED_UP_TO_DOF = 30.0
"""What is expected of a kind of machine fades as its own runs tell, and is gone at so many degrees of freedom."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """What is known of a kind of machine before a run of it was recorded.

    Attributes:
        between: variance between days.
        within: variance between runs of one day.
        least_log: spread between runs under which no machine of this kind is believed.
        most_dof: bound on what other cases count for.
    """

    between: Variance
    within: Variance
    least_log: float
    most_dof: float


@dataclasses.dataclass(frozen=True, slots=True)
class History:
    """The recorded runs of one figure of one case.

    Attributes:
        days: means of each day's runs by the day, those that strayed left out.
        centre_log: mean of the days.
        between: variance between days; it holds what is left of the variance within them.
        within: variance within days.
        runs_a_day: harmonic mean over the days.
        today: how many runs were made on the session's own day, and their mean; None where none was.
        strays_log: how far above the others the runs lie that strayed upwards, in falling order.
        aside: places of all runs that strayed, in the order they were given.
        runs: all of them.
    """

    days: Mapping[Hashable, float]
    centre_log: float
    between: Variance
    within: Variance
    runs_a_day: float
    today: tuple[int, float] | None
    strays_log: tuple[float, ...]
    aside: tuple[int, ...]
    runs: int


def history_of(
    past_log: Sequence[float], days: Sequence[Hashable], expected_log: float, today: Hashable = None
) -> History:
    """Sum up a case's past runs, at least one, by the logarithms of their times.

    `expected_log` is the spread that is expected before any was recorded, and `today` the session's day.
    """
    aside = strays_among(past_log, expected_log)
    by_day: dict[Hashable, list[float]] = {}
    for n, (run_log, day) in enumerate(zip(past_log, days, strict=True)):
        if n not in aside:
            by_day.setdefault(day, []).append(run_log)
    means = {day: math.fsum(runs) / len(runs) for day, runs in by_day.items()}
    centre_log = math.fsum(means.values()) / len(means)
    now = by_day.get(today)
    return History(
        days=means,
        centre_log=centre_log,
        between=within([list(means.values())]),
        within=within(list(by_day.values())),
        runs_a_day=len(by_day) / math.fsum(1 / len(runs) for runs in by_day.values()),
        today=(len(now), means[today]) if now else None,
        strays_log=tuple(sorted((past_log[n] - centre_log for n in aside if past_log[n] > centre_log), reverse=True)),
        aside=tuple(sorted(aside)),
        runs=len(past_log),
    )


def strays_among(past_log: Sequence[float], expected_log: float) -> frozenset[int]:
    """Places of the runs that lie far from the bulk of at least three."""
    count = len(past_log)
    if count < 3:
        return frozenset()
    middle = statistics.median(past_log)
    away = [abs(run_log - middle) for run_log in past_log]
    limit = max(_STRAY_SCORE * 1.4826 * statistics.median(away), _STRAY_LEAST_SCORE * expected_log)
    slow = frozenset(n for n, run_log in enumerate(past_log) if run_log - middle > limit)
    fast = frozenset(n for n, run_log in enumerate(past_log) if middle - run_log > limit)
    if len(slow) + len(fast) > max(1, math.floor(_STRAYS_REL * count)):
        return frozenset()
    if len(fast) > max(1, math.floor(_FAST_STRAYS_REL * count)) or (
        count < _MANY and any(middle - past_log[n] < _FAST_IN_FEW_LOG for n in fast)
    ):
        return slow
    return slow | fast


@dataclasses.dataclass(frozen=True, slots=True)
class Strays:
    """Runs of unchanged code that took far longer than the others.

    Attributes:
        excess_log: how much longer, in falling order.
        runs: that were looked at.
    """

    excess_log: tuple[float, ...] = ()
    runs: int = 0

    def chance(self, change_log: float, runs: int) -> float:
        """Chance that so many runs in a row stray by that much; 0 where none ever did."""
        count = sum(_STRAY_MARGIN * stray_log >= change_log for stray_log in self.excess_log)
        return (count + 0.5) / (self.runs + 1) * _STRAY_AGAIN ** (runs - 1) if count else 0.0

    def needed_log(self, alpha: float, runs: int) -> float:
        """The change from which on so many runs in a row stray with at most this chance."""
        for stray_log in self.excess_log:
            if self.chance(_STRAY_MARGIN * stray_log, runs) > alpha:
                return _STRAY_MARGIN * stray_log
        return 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Peers:
    """What other cases of the machine say about one figure; None where they say nothing."""

    between: Variance | None = None
    within: Variance | None = None
    strays: Strays = Strays()


def peers_of(cases: Sequence[History], experience: Experience) -> Peers:
    """Pool the histories of other cases.

    Cases that move together from day to day are fewer than they seem: where the machine moves all of them, twenty
    tell of its days what one does. So their spread between days is known as well as by the number of cases that
    would be independent of each other.
    """
    least = (LEAST_OF_PRIOR * experience.least_log) ** 2
    between = [case.between for case in cases]
    within_days = [case.within for case in cases]
    prior = prior_of(between, least, experience.most_dof)
    if prior is not None:
        independent = _independent(cases)
        known_dof = math.fsum(variance.dof for variance in between) / sum(variance.dof > 0 for variance in between)
        dof = min(prior.dof, known_dof * max(0.0, independent - 1))
        prior = Variance(prior.value, dof) if dof > 0 else None
    strays = sorted((stray_log for case in cases for stray_log in case.strays_log), reverse=True)
    return Peers(
        prior,
        prior_of(within_days, least, experience.most_dof),
        Strays(tuple(strays), sum(case.runs for case in cases)),
    )


def _independent(cases: Sequence[History]) -> float:
    """How many independent cases these are worth, from the variance of days that they share (a one-way analysis)."""
    moved: dict[Hashable, list[float]] = {}
    known = [case for case in cases if len(case.days) > 1]
    for case in known:
        for day, mean in case.days.items():
            moved.setdefault(day, []).append(mean - case.centre_log)
    shared = {day: values for day, values in moved.items() if len(values) > 1}
    count, days = sum(len(values) for values in shared.values()), len(shared)
    dof = count - days - len(known) + 1
    if days < 2 or dof < 1:
        return float(len(known))
    means = {day: math.fsum(values) / len(values) for day, values in shared.items()}
    rest = math.fsum((value - means[day]) ** 2 for day, values in shared.items() for value in values) / dof
    together = math.fsum(len(shared[day]) * mean**2 for day, mean in means.items()) / (days - 1)
    if rest <= 0:
        return 1.0 if together > 0 else float(len(known))
    cases_a_day = count / days
    common = max(0.0, together - rest) / cases_a_day
    correlation = common / (common + rest)
    return (len(known) + 1) / (1 + len(known) * correlation)


class Noise(Protocol):
    """What chance does to the change of a figure."""

    @property
    def spread_log(self) -> float:
        """Between the recorded runs of the case alone."""

    @property
    def shrinks(self) -> bool:
        """Whether more runs of a session make it smaller, so that each look at them is a chance of its own."""

    def of(self, runs: int) -> Variance:
        """Variance of the change of so many runs of a session, against what they're held to."""

    def widening(self, runs: int) -> float:
        """The standard deviation of that change over the spread of single runs, where these are independent."""

    def wander(self, runs: int, most: int) -> float:
        """Standard deviation of what further runs, up to so many, may do to a change that was seen in fewer."""


@dataclasses.dataclass(frozen=True, slots=True)
class OtherDay:
    """The session is one more day, drawn as the recorded ones were.

    Attributes:
        between: of means of days, moderated.
        within: of the runs of a day, moderated; None where no day has two runs.
        days: recorded ones.
        runs_a_day: of them.
        spread_log: between the recorded runs.
    """

    between: Variance
    within: Variance | None
    days: int
    runs_a_day: float
    spread_log: float

    @property
    def shrinks(self) -> bool:
        """Not in the main: runs of one day share the day."""
        return False

    def of(self, runs: int) -> Variance:
        """Variance of the change of so many runs: runs of one day share the day, however many there are."""
        shared = Variance(self.between.value * (1 + 1 / self.days), self.between.dof)
        alone = 1 / runs - 1 / self.runs_a_day
        if self.within is None or alone <= 0:
            return shared
        return _sum(shared, Variance(self.within.value * alone, self.within.dof))

    def widening(self, runs: int) -> float:
        return math.sqrt(max(1 / runs, 1 / self.runs_a_day) + 1 / (self.days * self.runs_a_day))

    def wander(self, runs: int, most: int) -> float:
        variance = self.within if self.within is not None else self.between
        return math.sqrt(variance.value * max(0.0, 1 / runs - 1 / most))


@dataclasses.dataclass(frozen=True, slots=True)
class SameDay:
    """The session was made on the day of recorded runs: the day drops out of their difference.

    Attributes:
        within: of the runs of a day, moderated.
        past_runs: recorded ones of the day.
        spread_log: between the recorded runs.
    """

    within: Variance
    past_runs: float
    spread_log: float

    @property
    def shrinks(self) -> bool:
        return True

    def of(self, runs: int) -> Variance:
        """Variance of a difference of two means."""
        return Variance(self.within.value * (1 / runs + 1 / self.past_runs), self.within.dof)

    def widening(self, runs: int) -> float:
        return math.sqrt(1 / runs + 1 / self.past_runs)

    def wander(self, runs: int, most: int) -> float:
        return math.sqrt(self.within.value * max(0.0, 1 / runs - 1 / most))


def noises_of(past: History, peers: Peers, experience: Experience) -> list[tuple[float, Noise]]:
    """What a session may be held to: all days, and its own where runs of it are recorded: centres and noises."""
    spread_log = pooled(past.between, past.within).deviation
    near_within = _known(peers.within, experience.within)
    inside = moderated(past.within, near_within)
    between = moderated(past.between, _known(peers.between, experience.between))
    known_within = past.within.dof > 0 or (peers.within is not None and peers.within.dof > 0)
    noises: list[tuple[float, Noise]] = [
        (
            past.centre_log,
            OtherDay(between, inside if known_within else None, len(past.days), past.runs_a_day, spread_log),
        )
    ]
    if past.today is not None:
        runs, centre_log = past.today
        noises.append((centre_log, SameDay(inside, runs, spread_log)))
    return noises


def _known(pooled: Variance | None, expected: Variance) -> Variance:
    """Other cases of this machine, drawn towards what machines of its kind do while little is known of them."""
    if pooled is None:
        return expected
    left_dof = expected.dof * max(0.0, 1 - pooled.dof / _EXPECTED_UP_TO_DOF)
    return moderated(pooled, Variance(expected.value, left_dof)) if left_dof > 0 else pooled


def _sum(left: Variance, right: Variance) -> Variance:
    """Variance of a sum of independent parts, with degrees of freedom by Satterthwaite (1946)."""
    value = left.value + right.value
    parts = math.fsum(part.value**2 / part.dof for part in (left, right) if part.dof > 0 and part.value > 0)
    return Variance(value, value**2 / parts if parts > 0 else min(left.dof, right.dof))
