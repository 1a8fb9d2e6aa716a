"""The time gate for variants: is one still as much faster than its reference as it was in the baseline?

Both times of a ratio are from one process, so the machine's pace isn't in it: ratios are judged on any machine, with
a tolerance that widens with the distance. A case without a ratio on both sides is judged by its time.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from typing import TYPE_CHECKING

import msgspec

from pytest_diffbench.judge.definition import definition_changes, environment_changes
from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.judge.time import rule as time_rule
from pytest_diffbench.judge.time.gate import judge_time
from pytest_diffbench.judge.time.runs import (
    alike,
    comparable,
    doubts,
    pace_against,
    reason_of_doubt,
    sound,
    usual_paces_s,
)
from pytest_diffbench.records.details import FieldChange, RatioDetails, TimeDetails

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.judge.gate_input import GateInput
    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.records import Distance, Ratio, RatioRun, Verdict

_NOT_ABOUT_PACE = ("invalid", "parallel", "traced")
"""Of what speaks against a run's time, that which speaks against a ratio too: drift and spread fall out of it."""


_SUSPICION_FLOOR = 0.5
"""Of the floor: a single ratio that falls short of it by chance must not hide a loss that is worth a red test."""


def judge_time_or_ratio(gate_input: GateInput) -> Verdict:
    """Judge a variant by its ratio where the baseline holds one, everything else by its time."""
    now, base = gate_input.observation.ratio, gate_input.baseline.baseline.ratio
    if now is None or base is None:
        return judge_time(gate_input)
    doubt = doubts(gate_input.observation.run, gate_input.limits)
    if doubt is not None and doubt.kind in _NOT_ABOUT_PACE:
        return verdict(reason_of_doubt(doubt), details=TimeDetails(doubt=doubt))
    if changed := _reference_changes(now, base):
        return verdict("time.ratio_reference", details=RatioDetails(reference=changed))
    ratios = (now.runs[-1], *gate_input.more_ratios)
    return _Evidence(ratios, base.runs, _distance(gate_input), _itself_faster(gate_input), gate_input).decide()


def _reference_changes(now: Ratio, base: Ratio) -> tuple[FieldChange, ...]:
    changes = definition_changes(base.reference.definition, now.reference.definition)
    if base.reference.id != now.reference.id:
        return (FieldChange(field="case", before=base.reference.id, after=now.reference.id), *changes)
    return changes


def _on_cpu(gate_input: GateInput) -> bool:
    return gate_input.observation.run.environment.family == "cpu"


def _distance(gate_input: GateInput) -> Distance:
    """How near the machine is; under other settings or other hardware the same class of machine is a relative."""
    distance = gate_input.baseline.distance
    newest = gate_input.baseline.baseline.runs[-1].environment
    if distance == "machine" and environment_changes(newest, gate_input.observation.run.environment) is not None:
        return "family"
    return distance


def _itself_faster(gate_input: GateInput) -> tuple[float, float] | None:
    """The variant's own time in the baseline and now, in seconds, where it takes less by more than the floor.

    As measured, and without what the machine explains where its pace is known: a faster machine isn't faster code.
    """
    if _distance(gate_input) != "machine":
        return None  # times aren't comparable
    first, limits = gate_input.observation.run, gate_input.limits
    now = sound((first, *gate_input.more_runs))
    past = alike(sound(comparable(gate_input.baseline.baseline.times, first.environment)), limits)
    if not past or not now:
        return None
    before_s, after_s = (statistics.geometric_mean(run.median_s for run in runs) for runs in (past, now))
    changes_log = [math.log(after_s / before_s)]
    usual_s = usual_paces_s(past)
    paces = [pace for run in now if (pace := pace_against(run, usual_s, limits)) is not None]
    if len(paces) == len(now):
        changes_log.append(changes_log[0] - statistics.fmean(pace.high_log for pace in paces))
    return (before_s, after_s) if max(changes_log) < -_floor_log(gate_input) else None


