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
from pytest_diffbench.judge.time_runs import doubts
from pytest_diffbench.judge.timing import judge_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.judge.question import Question
    from pytest_diffbench.records import Distance, Ratio, RatioRun, Verdict

_NOT_ABOUT_PACE = ("time.invalid", "time.parallel")
"""Of what speaks against a run's time, that which speaks against a ratio too: drift and spread fall out of it."""


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
    return _Evidence(now.runs[-1], base.runs, _distance(question), _on_cpu(question), question.limits).decide()


def _reference_changes(now: Ratio, base: Ratio) -> tuple[str, ...]:
    changes = definition_changes(base.reference.definition, now.reference.definition)
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


@dataclasses.dataclass(frozen=True, slots=True)
class _Evidence:
    """A new ratio and those of the baseline."""

    now: RatioRun
    runs: Sequence[RatioRun]
    distance: Distance
    on_cpu: bool
    limits: Limits

    @property
    def _centre_log(self) -> float:
        return statistics.fmean(one.log_ratio for one in self.runs)

    @property
    def _process_rel(self) -> float:
        """Spread of a ratio between processes: what the baseline shows, never less than the limits say."""
        least = self.limits.ratio_spread_cpu_rel if self.on_cpu else self.limits.ratio_spread_rel
        logs = [one.log_ratio for one in self.runs]
        return max(least, statistics.stdev(logs)) if len(logs) > 1 else least

    @property
    def _noise_log(self) -> float:
        """Standard deviation of the difference between the new ratio and the baseline's mean."""
        count = len(self.runs)
        within = statistics.fmean(one.standard_error_log**2 for one in self.runs) / count
        between = self._process_rel**2 * (1 + 1 / count)
        return math.sqrt(self.now.standard_error_log**2 + within + between)

    def _chance_log(self) -> float:
        """A difference within this is explained by chance, each part at its own number of degrees of freedom."""
        from scipy.special import stdtrit

        alpha, count = self.limits.ratio_alpha, len(self.runs)
        beyond = statistics.NormalDist().inv_cdf(1 - alpha)
        mine = float(stdtrit(max(self.now.blocks - 1, 1), 1 - alpha)) * self.now.standard_error_log
        theirs = [float(stdtrit(max(one.blocks - 1, 1), 1 - alpha)) * one.standard_error_log for one in self.runs]
        least = self.limits.ratio_spread_cpu_rel if self.on_cpu else self.limits.ratio_spread_rel
        between = beyond * least
        if count > 1:
            spread = statistics.stdev(one.log_ratio for one in self.runs)
            # Two or three runs that differ say little of how the next will; Student's quantile knows how little.
            between = max(between, float(stdtrit(count - 1, 1 - alpha)) * spread if count >= 3 else beyond * spread)
        return math.sqrt(mine**2 + statistics.fmean(one**2 for one in theirs) / count + between**2 * (1 + 1 / count))

    def decide(self) -> Verdict:
        """Judge the difference of the logarithms."""
        limits = self.limits
        gain_log = self.now.log_ratio - self._centre_log
        travel_rel = {"machine": 0.0, "family": limits.ratio_family_rel, "any": limits.ratio_any_rel}[self.distance]
        floor_rel = limits.time_floor_cpu_rel if self.on_cpu else limits.time_floor_rel
        needed_log = max(self._chance_log(), math.log1p(floor_rel)) + math.log1p(travel_rel)
        seen_log = needed_log + statistics.NormalDist().inv_cdf(limits.time_power) * self._noise_log
        details: dict[str, Any] = {
            "speedup_rel": math.exp(self.now.log_ratio),
            "baseline_speedup_rel": math.exp(self._centre_log),
            "ratio_change_rel": math.expm1(gain_log),
            "runs": len(self.runs),
            "blocks": self.now.blocks,
            "distance": self.distance,
            "allowed_rel": math.expm1(needed_log),
            "detectable_rel": math.expm1(seen_log),
        }
        where = "" if self.distance == "machine" else " of another machine"
        figures = (
            f"{math.exp(self._centre_log):.3f} -> {math.exp(self.now.log_ratio):.3f} times as fast as the reference"
            f" ({percent(math.expm1(gain_log))}), {plural(len(self.runs), 'run')} in the baseline{where}"
        )
        stage = self._denoise()
        changes = [stage] if stage else []
        if abs(gain_log) > needed_log:
            reason, word = ("ratio_better", "more") if gain_log > 0 else ("ratio_worse", "less")
            message = f"It gains {word}: {figures}; ±{100 * math.expm1(needed_log):.2g} % are allowed."
            return verdict(f"time.{reason}", message, details=details, changes=changes)
        if math.expm1(seen_log - math.log1p(travel_rel)) > limits.time_blind_rel:
            message = (
                f"Can't tell: {figures}; nothing under {percent(math.expm1(seen_log))} would have been seen. Measure"
                " more blocks, on a quiet machine."
            )
            return verdict("time.ratio_blind", message, details=details)
        message = f"It gains as much as before: {figures}; would have seen {percent(math.expm1(seen_log))} of time."
        return verdict("time.ratio_same", message, details=details)

    def _denoise(self) -> str | None:
        past = [one.denoise_log_ratio for one in self.runs if one.denoise_log_ratio is not None]
        if self.now.denoise_log_ratio is None or not past:
            return None
        before, after = math.exp(statistics.fmean(past)), math.exp(self.now.denoise_log_ratio)
        return f"denoise: {before:.3f} -> {after:.3f} times as fast as the reference's"
