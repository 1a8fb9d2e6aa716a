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
    pooled,
    prior_of,
    score_beyond,
    within,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.judge.limits import Limits

TOTAL_SHARE = 0.5
"""Of a case's error budget. Stages and groups of steps share the other half: they are many, and seldom alone."""

_TAIL_CHANCE = 0.01
"""A stray run that chance alone would show less often than this among all neighbours tells of a tail."""

_STRAY_MARGIN = 1.1
"""The next stray may lie a little further than the furthest of a few."""

SUSPICION_FLOOR = 0.5
"""Of the floor: a single run that falls short of it by chance must not hide a change that is worth a red test."""

_LEAST_OF_PRIOR = 0.1
"""Spreads under this share of the least that is believed count as this much when neighbours are pooled."""


@dataclasses.dataclass(frozen=True, slots=True)
class Neighbours:
    """What other cases of the machine say about one figure.

    Attributes:
        prior: variance between runs, None while too few cases have one.
        stray_log: furthest that one run lay above the mean of the others of its case, where that is further than
            chance explains; 0 where no run strayed.
    """

    prior: Variance | None = None
    stray_log: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class CaseSpread:
    """How far the past runs of one case spread.

    Attributes:
        runs: how many there are.
        centre_log: their mean.
        variance: between them.
        usual_log: spread of the bulk of them, from the median deviation: a stray run hardly moves it.
        stray_log: furthest that one run lies above the mean of the others; 0 for fewer than two.
    """

    runs: int
    centre_log: float
    variance: Variance
    usual_log: float
    stray_log: float


