"""The rule of the time gate on bare numbers: logarithms of runs in, what they prove out.

`timing` reads the numbers from records and puts the answer into words. `benchmarks/time_rules_study.py` replays this
very code over simulated and recorded noise.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING

from pytest_diffbench.judge.statistics import (
    Variance,
    chance_beyond,
    holm,
    moderated,
    prior_of,
    score_beyond,
    within,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

TOTAL_SHARE = 0.5
"""Of a case's error budget. Stages and groups of steps share the other half: they are many, and seldom alone."""

_LEAST_OF_PRIOR = 0.1
"""Spreads under this share of the least that is believed count as this much when neighbours are pooled."""


@dataclasses.dataclass(frozen=True, slots=True)
class Neighbours:
    """What other cases of the machine say about one figure.

    Attributes:
        prior: variance between runs, None while too few cases have one.
        stray_log: furthest that one run lay above the mean of the other runs of its case; 0 where none is known.
    """

    prior: Variance | None = None
    stray_log: float = 0.0


def neighbours_of(cases: Sequence[Sequence[float]], least_log: float, most_dof: float) -> Neighbours:
    """Pool other cases, each given as the logarithms of its past runs.

    Args:
        cases: one entry a case.
        least_log: spread between runs under which no machine of this kind is believed.
        most_dof: bound on what the neighbours count for.
    """
    prior = prior_of([within([case]) for case in cases], (_LEAST_OF_PRIOR * least_log) ** 2, most_dof)
    return Neighbours(prior, max((stray_of(case) for case in cases), default=0.0))


def stray_of(past: Sequence[float]) -> float:
    """Furthest that one run lies above the mean of the others; 0 for fewer than two."""
    count = len(past)
    if count < 2:
        return 0.0
    return max(0.0, (max(past) - math.fsum(past) / count) * count / (count - 1))


@dataclasses.dataclass(frozen=True, slots=True)
class Scale:
    """One figure on one scale: as measured, or divided by the calibration.

    Attributes:
        each_log: change of each run of this session against the baseline's mean, in the order they were made.
        past_runs: of the baseline; infinite for pairs, where each run brings its own baseline.
        variance: between runs, moderated by the neighbours'.
        spread_log: between the runs of this case alone.
        least_log: spread under which no machine of this kind is believed.
        stray_log: furthest that a single run ever strayed upwards with the code unchanged.
    """

    each_log: tuple[float, ...]
    past_runs: float
    variance: Variance
    spread_log: float
    least_log: float
    stray_log: float

    @property
    def change_log(self) -> float:
        """Change of the mean."""
        return math.fsum(self.each_log) / len(self.each_log)

    def _widening(self, runs: int) -> float:
        return math.sqrt(1 / runs + 1 / self.past_runs)

    def noise_log(self, runs: int) -> float:
        """Standard deviation of the change of a mean of so many runs."""
        return self._widening(runs) * max(self.variance.deviation, self.least_log)

    def chance(self, way: int) -> float:
        """Chance of a change as large as this one, upwards (1) or downwards (-1), when nothing changed.

        The larger of Student's with the spread that was estimated, and the normal with the least one: the first
        alarms as rarely as it says, the second keeps runs that agree by luck from promising too much.
        """
        widening, change_log = self._widening(len(self.each_log)), way * self.change_log
        if change_log <= 0:
            return 1.0
        chances = []
        for deviation, dof in ((self.variance.deviation, self.variance.dof), (self.least_log, math.inf)):
            chances.append(
                chance_beyond(change_log / (widening * deviation), dof) if deviation > 0 and dof > 0 else 0
            )
        return max(chances)

    def needed_log(self, alpha: float, runs: int) -> float:
        """The change of a mean of so many runs at which the chance falls to `alpha`."""
        by_sample = score_beyond(alpha, self.variance.dof) * self.variance.deviation if self.variance.dof > 0 else 0.0
        return self._widening(runs) * max(by_sample, score_beyond(alpha, math.inf) * self.least_log)


def two_sided_scale(past: Sequence[float], now: Sequence[float], neighbours: Neighbours, least_log: float) -> Scale:
    """Hold the runs of a session against those of a baseline: a difference of two means."""
    centre = math.fsum(past) / len(past)
    own = within([past, now])
    return Scale(
        tuple(one - centre for one in now),
        len(past),
        moderated(own, neighbours.prior),
        own.deviation,
        least_log,
        max(neighbours.stray_log, stray_of(past)),
    )


def paired_scale(changes: Sequence[float], neighbours: Neighbours, least_log: float) -> Scale:
    """Hold the mean of paired changes against nothing: each pair is its own baseline."""
    own = within([changes])
    return Scale(tuple(changes), math.inf, moderated(own, neighbours.prior), own.deviation, least_log, 0.0)