def _floor_log(gate_input: GateInput) -> float:
    limits = gate_input.limits
    return math.log1p(limits.time_floor_cpu_rel if _on_cpu(gate_input) else limits.time_floor_rel)


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
    gate_input: GateInput

    @property
    def _limits(self) -> Limits:
        return self.gate_input.limits

    @property
    def _least_rel(self) -> float:
        limits = self._limits
        return limits.ratio_spread_cpu_rel if _on_cpu(self.gate_input) else limits.ratio_spread_rel

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

    def _noise_log(self, count: int) -> float:
        """Standard deviation of the difference between the mean of so many new ratios and the baseline's mean."""
        within = [statistics.fmean(run.standard_error_log**2 for run in runs) for runs in (self.now, self.runs)]
        between = self._process[0] ** 2
        return math.sqrt((within[0] + between) / count + (within[1] + between) / len(self.runs))

    def _chance_log(self, alpha: float, count: int) -> float:
        """A difference of so many new ratios within this is chance's, each part at its own degrees of freedom."""
        spread, dof = self._process
        within = [
            statistics.fmean((_t(run.blocks - 1, alpha) * run.standard_error_log) ** 2 for run in runs)
            for runs in (self.now, self.runs)
        ]
        between = (_t(dof, alpha) * spread) ** 2
        return math.sqrt((within[0] + between) / count + (within[1] + between) / len(self.runs))

    @property
    def _rule(self) -> time_rule.Rule:
        """How sure a variant has to be: its own chance of an alarm, or its part of the session's if that is less."""
        limits = self._limits
        return dataclasses.replace(
            time_rule.rule_of(limits, self.gate_input.family_size),
            alpha=min(limits.ratio_alpha, limits.time_alpha / self.gate_input.family_size),
        )

    def _needed_log(self, count: int) -> float:
        """Beyond this is what so many ratios prove, but for the distance."""
        return max(self._chance_log(self._rule.alpha / self._rule.looks, count), _floor_log(self.gate_input))

    def _suspicious_log(self, count: int) -> float:
        """Beyond this so many ratios ask for more, but for the distance."""
        floor_log = _floor_log(self.gate_input)
        if count <= self._rule.confirmations:
            floor_log *= _SUSPICION_FLOOR
        return max(self._chance_log(self._limits.ratio_suspicion, count), floor_log)

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
            _floor_log(self.gate_input) + quantile(rule.power) * self._noise_log(1),
        )

    def decide(self) -> Verdict:
        """Judge the difference of the logarithms."""
        limits, rule, count = self._limits, self._rule, len(self.now)
        now_log = statistics.fmean(run.log_ratio for run in self.now)
        gain_log = now_log - self._centre_log
        needed_log = self._needed_log(count) + self._travel_log
        detectable_log = self._detectable_log() + self._travel_log
        lost = [
            self._centre_log - run.log_ratio > _floor_log(self.gate_input) + self._travel_log for run in self.now[1:]
        ]
        details = RatioDetails(
            speedup_rel=math.exp(now_log),
            baseline_speedup_rel=math.exp(self._centre_log),
            ratio_change_rel=math.expm1(gain_log),
            runs=len(self.runs),
            runs_needed=limits.ratio_min_runs,
            session_runs=count,
            blocks=self.now[0].blocks,
            distance=self.distance,
            allowed_rel=math.expm1(needed_log),
            confirmed=sum(lost),
            fresh_runs=len(lost),
            decisions=self.gate_input.family_size,
            departs=abs(gain_log) > needed_log,
        )
        if len(self.runs) < limits.ratio_min_runs:
            return verdict("time.ratio_few_runs", details=details)
        details = msgspec.structs.replace(
            details,
            detectable_rel=math.expm1(detectable_log),
            itself_s=self.itself_faster,
            denoise_speedup_rel=self._denoise(),
        )
        if gain_log > needed_log:
            return verdict("time.ratio_better", details=details)
        proven = gain_log < -needed_log and (
            not rule.confirmations or (sum(lost) >= rule.confirmations and 2 * sum(lost) > len(lost))
        )
        if proven or gain_log < -(self._suspicious_log(count) + self._travel_log):
            if self.itself_faster is not None:
                return verdict("time.ratio_overtaken", details=details)
            if not proven:
                help_more = rule.confirmations > 0 and count < rule.most_runs
                return verdict(
                    "time.ratio_unconfirmed", details=msgspec.structs.replace(details, more_runs_help=help_more)
                )
            return verdict("time.ratio_worse", details=details)
        if math.expm1(detectable_log - self._travel_log) > limits.time_blind_rel:
            return verdict("time.ratio_blind", details=details)
        return verdict("time.ratio_same", details=details)

    def _denoise(self) -> tuple[float, float] | None:
        sides = [
            [run.denoise_log_ratio for run in runs if run.denoise_log_ratio is not None]
            for runs in (self.runs, self.now)
        ]
        if not all(sides):
            return None
        before, after = (math.exp(statistics.fmean(logs)) for logs in sides)
        return before, after