def spread_of(past: Sequence[float]) -> CaseSpread:
    """Sum up the logarithms of one case's past runs, at least one."""
    ordered = sorted(past)
    count = len(ordered)
    middle, centre = ordered[count // 2], math.fsum(ordered) / count
    usual_log = 1.4826 * sorted([abs(one - middle) for one in ordered])[count // 2]
    stray_log = (ordered[-1] - centre) * count / (count - 1) if count > 1 else 0.0
    return CaseSpread(count, centre, within([past]), usual_log, stray_log)


def neighbours_of(cases: Sequence[CaseSpread], least_log: float, most_dof: float) -> Neighbours:
    """Pool other cases.

    Runs that strayed further than the largest of so many normal ones would are the machine's tail: it may hit any
    case. Shorter ones are what the spread already says.

    Args:
        cases: one entry a case.
        least_log: spread between runs under which no machine of this kind is believed.
        most_dof: bound on what the neighbours count for.
    """
    known = [case for case in cases if case.runs > 1]
    if not known:
        return Neighbours()
    prior = prior_of([case.variance for case in known], (_LEAST_OF_PRIOR * least_log) ** 2, most_dof)
    # of the bulk: where most cases have a stray run, their variances tell of nothing else
    typical_log = max(least_log, sorted([case.usual_log for case in known])[len(known) // 2])
    score = score_beyond(_TAIL_CHANCE / sum(case.runs for case in known), math.inf)
    strays = [
        case.stray_log
        for case in known
        if case.stray_log > score * max(typical_log, case.usual_log) * math.sqrt(1 + 1 / (case.runs - 1))
    ]
    return Neighbours(prior, max(strays, default=0.0))


@dataclasses.dataclass(frozen=True, slots=True)
class Scale:
    """One figure on one scale: as measured, or divided by the calibration.

    Attributes:
        each_log: change of each run of this session against the baseline's mean, in the order they were made.
        past_runs: of the baseline; infinite for pairs, where each run brings its own baseline.
        variance: between runs, moderated by the neighbours'.
        spread_log: between the runs of this case alone.
        least_log: spread under which no machine of this kind is believed.
        stray_log: as far as a single run may stray upwards with the code unchanged.
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


def two_sided_scale(past: CaseSpread, now: Sequence[float], neighbours: Neighbours, least_log: float) -> Scale:
    """Hold the runs of a session against those of a baseline: a difference of two means."""
    own = pooled(past.variance, within([now]))
    return Scale(
        tuple([one - past.centre_log for one in now]),
        past.runs,
        moderated(own, neighbours.prior),
        own.deviation,
        least_log,
        _STRAY_MARGIN * max(neighbours.stray_log, past.stray_log),
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

    def beyond(self, floor_log: float, way: int = 1) -> bool:
        """Whether the change is larger than a floor on all scales."""
        return all(way * scale.change_log > floor_log for scale in self.scales)

    def chance(self, way: int = 1) -> float:
        """Chance of the change on the scale where it is likeliest."""
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


def rule_of(limits: Limits, decisions: int) -> Rule:
    """The rule of each case in a session of so many: one error budget is spread over them."""
    return Rule(
        alpha=limits.time_alpha / decisions,
        suspicion=limits.time_suspicion,
        power=limits.time_power,
        confirmations=limits.time_confirmations,
        most_runs=max(limits.time_max_runs, 1 + limits.time_confirmations),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What the runs prove. Figures stand in the order of their chance.

    Attributes:
        slower: proven.
        suspicious: slower at the loose level; proven ones too, and by a single run those short of the floor.
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
    # until there are enough runs for a proof, a change short of the floor may be one beyond it
    allowance = SUSPICION_FLOOR if total.runs <= rule.confirmations else 1.0
    # most figures lie nearer: no quantile is needed to see that they aren't conspicuous
    chances = [one.chance() if one.beyond(allowance * one.floor_log) else 1.0 for one in figures]
    proofs = [chance if one.beyond(one.floor_log) else 1.0 for one, chance in zip(figures, chances, strict=True)]
    beyond = [figures[n] for n in holm(proofs, [one.share for one in figures], rule.look_alpha)]
    ranked = sorted(zip(chances, figures, strict=True), key=lambda pair: pair[0] / pair[1].share)
    return Answer(
        slower=tuple(one for one in beyond if one.unprecedented and _confirmed(one, rule)),
        suspicious=tuple(one for chance, one in ranked if chance <= rule.suspicion * one.share),
        strayed=tuple(one for one in beyond if not one.unprecedented),
        faster=total.beyond(total.floor_log, -1) and total.chance(-1) <= rule.alpha,
        torn=len(set(total.ways(rule.look_alpha * total.share))) > 1,
    )


def _confirmed(figure: Figure, rule: Rule) -> bool:
    if not rule.confirmations:
        return True
    enough = figure.runs > rule.confirmations and figure.agreeing >= rule.confirmations
    return enough and 2 * figure.agreeing > figure.fresh


def reason_of(figures: Sequence[Figure], answer: Answer, rule: Rule, blind_rel: float) -> str:
    """The second half of the reason code that an answer comes to, before the machine's readings are looked at.

    Args:
        figures: of the case, the total first.
        answer: of `decide`.
        rule: of the case.
        blind_rel: a gate that would sleep through this much must not say `same`.
    """
    total = figures[0]
    calibrated = len(total.scales) > 1
    if answer.slower:
        names = {one.name for one in answer.slower}
        alone = "step_slower" if all(name.startswith("steps:") for name in names) else "stage_slower"
        # without a calibration a slow machine can't be told from slow code
        return "no_calibration" if not calibrated else "slower" if total.name in names else alone
    if not calibrated and total.ways(rule.look_alpha * total.share) != (0,):
        return "no_calibration"
    if answer.faster:
        return "faster"
    if answer.suspicious or answer.torn:
        return "unconfirmed"
    # what chance alone would hide: a floor that somebody chose is no blindness
    return "blind" if detectable_rel(total, rule, 0.0) > blind_rel else "same"


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
        first = max(scale.needed_log(rule.suspicion * figure.share, rule.first_runs), SUSPICION_FLOOR * floor_log)
        last = max(scale.needed_log(proof, rule.most_runs), floor_log, scale.stray_log)
        needs += [
            first + margin * scale.noise_log(rule.first_runs),
            last + margin * scale.noise_log(rule.most_runs),
            # most fresh runs have to lie beyond the floor by themselves
            floor_log + score_beyond(1 - rule.power, math.inf) * scale.noise_log(1),
        ]
    return math.expm1(max(needs))


@functools.lru_cache(maxsize=64)
def shares_of(stages: int, groups: int) -> tuple[float, float, float]:
    """Shares of the error budget of the total, of each stage and of each group of steps; they add up to 1."""
    kinds = (stages > 0) + (groups > 0)
    if not kinds:
        return 1.0, 0.0, 0.0
    each_kind = (1 - TOTAL_SHARE) / kinds
    return TOTAL_SHARE, each_kind / stages if stages else 0.0, each_kind / groups if groups else 0.0
