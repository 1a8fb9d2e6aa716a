"""The time gate for variants: is one still as much faster than its reference as it was in the baseline?

Both times of a ratio are from one process, so the machine's pace isn't in it: ratios are judged on any machine, with
a tolerance that widens with the distance. A case without a ratio on both sides is judged by its time.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from typing import TYPE_CHECKING, Any

from pytest_diffbench.judge.definition import definition_changes, environment_changes
from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.judge.text import listed, percent, plural
from pytest_diffbench.judge.time import rule as time_rule
from pytest_diffbench.judge.time.gate import judge_time
from pytest_diffbench.judge.time.places import pair
from pytest_diffbench.judge.time.runs import alike, doubts, pace_against, sound, usual_paces_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.judge.question import Question
    from pytest_diffbench.records import Distance, Ratio, RatioRun, Verdict

_NOT_ABOUT_PACE = ("time.invalid", "time.parallel", "time.traced")
"""Of what speaks against a run's time, that which speaks against a ratio too: drift and spread fall out of it."""


_SUSPICION_FLOOR = 0.5
"""Of the floor: a single ratio that falls short of it by chance must not hide a loss that is worth a red test."""


def judge_time_or_ratio(question: Question) -> Verdict:
    """Judge a variant by its ratio where the baseline holds one, everything else by its time."""
    now, base = question.observation.ratio, question.baseline.baseline.ratio
    if now is None or base is None:
        return judge_time(question)
    doubt = doubts(question.observation.run, question.limits)
    if doubt is not None and doubt[0] in _NOT_ABOUT_PACE:
        return verdict(*doubt)
    if changed := _reference_changes(now, base):
        message = f"The baseline's ratio is to a reference that was called otherwise: {listed(changed)}."
        return verdict("time.ratio_reference", message, changes=changed)
    ratios = (now.runs[-1], *question.more_ratios)
    return _Evidence(ratios, base.runs, _distance(question), _itself_faster(question), question).decide()


def _reference_changes(now: Ratio, base: Ratio) -> tuple[str, ...]:
    changes = tuple(
        f"{change.field}: {change.before} -> {change.after}"
        for change in definition_changes(base.reference.definition, now.reference.definition)
    )
    if base.reference.id != now.reference.id:
        return (f"case: {base.reference.id} -> {now.reference.id}", *changes)
    return changes


def _on_cpu(question: Question) -> bool:
    return question.observation.run.environment.family == "cpu"


def _distance(question: Question) -> Distance:
    """How near the machine is; under other settings or other hardware the same class of machine is a relative."""
    distance = question.baseline.distance
    newest = question.baseline.baseline.runs[-1].environment
    if distance == "machine" and environment_changes(newest, question.observation.run.environment) is not None:
        return "family"
    return distance


def _itself_faster(question: Question) -> tuple[float, float] | None:
    """The variant's own time in the baseline and now, in seconds, where it takes less by more than the floor.

    As measured, and without what the machine explains where its pace is known: a faster machine isn't faster code.
    """
    if _distance(question) != "machine":
        return None  # times aren't comparable
    first, limits = question.observation.run, question.limits
    now = sound((first, *question.more_runs))
    comparable = [
        time_s
        for time_s in question.baseline.baseline.times
        if environment_changes(time_s.environment, first.environment) is None
    ]
    past = alike(sound(comparable), limits)
    if not past or not now:
        return None
    before_s, after_s = (statistics.geometric_mean(run.median_s for run in runs) for runs in (past, now))
    changes_log = [math.log(after_s / before_s)]
    usual_s = usual_paces_s(past)
    paces = [pace for run in now if (pace := pace_against(run, usual_s, limits)) is not None]
    if len(paces) == len(now):
        changes_log.append(changes_log[0] - statistics.fmean(pace.high_log for pace in paces))
    return (before_s, after_s) if max(changes_log) < -_floor_log(question) else None


def _floor_log(question: Question) -> float:
    limits = question.limits
    return math.log1p(limits.time_floor_cpu_rel if _on_cpu(question) else limits.time_floor_rel)


