"""The rule of the time gate on bare numbers: logarithms of runs in, what they prove out.

`judge.time.gate` reads the numbers from records and puts the answer into words; `judge.time.spread` knows how far
runs of unchanged code lie apart. `benchmarks/time_rules_study.py` replays this very code over simulated and recorded
noise.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING

from pytest_diffbench.judge.time.figures import kind_of, label
from pytest_diffbench.judge.time.spread import Strays, noises_of
from pytest_diffbench.stats.variance import Variance, chance_beyond, holm, score_beyond, spread_at_most

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.judge.time.spread import Experience, History, Noise, Peers

TOTAL_SHARE = 0.5
"""Of a case's error budget. Stages and groups of steps share the other half: they are many, and seldom alone."""

_NO_STRAYS = Strays()

_ENDLESS_LOG = math.log(1000.0)
"""Longer than anybody waits: a spread that nearly nothing is known of has no bounds."""

_SPREAD_CHANCE = 0.1
"""Chance with which a machine is noisier than a promise allows for."""

_HARDLY = 0.025
"""Chance with which further runs of the same day are thought to move a change: less isn't waited for."""


@dataclasses.dataclass(frozen=True, slots=True)
class Scale:
    """One figure on one scale: as measured, or without what the machine did to it.

    Attributes:
        low_log: change of each run of this session against the baseline's centre, in the order they were made, by
            which it is slower at least.
        high_log: the same, at most; equal to it where the machine kept its pace.
        noise: what chance does to it.
        least_log: spread under which no machine of this kind is believed.
        strays: runs of unchanged code that took far longer.
        looks: how often it may be called slower while runs come in.
        allowance_log: what the machine may have done for all that is known, taken off `low_log` already.
    """

    low_log: tuple[float, ...]
    high_log: tuple[float, ...]
    noise: Noise
    least_log: float
    strays: Strays = _NO_STRAYS
    looks: int = 1
    allowance_log: float = 0.0

    def change_log(self, way: int = 1) -> float:
        """Change of the session's mean: upwards (1) at least, or downwards (-1) at least."""
        shifts_log = self.low_log if way > 0 else self.high_log
        return math.fsum(shifts_log) / len(shifts_log)

    def noise_log(self, runs: int) -> float:
        """Standard deviation of the change of so many runs."""
        return max(self.noise.of(runs).deviation, self.least_log * self.noise.widening(runs))

    def chance(self, way: int) -> float:
        """Chance of a change as large as this one, upwards (1) or downwards (-1), when nothing changed.

        The larger of Student's with the spread that was estimated, and the normal with the least one: the first
        alarms as rarely as it says, the second keeps runs that agree by luck from promising too much.
        """
        runs, change_log = len(self.low_log), way * self.change_log(way)
        if change_log <= 0:
            return 1.0
        variance = self.noise.of(runs)
        chances = [0.0]
        if self.least_log > 0:
            chances.append(chance_beyond(change_log / (self.least_log * self.noise.widening(runs)), math.inf))
        if variance.value > 0 and variance.dof > 0:
            chances.append(chance_beyond(change_log / variance.deviation, variance.dof))
        return min(1.0, self._chances * max(chances))

    @property
    def _chances(self) -> int:
        return self.looks if self.noise.shrinks else 1

    def needed_log(self, alpha: float, runs: int) -> float:
        """The change of so many runs at which the chance falls to `alpha`."""
        chance, variance = alpha / self._chances, self.noise.of(runs)
        by_sample = score_beyond(chance, variance.dof) * variance.deviation if variance.dof > 0 else 0.0
        return max(by_sample, self._least_log(chance, runs))

    def margin_log(self, missed: float, runs: int) -> float:
        """By how much a change has to exceed what is needed, so that it is missed with at most this chance.

        By the normal quantile of a spread that is as large as nine of ten machines have where so little is known of
        it, so that a promise is kept on a machine that is noisier than expected too.
        """
        variance = self.noise.of(runs)
        largest_log = variance.deviation * spread_at_most(_SPREAD_CHANCE, variance.dof) if variance.dof > 0 else 0.0
        return max(score_beyond(missed, math.inf) * largest_log, self._least_log(missed, runs))

    def _least_log(self, chance: float, runs: int) -> float:
        """The change that the least spread exceeds with a chance."""
        return score_beyond(chance, math.inf) * self.least_log * self.noise.widening(runs)


