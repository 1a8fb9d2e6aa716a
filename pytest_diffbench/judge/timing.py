"""The time gate: as fast as the baseline, beyond what the spread between runs and the machine itself explain?

Evidence is counted in runs (processes), never in rounds: rounds of one process share clocks, heat and luck.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from typing import TYPE_CHECKING, Any

from pytest_diffbench.judge import time_rule, time_telemetry
from pytest_diffbench.judge.definition import environment_changes
from pytest_diffbench.judge.places import carriers, moved_steps, pair
from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.judge.text import listed, percent, plural, seconds, step_list
from pytest_diffbench.judge.time_figures import TOTAL, calibration_s, label, logs, times_of
from pytest_diffbench.judge.time_runs import (
    INVALID,
    alike,
    doubts,
    floors_of,
    is_valid,
    on_pace,
    sound,
    total_floor_rel,
)
from pytest_diffbench.records import format_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.judge.question import Question
    from pytest_diffbench.judge.time_rule import Figure
    from pytest_diffbench.records import Run, Verdict

_HELPED = frozenset({"time.invalid", "time.unsteady"})
"""Doubts about one run that the run of another process may not share."""


def judge_time(question: Question) -> Verdict:
    """Compare this session's runs with the baseline's."""
    first, reference, limits = question.observation.run, question.baseline, question.limits
    newest = reference.baseline.runs[-1]
    if reference.distance != "machine":
        message = f"Time is compared on one class of machine only; the baseline is of {newest.environment.machine}."
        return verdict("time.other_machine", message)
    timed = reference.baseline.timed_runs
    if not timed:
        message = (
            f"{reference.path} holds no times: they were left out when it was saved. "
            "--diffbench-save adds those of a steady run."
        )
        return verdict("time.no_baseline", message)
    comparable = [run for run in timed if environment_changes(run.environment, first.environment) is None]
    if not comparable:
        kind, facts = environment_changes(newest.environment, first.environment) or ("settings", "")
        what = "hardware differs" if kind == "hardware" else "settings differ"
        return verdict(f"time.{kind}", f"The {what} from the baseline's, so times can't be compared: {facts}.")
    past = alike(sound(comparable), limits)
    more = limits.time_confirmations > 0 and 1 + len(question.more_runs) < _rule(question).most_runs
    notes = []
    if left_out := len(timed) - len(past):
        why = "measured in parallel, with other settings, or on a machine off its usual pace"
        notes.append(f"{plural(left_out, 'run')} of the baseline left out: {why}")
    now = _usable(question)
    if not now:
        return _doubted(question, past, notes, more=more)
    if aside := 1 + len(question.more_runs) - len(now):
        notes.append(f"{plural(aside, 'run')} of this session left out: unsteady, or not comparable with the first")
    if len(past) < limits.time_min_runs:
        evidence = _Evidence(question, now, past, notes)
        missing = limits.time_min_runs - len(past)
        message = (
            f"{plural(len(past), 'run')} in the baseline, {plural(missing, 'more run')} needed to know their spread."
            f"{evidence.aside()}"
        )
        return evidence.verdict("time.few_runs", message)
    paced, machine = on_pace(now, past, limits)
    if machine is not None and not paced:
        evidence = _Evidence(question, now, past, notes, machine=machine, may_buy=more)
        return evidence.off_pace()
    if len(paced) < len(now):
        notes.append(f"{plural(len(now) - len(paced), 'run')} of this session left out: machine off its usual pace")
    return _Evidence(question, paced, past, notes, machine=machine, may_buy=more).decide()


def _usable(question: Question) -> list[Run]:
    """Runs of this session that nothing speaks against, the first among them where it is one."""
    first = question.observation.run
    return [
        run
        for run in (first, *question.more_runs)
        if doubts(run, question.limits) is None and environment_changes(first.environment, run.environment) is None
    ]


def _doubted(question: Question, past: list[Run], notes: list[str], *, more: bool) -> Verdict:
    """Say what speaks against the first run, where no other stands in for it."""
    first = question.observation.run
    reason, message = doubts(first, question.limits) or INVALID
    if not is_valid(first):
        return verdict(reason, message, details={"more_runs_help": more}, changes=notes)
    evidence = _Evidence(question, [first], past, notes, may_buy=more and reason in _HELPED)
    return evidence.verdict(reason, message + evidence.aside(), more_runs_help=evidence.may_buy)


def _rule(question: Question) -> time_rule.Rule:
    return time_rule.rule_of(question.limits, question.decisions)


@dataclasses.dataclass(slots=True)
class _Evidence:
    """The runs of a session and of a baseline that may be held against each other, and what they say."""

    question: Question
    now: list[Run]
    past: list[Run]
    notes: list[str]
    machine: float | None = None
    may_buy: bool = False

    @property
    def _limits(self) -> Limits:
        return self.question.limits

    @property
    def _family(self) -> str:
        return self.now[0].environment.family

    @property
    def _now_s(self) -> float:
        """Geometric mean of this session's medians, as the baseline's is one."""
        return statistics.geometric_mean(run.median_s for run in self.now)

    @property
    def _base_s(self) -> float:
        return statistics.geometric_mean(run.median_s for run in self.past)

    def _details(self) -> dict[str, Any]:
        """Figures that are known before anything is decided."""
        base_s = self._base_s if self.past else self._now_s
        figures: dict[str, Any] = {
            "runs": len(self.past),
            "runs_needed": self._limits.time_min_runs,
            "session_runs": len(self.now),
            "rounds": sum(len(run.rounds) for run in self.now),
            "median_s": self._now_s,
            "floor_rel": total_floor_rel(self._limits, self._family, base_s),
            "more_runs_help": False,
        }
        if self.machine is not None:
            figures["machine_ratio"] = self.machine
        if self.past:
            figures["baseline_s"] = base_s
            figures["ratio"] = self._now_s / base_s
            mine, theirs = [r.stage_medians_s for r in self.now], [r.stage_medians_s for r in self.past]
            figures["stage_ratios"] = {
                stage: statistics.median(one[stage] for one in mine) / before_s
                for stage in mine[0]
                if all(stage in one for one in (*mine, *theirs))
                and (before_s := statistics.median(one[stage] for one in theirs)) > 0
            }
        return figures

    def verdict(self, reason: str, message: str, *, located: bool = True, **details: Any) -> Verdict:
        """Write the answer, with the bare figures, the places that moved and the remarks."""
        places = carriers(self.question, self.now, self.past) if located and self.past else []
        changes = [*places, *self.notes, *time_telemetry.remarks(self.now)]
        return verdict(reason, message, details=self._details() | details, changes=changes)

    def aside(self) -> str:
        """The bare figures, for a verdict that rests on something else."""
        if not self.past:
            return f" Measured: {seconds(self._now_s)}."
        return f" For what it is worth: {self._pair()}."

    def _pair(self) -> str:
        return pair(self._base_s, self._now_s)

    def off_pace(self) -> Verdict:
        """Say that the machine is another one today."""
        assert self.machine is not None  # known, since it is off
        kind = "slower" if self.machine > 1 else "faster"
        message = (
            f"The machine itself is {kind} than it was: fixed work took {percent(self.machine - 1)}."
            f" The case: {self._pair()}."
        )
        return self.verdict(f"time.machine_{kind}", message, more_runs_help=self.may_buy)

    def _figures(self) -> list[Figure]:
        """All times that are judged, as measured and, where both sides have enough of it, by the calibration."""
        limits, family = self._limits, self._family
        least_log = limits.time_spread_cpu_rel if family == "cpu" else limits.time_spread_rel
        mine, theirs = times_of(self.now), times_of(self.past)
        if len(self.now[0].step_medians_s) != len(self.past[0].step_medians_s):
            theirs = {name: times for name, times in theirs.items() if not name.startswith("steps:")}
        names = [name for name in mine if name in theirs]
        base_s = {name: statistics.geometric_mean(theirs[name]) for name in names}
        floors = floors_of(limits, family, names, base_s)
        groups = sum(name.startswith("steps:") for name in names)
        shares = time_rule.shares_of(len(names) - 1 - groups, groups)
        around = [alike(sound(self._comparable(runs)), limits) for runs in self.question.neighbours.values()]
        scales = [_scales(mine, theirs, [times_of(runs) for runs in around if len(runs) > 1], names, self, least_log)]
        calibrated = self._calibrated(around)
        if calibrated is not None:
            scales.append(_scales(*calibrated, names, self, least_log))
        # the first run asked the question; those of fresh processes confirm it
        fresh = len(self.now) - (self.now[0] is self.question.observation.run)
        return [
            time_rule.Figure(
                name,
                tuple(one[name] for one in scales),
                floors[name],
                shares[0 if name == TOTAL else 2 if name.startswith("steps:") else 1],
                fresh,
            )
            for name in names
        ]

    def _comparable(self, runs: Sequence[Run]) -> list[Run]:
        return [run for run in runs if environment_changes(run.environment, self.now[0].environment) is None]

    def _calibrated(self, around: list[list[Run]]) -> tuple[_Logs, _Logs, list[_Logs]] | None:
        """Times over the pace of the machine, of this session, of the baseline, and of the neighbours."""
        past = [run for run in self.past if calibration_s(run) is not None]
        if self.machine is None or len(past) < self._limits.time_min_runs:
            return None
        near = [[run for run in runs if calibration_s(run) is not None] for runs in around]
        return _paced(self.now), _paced(past), [_paced(runs) for runs in near if len(runs) > 1]

    def decide(self) -> Verdict:
        """Judge by the change as measured and by the change after calibration, which must agree."""
        figures, rule = self._figures(), _rule(self.question)
        answer = time_rule.decide(figures, rule)
        total = figures[0]
        raw = total.scales[0]
        alpha = rule.look_alpha * total.share
        half_log = raw.needed_log(alpha, total.runs)
        steps = len(self.now[0].step_medians_s)
        seen_rel = time_rule.detectable_rel(total, rule, total.floor_log)
        details: dict[str, Any] = {
            "spread_rel": raw.spread_log,
            "moderated_spread_rel": raw.variance.deviation,
            "chance_interval": [math.exp(-half_log), math.exp(half_log)],
            "ratio_interval": [math.exp(raw.change_log + way * half_log) for way in (-1, 1)],
            "detectable_rel": seen_rel,
            "parts_detectable_rel": {
                label(one.name, steps): time_rule.detectable_rel(one, rule, one.floor_log) for one in figures[1:]
            },
            "confirmed": total.agreeing,
            "fresh_runs": total.fresh,
            "decisions": self.question.decisions,
        }
        after = ""
        if len(total.scales) > 1:
            adjusted = total.scales[1]
            wide_log = adjusted.needed_log(alpha, total.runs)
            details["adjusted_ratio"] = math.exp(adjusted.change_log)
            details["adjusted_chance_interval"] = [math.exp(-wide_log), math.exp(wide_log)]
            after = f", {percent(math.expm1(adjusted.change_log))} after calibration"
        reason = time_rule.reason_of(figures, answer, rule, self._limits.time_blind_rel)
        if reason.endswith("slower"):
            return self._slower(answer.slower, half_log, after, details)
        if reason == "faster":
            message = f"Faster: {self._pair()}{after}. {self._explained(half_log, total.floor_log)}."
            return self.verdict("time.faster", message, **details)
        if reason == "no_calibration":
            message = (
                f"{self._pair()}, beyond chance, but without a calibration on both sides a slow machine can't"
                " be told from slow code."
            )
            return self.verdict("time.no_calibration", message, **details)
        if reason == "unconfirmed":
            return self._open(answer, total.ways(alpha), after, details)
        return self._same(reason, seen_rel, time_rule.detectable_rel(total, rule, 0.0), details)

    def _explained(self, half_log: float, floor_log: float) -> str:
        chance = f"{plural(len(self.past), 'run')} of the baseline explain ±{100 * math.expm1(half_log):.2g} %"
        return f"{chance}, the floor is {100 * math.expm1(floor_log):.2g} %"

    def _slower(self, slower: Sequence[Figure], half_log: float, after: str, details: dict[str, Any]) -> Verdict:
        """Write what is proven: the total where it is, else the stages, else the steps."""
        # the reason follows what weighs most, whichever of them is least likely
        leading = min(slower, key=lambda one: (one.name != TOTAL, one.name.startswith("steps:")))
        if self._limits.time_confirmations:
            details["confirmed"], details["fresh_runs"] = leading.agreeing, leading.fresh
            after += f", confirmed by {leading.agreeing} of {plural(leading.fresh, 'fresh process')}"
        explained = time_telemetry.clocks_explain(self.now, self.past, leading, slower)
        if explained is not None:
            part = f"{label(leading.name, len(self.now[0].step_medians_s))} {self._part(leading.name)}"
            message = (
                f"{self._pair() if leading.name == TOTAL else part}, but {explained}. A slow clock isn't slow code."
            )
            return self.verdict("time.clocks", message, **details | {"more_runs_help": self.may_buy})
        details["waited"] = time_telemetry.waited(self.now, self.past, slower[0].floor_log)
        waited = time_telemetry.WAITED if details["waited"] else ""
        if leading.name == TOTAL:
            places = carriers(self.question, self.now, self.past)
            carried = f" Most of it: {places[0]}." if places else ""
            message = (
                f"Slower: {self._pair()}{after}. {self._explained(half_log, leading.floor_log)}.{carried}{waited}"
            )
            return self.verdict("time.slower", message, **details)
        steps = len(self.now[0].step_medians_s)
        told = [(label(one.name, steps), self._part(one.name)) for one in slower]
        details["slower"] = [name for name, _ in told]
        kind = "step" if leading.name.startswith("steps:") else "stage"
        alike = [
            text for one, text in zip(slower, told, strict=True) if one.name.startswith("steps:") == (kind == "step")
        ]
        named = listed([f"{name} {text}" for name, text in alike])
        where = self._where() if kind == "step" else ""
        message = f"Slower in {named}{after}.{where} The whole call: {self._pair()}.{waited}"
        return self.verdict(f"time.{kind}_slower", message, **details)

    def _part(self, name: str) -> str:
        before, after = times_of(self.past)[name], times_of(self.now)[name]
        return pair(statistics.geometric_mean(before), statistics.geometric_mean(after))

    def _where(self) -> str:
        moved = moved_steps(self.now, self.past)
        if moved is None or moved[2] <= moved[1]:
            return ""
        return f" Most of it in {step_list(format_steps(moved[0]))}, {pair(moved[1], moved[2])} each."

    def _open(self, answer: time_rule.Answer, ways: Sequence[int], after: str, details: dict[str, Any]) -> Verdict:
        """Write that the evidence points one way and doesn't get there."""
        details["more_runs_help"] = self.may_buy
        steps = len(self.now[0].step_medians_s)
        figures = f"{self._pair()}{after}"
        parts = [one for one in answer.suspicious if one.name != TOTAL]
        if parts and len(parts) == len(answer.suspicious):
            told = listed([f"{label(one.name, steps)} {self._part(one.name)}" for one in parts])
            figures = f"{told}; the whole call {figures}"
        fresh = details["fresh_runs"]
        if answer.torn:
            which = "the first" if ways[0] else "the second"
            why = f"only {which} is beyond chance and the practical floor"
        elif answer.strayed:
            why = "beyond chance, but single runs of unchanged code strayed as far on this machine"
        elif not fresh:
            why = "suspicious, and no fresh process has confirmed it"
        else:
            why = f"{plural(fresh, 'fresh process')} neither confirmed it nor ruled it out"
        return self.verdict("time.unconfirmed", f"{figures}: {why}.", **details)

    def _same(self, reason: str, seen_rel: float, chance_rel: float, details: dict[str, Any]) -> Verdict:
        if "adjusted_ratio" not in details:
            self.notes.append("no calibration on both sides: what the machine itself did isn't known")
        if reason == "blind":
            message = (
                f"Can't tell: {self._pair()}; nothing under {percent(chance_rel)} would have been seen."
                f" {plural(len(self.past), 'run')} in the baseline: save more, on a quiet machine."
            )
            return self.verdict("time.blind", message, located=False, **details)
        cleared = f", {plural(details['fresh_runs'], 'fresh run')} included" if details["fresh_runs"] else ""
        message = (
            f"As fast as {plural(len(self.past), 'run')} of the baseline: {self._pair()}{cleared};"
            f" would have seen {percent(seen_rel)}."
        )
        return self.verdict("time.same", message, located=False, **details)


_Logs = dict[str, list[float]]


def _paced(runs: Sequence[Run]) -> _Logs:
    """Times of runs that all have a calibration, over it."""
    paces_s = [pace_s for run in runs if (pace_s := calibration_s(run)) is not None]
    return {
        name: [value / pace_s for value, pace_s in zip(values, paces_s, strict=True)]
        for name, values in times_of(runs).items()
    }


def _scales(
    mine: _Logs, theirs: _Logs, around: Sequence[_Logs], names: Sequence[str], evidence: _Evidence, least_log: float
) -> dict[str, time_rule.Scale]:
    """Each figure on one scale."""
    most_dof = evidence.question.limits.time_prior_max_dof
    near = [logs(one) for one in around]
    now, past = logs(mine), logs(theirs)
    return {
        name: time_rule.two_sided_scale(
            time_rule.spread_of(past[name]),
            now[name],
            time_rule.neighbours_of(
                [time_rule.spread_of(one[name]) for one in near if name in one], least_log, most_dof
            ),
            least_log,
        )
        for name in names
    }