def _t(dof: float, alpha: float) -> float:
    """Student's quantile that is exceeded by chance `alpha`."""
    from scipy.special import stdtrit

    return float(stdtrit(max(dof, 1.0), 1 - alpha))


@dataclasses.dataclass(frozen=True, slots=True)
class _Evidence:
    """The ratios of this session, the first process's first, and those of the baseline."""

    now: Sequence[RatioRun]
    runs: Sequence[RatioRun]
    distance: Distance
    itself_faster: tuple[float, float] | None
    question: Question

    @property
    def _limits(self) -> Limits:
        return self.question.limits

    @property
    def _least_rel(self) -> float:
        limits = self._limits
        return limits.ratio_spread_cpu_rel if _on_cpu(self.question) else limits.ratio_spread_rel

    @property
    def _centre_log(self) -> float:
        return statistics.fmean(run.log_ratio for run in self.runs)

    @property
    def _travel_log(self) -> float:
        limits = self._limits
        travel_rel = {"machine": 0.0, "family": limits.ratio_family_rel, "any": limits.ratio_any_rel}[self.distance]
        return math.log1p(travel_rel)

    @property
    def _process(self) -> tuple[float, float]:
        """Spread of a ratio between processes, never less than the limits say, and its degrees of freedom.

        The stored ratios' own variance, drawn towards the least that is believed by as much as either is known.
        """
        logs, prior_dof = [run.log_ratio for run in self.runs], self._limits.ratio_prior_dof
        own_dof = len(logs) - 1
        own = statistics.variance(logs) if own_dof else 0.0
        both = (prior_dof * self._least_rel**2 + own_dof * own) / (prior_dof + own_dof)
        return max(self._least_rel, math.sqrt(both)), prior_dof + own_dof

    def _noise_log(self, mine: int) -> float:
        """Standard deviation of the difference between the mean of so many new ratios and the baseline's mean."""
        within = [statistics.fmean(run.standard_error_log**2 for run in runs) for runs in (self.now, self.runs)]
        between = self._process[0] ** 2
        return math.sqrt((within[0] + between) / mine + (within[1] + between) / len(self.runs))

    def _chance_log(self, alpha: float, mine: int) -> float:
        """A difference of so many new ratios within this is chance's, each part at its own degrees of freedom."""
        spread, dof = self._process
        within = [
            statistics.fmean((_t(run.blocks - 1, alpha) * run.standard_error_log) ** 2 for run in runs)
            for runs in (self.now, self.runs)
        ]
        between = (_t(dof, alpha) * spread) ** 2
        return math.sqrt((within[0] + between) / mine + (within[1] + between) / len(self.runs))

    @property
    def _rule(self) -> time_rule.Rule:
        """How sure a variant has to be: its own chance of an alarm, or its part of the session's if that is less."""
        limits = self._limits
        return dataclasses.replace(
            time_rule.rule_of(limits, self.question.decisions),
            alpha=min(limits.ratio_alpha, limits.time_alpha / self.question.decisions),
        )

    def _needed_log(self, mine: int) -> float:
        """Beyond this is what so many ratios prove, but for the distance."""
        return max(self._chance_log(self._rule.alpha / self._rule.looks, mine), _floor_log(self.question))

    def _suspicious_log(self, mine: int) -> float:
        """Beyond this so many ratios ask for more, but for the distance."""
        floor_log = _floor_log(self.question)
        if mine <= self._rule.confirmations:
            floor_log *= _SUSPICION_FLOOR
        return max(self._chance_log(self._limits.ratio_suspicion, mine), floor_log)

    def _detectable_log(self) -> float:
        """Smallest loss that is found with the rule's power: suspicious at first, then proven by the runs it buys.

        Each of the two gets half of the misses, as `time_rule.detectable_rel` has it.
        """
        rule, quantile = self._rule, statistics.NormalDist().inv_cdf
        if not rule.confirmations:
            count = len(self.now)
            return self._needed_log(count) + quantile(rule.power) * self._noise_log(count)
        margin = quantile((1 + rule.power) / 2)
        return max(
            self._suspicious_log(1) + margin * self._noise_log(1),
            self._needed_log(rule.most_runs) + margin * self._noise_log(rule.most_runs),
            # most fresh ratios have to lie beyond the floor by themselves
            _floor_log(self.question) + quantile(rule.power) * self._noise_log(1),
        )

    def decide(self) -> Verdict:
        """Judge the difference of the logarithms."""
        limits, rule, mine = self._limits, self._rule, len(self.now)
        now_log = statistics.fmean(run.log_ratio for run in self.now)
        gain_log = now_log - self._centre_log
        needed_log = self._needed_log(mine) + self._travel_log
        seen_log = self._detectable_log() + self._travel_log
        lost = [
            self._centre_log - run.log_ratio > _floor_log(self.question) + self._travel_log for run in self.now[1:]
        ]
        details: dict[str, Any] = {
            "speedup_rel": math.exp(now_log),
            "baseline_speedup_rel": math.exp(self._centre_log),
            "ratio_change_rel": math.expm1(gain_log),
            "runs": len(self.runs),
            "session_runs": mine,
            "blocks": self.now[0].blocks,
            "distance": self.distance,
            "allowed_rel": math.expm1(needed_log),
            "confirmed": sum(lost),
            "fresh_runs": len(lost),
            "decisions": self.question.decisions,
            "more_runs_help": False,
            "departs": abs(gain_log) > needed_log,
        }
        where = "" if self.distance == "machine" else " of another machine"
        figures = (
            f"{math.exp(self._centre_log):.3f} -> {math.exp(now_log):.3f} times as fast as the reference"
            f" ({percent(math.expm1(gain_log))}), {plural(len(self.runs), 'run')} in the baseline{where}"
        )
        if len(self.runs) < limits.ratio_min_runs:
            missing = plural(limits.ratio_min_runs - len(self.runs), "more run")
            message = f"Too little to judge by: {figures}; {missing} needed to know how far processes differ."
            return verdict("time.ratio_few_runs", message, details=details)
        details["detectable_rel"] = math.expm1(seen_log)
        stage = self._denoise()
        changes = [stage] if stage else []
        allowed = f"±{100 * math.expm1(needed_log):.2g} % are allowed"
        if gain_log > needed_log:
            message = f"It gains more: {figures}; {allowed}."
            return verdict("time.ratio_better", message, details=details, changes=changes)
        proven = gain_log < -needed_log and (
            not rule.confirmations or (sum(lost) >= rule.confirmations and 2 * sum(lost) > len(lost))
        )
        if proven or gain_log < -(self._suspicious_log(mine) + self._travel_log):
            if self.itself_faster is not None:
                message = (
                    f"It gains less: {figures}, yet it takes less time itself: {pair(*self.itself_faster)}."
                    " The reference gained more. To accept the new ratio, save."
                )
                return verdict("time.ratio_overtaken", message, details=details, changes=changes)
            if not proven:
                details["more_runs_help"] = rule.confirmations > 0 and mine < rule.most_runs
                told = f", {sum(lost)} of {len(lost)} in fresh processes agree" if lost else ""
                message = f"It may gain less: {figures}; {allowed}{told}. This isn't sure."
                return verdict("time.ratio_unconfirmed", message, details=details, changes=changes)
            told = f", confirmed in {sum(lost)} of {len(lost)} fresh processes" if lost else ""
            message = f"It gains less: {figures}; {allowed}{told}."
            return verdict("time.ratio_worse", message, details=details, changes=changes)
        if math.expm1(seen_log - self._travel_log) > limits.time_blind_rel:
            message = (
                f"Can't tell: {figures}; nothing under {percent(math.expm1(seen_log))} would have been seen. Measure"
                " more blocks, on a quiet machine."
            )
            return verdict("time.ratio_blind", message, details=details)
        message = f"It gains as much as before: {figures}; would have seen {percent(math.expm1(seen_log))} of time."
        return verdict("time.ratio_same", message, details=details)

    def _denoise(self) -> str | None:
        past, mine = (
            [run.denoise_log_ratio for run in runs if run.denoise_log_ratio is not None]
            for runs in (self.runs, self.now)
        )
        if not past or not mine:
            return None
        before, after = (math.exp(statistics.fmean(one)) for one in (past, mine))
        return f"denoise: {before:.3f} -> {after:.3f} times as fast as the reference's"