def scale_of(
    past: History,
    low_log: Sequence[float],
    high_log: Sequence[float],
    peers: Peers,
    experience: Experience,
    rule: Rule,
    allowance_log: float = 0.0,
) -> Scale:
    """Hold the runs of a session against those of a baseline.

    Where the session's own day has recorded runs, it is held to those or to all days, whichever tells more; that is
    decided before its times are looked at.

    Args:
        past: the baseline's runs.
        low_log: logarithms of the session's times, by which they are slower at least.
        high_log: the same, at most.
        peers: other cases of the machine.
        experience: with machines of its kind.
        rule: of the case.
        allowance_log: what was taken off `low_log` since the machine's pace isn't known.
    """
    strays = Strays(
        tuple(sorted((*past.strays_log, *peers.strays.excess_log), reverse=True)),
        past.runs + peers.strays.runs,
    )
    scales = [
        Scale(
            tuple([run_log - centre_log for run_log in low_log]),
            tuple([run_log - centre_log for run_log in high_log]),
            noise,
            experience.least_log,
            strays,
            rule.looks,
            allowance_log,
        )
        for centre_log, noise in noises_of(past, peers, experience)
    ]
    return (
        min(scales, key=lambda scale: scale.needed_log(rule.alpha, rule.most_runs)) if len(scales) > 1 else scales[0]
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Pairs:
    """Noise of paired changes: each pair is its own baseline.

    `single_pair` is the moderated variance between pairs, and `spread_log` their spread alone.
    """

    single_pair: Variance
    spread_log: float
    pairs: int

    @property
    def shrinks(self) -> bool:
        return True

    def of(self, runs: int) -> Variance:
        """Variance of the mean of so many pairs: more of them tell more of their spread, too."""
        return Variance(self.single_pair.value / runs, self.single_pair.dof + max(0, runs - self.pairs))

    def widening(self, runs: int) -> float:
        return math.sqrt(1 / runs)

    def wander(self, runs: int, most: int) -> float:
        return math.sqrt(self.single_pair.value * max(0.0, 1 / runs - 1 / most))


@dataclasses.dataclass(frozen=True, slots=True)
class Figure:
    """One time that is judged: the total, a stage or a group of steps.

    Attributes:
        name: `total`, the stage, or the steps as `steps 0-7`.
        scales: as measured, and by the machine's pace where it is known; a change has to show on all of them.
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
        return len(self.scales[0].low_log)

    def beyond(self, floor_log: float, way: int = 1) -> bool:
        """Whether the change is larger than a floor on all scales."""
        return all(way * scale.change_log(way) > floor_log for scale in self.scales)

    def chance(self, way: int = 1) -> float:
        """Chance of the change on the scale where it is likeliest."""
        return max(scale.chance(way) for scale in self.scales)

    def unprecedented(self, alpha: float) -> bool:
        """Whether runs of unchanged code would stray so far with at most this chance."""
        return all(scale.strays.chance(scale.change_log(), self._beyond()) <= alpha for scale in self.scales)

    def _beyond(self) -> int:
        rows = zip(*(scale.low_log for scale in self.scales), strict=True)
        return max(1, sum(all(run_log > self.floor_log for run_log in row) for row in rows))

    def agreeing(self, way: int = 1) -> int:
        """How many of the fresh runs lie beyond the floor by themselves."""
        if not self.fresh:
            return 0
        rows = zip(
            *((scale.low_log if way > 0 else scale.high_log)[-self.fresh :] for scale in self.scales), strict=True
        )
        return sum(all(way * run_log > self.floor_log for run_log in row) for row in rows)

    def ways(self, alpha: float) -> tuple[int, ...]:
        """For each scale, the direction in which it is beyond chance and floor: 1, -1, or 0 for neither."""
        return tuple(
            next((way for way in (1, -1) if self._beyond_chance(scale, way, alpha)), 0) for scale in self.scales
        )

    def _beyond_chance(self, scale: Scale, way: int, alpha: float) -> bool:
        return way * scale.change_log(way) > self.floor_log and scale.chance(way) <= alpha

    def within_reach(self, alpha: float, most_runs: int, way: int = 1) -> bool:
        """Whether more runs, up to so many, may yet prove the change."""
        for scale in self.scales:
            hope_log = score_beyond(_HARDLY, math.inf) * scale.noise.wander(self.runs, max(most_runs, self.runs))
            needed_log = max(scale.needed_log(alpha, most_runs), self.floor_log)
            if way * scale.change_log(way) + hope_log < needed_log:
                return False
        return True


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How sure one case has to be.

    Attributes:
        alpha: chance that the case is called slower by chance alone, over all of its figures and looks; and faster.
        power: with which the smallest detectable change is found.
        confirmations: fresh runs that must agree before anything is called slower or faster; 0 lets one run decide.
        most_runs: of this session in all, the first included.
        first_runs: made before anything is decided.
    """

    alpha: float
    power: float
    confirmations: int
    most_runs: int
    first_runs: int = 1

    @property
    def looks(self) -> int:
        """How often the case may be called slower while runs come in: once for each number of runs."""
        return max(1, self.most_runs - self.confirmations) if self.confirmations else 1


def rule_of(limits: Limits, family_size: int) -> Rule:
    """The rule of each case in a session of so many: one error budget is spread over them."""
    return Rule(
        alpha=limits.time_alpha / family_size,
        power=limits.time_power,
        confirmations=limits.time_confirmations,
        most_runs=max(limits.time_max_runs, 1 + limits.time_confirmations),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What the runs prove. Figures stand in the order of their chance.

    Attributes:
        slower: proven.
        suspicious: not proven, and more runs may prove them.
        strayed: beyond chance and floor, but runs of unchanged code strayed as far.
        faster: the total is, proven.
        perhaps_faster: the total isn't proven to be, and more runs may prove it.
    """

    slower: tuple[Figure, ...]
    suspicious: tuple[Figure, ...]
    strayed: tuple[Figure, ...]
    faster: bool
    perhaps_faster: bool


def departs(figures: Sequence[Figure], rule: Rule) -> bool:
    """Whether a time is beyond chance and floor, either way, but for its confirmation."""
    for way in (1, -1):
        chances = [figure.chance(way) if figure.beyond(figure.floor_log, way) else 1.0 for figure in figures]
        if holm(chances, [figure.share for figure in figures], rule.alpha):
            return True
    return False


def decide(figures: Sequence[Figure], rule: Rule) -> Answer:
    """Hold all figures of a case, the total first, against the rule."""
    total = figures[0]
    # most figures lie nearer: no quantile is needed to see that they aren't conspicuous
    proofs = [figure.chance() if figure.beyond(figure.floor_log) else 1.0 for figure in figures]
    beyond = [figures[n] for n in holm(proofs, [figure.share for figure in figures], rule.alpha)]
    slower = tuple(
        figure for figure in beyond if figure.unprecedented(rule.alpha * figure.share) and _confirmed(figure, rule, 1)
    )
    ranked = sorted(zip(proofs, range(len(figures)), strict=True), key=lambda pair: pair[0] / figures[pair[1]].share)
    alpha = rule.alpha * total.share
    beyond_down = total.beyond(total.floor_log, -1) and total.chance(-1) <= alpha
    faster = beyond_down and _confirmed(total, rule, -1)
    return Answer(
        slower=slower,
        suspicious=tuple(
            figures[n]
            for _, n in ranked
            if figures[n] not in slower and figures[n].within_reach(rule.alpha * figures[n].share, rule.most_runs)
        ),
        strayed=tuple(figure for figure in beyond if not figure.unprecedented(rule.alpha * figure.share)),
        faster=faster,
        perhaps_faster=not faster and total.within_reach(alpha, rule.most_runs, -1),
    )


def _confirmed(figure: Figure, rule: Rule, way: int) -> bool:
    if not rule.confirmations:
        return True
    agreeing = figure.agreeing(way)
    enough = figure.runs > rule.confirmations and agreeing >= rule.confirmations
    return enough and 2 * agreeing > figure.fresh


def reason_of(figures: Sequence[Figure], answer: Answer, rule: Rule, blind_rel: float) -> str:
    """The second half of the reason code that an answer comes to, before the machine's readings are looked at.

    Args:
        figures: of the case, the total first.
        answer: of `decide`.
        rule: of the case.
        blind_rel: a gate that would sleep through this much must not say `same`.
    """
    total = figures[0]
    if answer.slower:
        kinds = {kind_of(figure.name) for figure in answer.slower}
        return "slower" if "total" in kinds else "stage_slower" if "stage" in kinds else "step_slower"
    if answer.faster:
        return "faster"
    if answer.suspicious or answer.strayed or answer.perhaps_faster:
        return "unconfirmed"
    # what chance alone would hide: a floor that somebody chose is no blindness
    return "blind" if detectable_rel(total, rule, 0.0) > blind_rel else "same"


def detectable_rel(figure: Figure, rule: Rule, floor_log: float) -> float:
    """Smallest slowdown that is found with the rule's power, by the rule itself and with the runs that it buys.

    Where runs have to confirm, a slowdown must first be within reach in one run and then be proven by all of them:
    each of the two gets half of the misses.

    Args:
        figure: any; its own floor isn't looked at.
        rule: of the case.
        floor_log: 0 tells what chance alone would hide.
    """
    missed = (1 - rule.power) / 2 if rule.confirmations else 1 - rule.power
    proof = rule.alpha * figure.share
    needs = []
    for scale in figure.scales:
        runs = rule.most_runs if rule.confirmations else figure.runs
        needed_log = max(scale.needed_log(proof, runs), floor_log, scale.strays.needed_log(proof, runs))
        needed = [needed_log + scale.margin_log(missed, runs)]
        if rule.confirmations:
            hope_log = score_beyond(_HARDLY, math.inf) * scale.noise.wander(rule.first_runs, rule.most_runs)
            needed += [
                needed_log - hope_log + scale.margin_log(missed, rule.first_runs),
                # most fresh runs have to lie beyond the floor by themselves
                floor_log + scale.margin_log(2 * missed, 1),
            ]
        needs.append(scale.allowance_log + max(needed))
    return math.expm1(min(max(needs), _ENDLESS_LOG))


def parts_detectable_rel(figures: Sequence[Figure], rule: Rule, steps: int) -> dict[str, float]:
    """Smallest slowdown that is found of each figure but the total, by its label; `steps` is the call's number."""
    return {label(figure.name, steps): detectable_rel(figure, rule, figure.floor_log) for figure in figures[1:]}


def interval(centre_log: float, half_log: float) -> tuple[float, float]:
    """An interval of logarithms as one of ratios."""
    return math.exp(centre_log - half_log), math.exp(centre_log + half_log)


def shares_by_name(names: Collection[str]) -> dict[str, float]:
    """The share of the error budget of each figure; see `shares_of`."""
    groups = sum(kind_of(name) == "step" for name in names)
    total, stage, group = shares_of(len(names) - 1 - groups, groups)
    return {name: {"total": total, "stage": stage, "step": group}[kind_of(name)] for name in names}


@functools.lru_cache(maxsize=64)
def shares_of(stages: int, groups: int) -> tuple[float, float, float]:
    """Shares of the error budget of the total, of each stage and of each group of steps; they add up to 1."""
    kinds = (stages > 0) + (groups > 0)
    if not kinds:
        return 1.0, 0.0, 0.0
    kind_share = (1 - TOTAL_SHARE) / kinds
    return TOTAL_SHARE, kind_share / stages if stages else 0.0, kind_share / groups if groups else 0.0