@dataclasses.dataclass(frozen=True, slots=True)
class Figure:
    """One time that is judged: the total, a stage or a group of steps.

    Attributes:
        name: `total`, the stage, or the steps as `steps 0-7`.
        scales: as measured, and by the calibration where there is one; a change has to show on all of them.
        floor_log: smaller changes aren't worth a red test.
        share: of the case's error budget.
        fresh: how many of the last runs were made by fresh processes, to confirm.
    """

    name: str
    scales: tuple[Scale, ...]
    floor_log: float
    share: float
    fresh: int

    @property
    def runs(self) -> int:
        """Runs of this session."""
        return len(self.scales[0].each_log)

    def chance(self, way: int = 1) -> float:
        """Chance of the change on the scale where it is likeliest; 1 within the floor."""
        if any(way * scale.change_log <= self.floor_log for scale in self.scales):
            return 1.0
        return max(scale.chance(way) for scale in self.scales)

    @property
    def unprecedented(self) -> bool:
        """Whether no single run with the code unchanged ever strayed as far."""
        return all(scale.change_log > scale.stray_log for scale in self.scales)

    @property
    def agreeing(self) -> int:
        """How many of the fresh runs lie beyond the floor by themselves."""
        if not self.fresh:
            return 0
        rows = zip(*(scale.each_log[-self.fresh :] for scale in self.scales), strict=True)
        return sum(all(one > self.floor_log for one in row) for row in rows)

    def ways(self, alpha: float) -> tuple[int, ...]:
        """For each scale, the direction in which it is beyond chance and floor: 1, -1, or 0 for neither."""
        return tuple(self._way(scale, alpha) for scale in self.scales)

    def _way(self, scale: Scale, alpha: float) -> int:
        way = 1 if scale.change_log > 0 else -1
        return way if abs(scale.change_log) > self.floor_log and scale.chance(way) <= alpha else 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How sure one case has to be.

    Attributes:
        alpha: chance that the case is called slower by chance alone, over all of its figures and looks.
        suspicion: chance of buying runs for nothing, over all figures.
        power: with which the smallest detectable change is found.
        confirmations: fresh runs that must agree before anything is called slower; 0 lets one run decide.
        most_runs: of this session in all, the first included.
        first_runs: made before anything is decided.
    """

    alpha: float
    suspicion: float
    power: float
    confirmations: int
    most_runs: int
    first_runs: int = 1

    @property
    def looks(self) -> int:
        """How often the case may be called slower while runs come in: once for each number of runs."""
        return max(1, self.most_runs - self.confirmations) if self.confirmations else 1

    @property
    def look_alpha(self) -> float:
        """The chance that each look may spend."""
        return self.alpha / self.looks


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What the runs prove. Figures stand in the order of their chance.

    Attributes:
        slower: proven.
        suspicious: slower at the loose level; proven ones too.
        strayed: beyond chance and floor, but runs of unchanged code strayed as far.
        faster: the total is, proven.
        torn: the total is beyond chance on one scale only.
    """

    slower: tuple[Figure, ...]
    suspicious: tuple[Figure, ...]
    strayed: tuple[Figure, ...]
    faster: bool
    torn: bool


def decide(figures: Sequence[Figure], rule: Rule) -> Answer:
    """Hold all figures of a case, the total first, against the rule."""
    total = figures[0]
    chances = [one.chance() for one in figures]
    beyond = [figures[n] for n in holm(chances, [one.share for one in figures], rule.look_alpha)]
    ranked = sorted(zip(chances, figures, strict=True), key=lambda pair: pair[0] / pair[1].share)
    return Answer(
        slower=tuple(one for one in beyond if one.unprecedented and _confirmed(one, rule)),
        suspicious=tuple(one for chance, one in ranked if chance <= rule.suspicion * one.share),
        strayed=tuple(one for one in beyond if not one.unprecedented),
        faster=total.chance(-1) <= rule.alpha,
        torn=len(set(total.ways(rule.look_alpha * total.share))) > 1,
    )


def _confirmed(figure: Figure, rule: Rule) -> bool:
    if not rule.confirmations:
        return True
    enough = figure.runs > rule.confirmations and figure.agreeing >= rule.confirmations
    return enough and 2 * figure.agreeing > figure.fresh


def detectable_rel(figure: Figure, rule: Rule, floor_log: float) -> float:
    """Smallest slowdown that is found with the rule's power, by the rule itself and with the runs that it buys.

    Where runs have to confirm, a slowdown must first be suspicious in one run and then proven by all of them: each
    of the two gets half of the misses.

    Args:
        figure: any; its own floor isn't looked at.
        rule: of the case.
        floor_log: 0 tells what chance alone would hide.
    """
    needs = []
    for scale in figure.scales:
        proof = rule.look_alpha * figure.share
        if not rule.confirmations:
            needed = max(scale.needed_log(proof, figure.runs), floor_log, scale.stray_log)
            needs.append(needed + score_beyond(1 - rule.power, math.inf) * scale.noise_log(figure.runs))
            continue
        margin = score_beyond((1 - rule.power) / 2, math.inf)
        first = max(scale.needed_log(rule.suspicion * figure.share, rule.first_runs), floor_log)
        last = max(scale.needed_log(proof, rule.most_runs), floor_log, scale.stray_log)
        needs.append(
            max(first + margin * scale.noise_log(rule.first_runs), last + margin * scale.noise_log(rule.most_runs))
        )
    return math.expm1(max(needs))


@functools.lru_cache(maxsize=64)
def shares_of(stages: int, groups: int) -> tuple[float, float, float]:
    """Shares of the error budget of the total, of each stage and of each group of steps; they add up to 1."""
    kinds = (stages > 0) + (groups > 0)
    if not kinds:
        return 1.0, 0.0, 0.0
    each_kind = (1 - TOTAL_SHARE) / kinds
    return TOTAL_SHARE, each_kind / stages if stages else 0.0, each_kind / groups if groups else 0.0
