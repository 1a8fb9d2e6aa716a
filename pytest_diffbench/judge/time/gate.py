"""The time gate: as fast as the baseline, beyond what the spread between runs and the machine itself explain?

Evidence is counted in runs (processes), never in rounds: rounds of one process share clocks, heat and luck.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from typing import TYPE_CHECKING, Any

from pytest_diffbench.judge.definition import environment_changes
from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.judge.text import listed, percent, plural, step_list
from pytest_diffbench.judge.time import rule as time_rule
from pytest_diffbench.judge.time import telemetry as time_telemetry
from pytest_diffbench.judge.time.evidence import evidence_of
from pytest_diffbench.judge.time.figures import TOTAL, label, times_of
from pytest_diffbench.judge.time.places import carriers, moved_steps, pair
from pytest_diffbench.judge.time.runs import crowded_rel, doubts, sound, total_floor_rel
from pytest_diffbench.records import format_steps
from pytest_diffbench.records.details import Incomparable
from pytest_diffbench.stats.steadiness import gap_between_modes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.judge.question import Question
    from pytest_diffbench.judge.time.evidence import Evidence
    from pytest_diffbench.judge.time.rule import Figure
    from pytest_diffbench.records import Run, Verdict

_FATAL = ("time.invalid", "time.parallel", "time.traced", "time.unattributed")
"""What makes a run no evidence of anything."""


def judge_time(question: Question) -> Verdict:
    """Compare this session's runs with the baseline's."""
    first, reference, limits = question.observation.run, question.baseline, question.limits
    newest = reference.baseline.runs[-1]
    if reference.distance != "machine":
        return verdict("time.other_machine", details=Incomparable(machine=newest.environment.machine))
    recorded = reference.baseline.times
    if not recorded:
        message = (
            f"{reference.path} holds no times: they were left out when it was saved. "
            "--diffbench-save adds those of a steady run."
        )
        return verdict("time.no_baseline", message)
    timed = [run for run in recorded if environment_changes(run.environment, first.environment) is None]
    if not timed:
        kind, facts = environment_changes(newest.environment, first.environment) or ("settings", Incomparable())
        return verdict(f"time.{kind}", details=facts)
    if not sound(timed):
        message = f"No run of {reference.path} was timed alone: all were measured in parallel, or traced."
        return verdict("time.no_baseline", message)
    if (doubt := doubts(first, limits, alone=False)) is not None:
        return verdict(*doubt)
    ruled_out = [
        n
        for n, run in enumerate(question.more_runs, start=1)
        if doubts(run, limits, alone=False) is not None
        or environment_changes(first.environment, run.environment) is not None
    ]
    evidence = evidence_of(question, timed, frozenset(ruled_out))
    left_out = [
        *_apart(evidence),
        *_left_out(recorded, evidence.past, first, limits),
        *_left_out_now(evidence, len(ruled_out)),
    ]
    return _Answer(question, evidence, left_out).decide()


def _left_out(recorded: Sequence[Run], past: Sequence[Run], first: Run, limits: Limits) -> list[str]:
    """Runs of the baseline that aren't compared, with the reason."""
    why: dict[str, int] = {}
    for run in recorded:
        if any(run is one for one in past):
            continue
        changed = environment_changes(run.environment, first.environment)
        reason = "measured while the machine was off its usual pace"
        if changed is not None:
            facts = [f"{fact.field}: {fact.before} -> {fact.after}" for fact in changed[1].facts]
            reason = f"other {changed[0]}: {listed([*facts, *changed[1].unknown])}"
        elif (doubt := doubts(run, limits, alone=False)) is not None:
            reason = doubt[1].rstrip(".")
        elif crowded_rel(run, limits):
            reason = "measured while other processes had the processors"
        why[reason] = why.get(reason, 0) + 1
    return [f"{plural(count, 'run')} of the baseline left out: {reason}" for reason, count in why.items()]


def _apart(evidence: Evidence) -> list[str]:
    """Runs of the baseline that are far from the others, and levels that the runs lie at."""
    usual_s = statistics.median(run.median_s for run in evidence.past)
    notes = [
        f"run {n + 1} of the baseline set aside: {pair(usual_s, evidence.past[n].median_s)}, beside the others"
        for n in evidence.aside
    ]
    bulk_s = [run.median_s for n, run in enumerate(evidence.past) if n not in evidence.aside]
    gap_s = gap_between_modes(bulk_s)
    if gap_s is not None and gap_s > _LEVELS_REL * usual_s:
        notes.append(f"the baseline's runs lie at two levels, {100 * gap_s / usual_s:.0f} % apart")
    return notes


_LEVELS_REL = 0.05
"""Levels nearer to each other are worth no line."""


def _left_out_now(evidence: Evidence, ruled_out: int) -> list[str]:
    notes = []
    if ruled_out:
        notes.append(f"{plural(ruled_out, 'run')} of this session left out: not comparable with the first")
    if aside := len(evidence.made) - len(evidence.used):
        notes.append(f"{plural(aside, 'run')} of this session replaced: unsteady, or the machine was off its pace")
    return notes


@dataclasses.dataclass(slots=True)
class _Answer:
    """What the runs of a session and of a baseline say, in words."""

    question: Question
    evidence: Evidence
    notes: list[str]

    @property
    def _limits(self) -> Limits:
        return self.question.limits

    @property
    def now(self) -> list[Run]:
        return self.evidence.now

    @property
    def past(self) -> Sequence[Run]:
        return self.evidence.past

    @property
    def may_buy(self) -> bool:
        return self.evidence.more_runs_count

    @property
    def _now_s(self) -> float:
        """Geometric mean of this session's medians, as it is compared."""
        return statistics.geometric_mean(run.median_s for run in self.now)

    @property
    def _base_s(self) -> float:
        return statistics.geometric_mean(run.median_s for run in self.past)

    def _details(self) -> dict[str, Any]:
        """Figures that are known before anything is decided."""
        base_s = self._base_s
        figures: dict[str, Any] = {
            "runs": len(self.past),
            "days": self.evidence.days,
            "session_runs": len(self.now),
            "rounds": sum(len(run.rounds) for run in self.now),
            "median_s": self._now_s,
            "baseline_s": base_s,
            "ratio": self._now_s / base_s,
            "floor_rel": total_floor_rel(self._limits, self.evidence.family, base_s),
            "more_runs_help": False,
        }
        paces = [run.pace.middle_log for run in self.evidence.used if run.pace is not None]
        if paces:
            figures["machine_ratio"] = math.exp(statistics.median(paces))
        mine, theirs = [run.stage_medians_s for run in self.now], [run.stage_medians_s for run in self.past]
        figures["stage_ratios"] = {
            stage: statistics.median(one[stage] for one in mine) / before_s
            for stage in mine[0]
            if all(stage in one for one in (*mine, *theirs))
            and (before_s := statistics.median(their[stage] for their in theirs)) > 0
        }
        return figures

    def verdict(self, reason: str, message: str, *, located: bool = True, **details: Any) -> Verdict:
        """Write the answer, with the bare figures, the places that moved and the remarks."""
        places = carriers(self.question, self.now, self.past) if located else []
        changes = [*places, *self.notes, *time_telemetry.remarks(self.now)]
        return verdict(reason, message, details=self._details() | details, changes=changes)

    def _pair(self) -> str:
        return pair(self._base_s, self._now_s)

    def decide(self) -> Verdict:
        """Judge by the change as measured and by the change without what the machine did, which must agree."""
        figures, rule = self.evidence.figures(), self.evidence.rule
        answer = time_rule.decide(figures, rule)
        total = figures[0]
        raw, net = total.scales
        alpha = rule.alpha * total.share
        half_log, net_half_log = (one.needed_log(alpha, total.runs) for one in (raw, net))
        floor_seen_rel = time_rule.detectable_rel(total, rule, total.floor_log)
        steps = len(self.now[0].step_medians_s)
        details: dict[str, Any] = {
            "spread_rel": raw.noise.spread_log,
            "moderated_spread_rel": raw.noise.of(1).deviation,
            "chance_interval": [math.exp(-half_log), math.exp(half_log)],
            "ratio_interval": [math.exp(raw.change_log() + way * half_log) for way in (-1, 1)],
            "detectable_rel": floor_seen_rel,
            "parts_detectable_rel": {
                label(figure.name, steps): time_rule.detectable_rel(figure, rule, figure.floor_log)
                for figure in figures[1:]
            },
            "confirmed": total.agreeing(),
            "fresh_runs": total.fresh,
            "decisions": self.question.decisions,
            "adjusted_ratio": math.exp(net.change_log()),
            # one case alone: of what is accepted, none is compared with the others
            "departs": time_rule.departs(figures, time_rule.rule_of(self._limits, 1)),
            "aside": [n + 1 for n in self.evidence.aside],
            "adjusted_chance_interval": [math.exp(-net_half_log), math.exp(net_half_log)],
        }
        after = ""
        if self.evidence.pace_known:
            after = f", {percent(math.expm1(net.change_log()))} without what the machine did"
        reason = time_rule.reason_of(figures, answer, rule, self._limits.time_blind_rel)
        if reason.endswith("slower"):
            return self._slower(answer.slower, half_log, after, details)
        if reason == "faster":
            message = f"Faster: {self._pair()}{after}. {self._explained(half_log, total.floor_log)}."
            return self.verdict("time.faster", message, **details)
        details["more_runs_help"] = self.may_buy and reason == "unconfirmed"
        doubted = self._doubted(raw.chance(1) <= alpha and raw.change_log() > total.floor_log, details)
        if doubted is not None and not details["more_runs_help"]:
            return doubted
        if reason == "unconfirmed":
            return self._open(answer, after, details)
        return self._same(reason, floor_seen_rel, time_rule.detectable_rel(total, rule, 0.0), details)

    def _doubted(self, slower_by_the_clock: bool, details: dict[str, Any]) -> Verdict | None:
        """What keeps the runs from being called the same as the baseline's."""
        shaky = next((run.unsteady for run in self.evidence.used if run.unsteady is not None), None)
        pace = self.evidence.off_pace
        aside = f" For what it is worth: {self._pair()}."
        if pace is not None:
            kind = "slower" if pace.middle_log > 0 else "faster"
            message = (
                f"The machine itself is {kind} than it was: reference work took"
                f" {percent(math.expm1(pace.middle_log))}."
                f" The case: {self._pair()}."
            )
            return self.verdict(f"time.machine_{kind}", message, **details)
        crowded = self.evidence.crowded_rel
        if crowded:
            message = (
                f"The machine was busy: each thread waited {100 * crowded:.0f} % of the time for a processor"
                f" (at most {100 * self._limits.machine_crowded_rel:g} %).{aside}"
            )
            return self.verdict("time.crowded", message, **details)
        if shaky is not None:
            return self.verdict("time.unsteady", shaky + aside, **details)
        if slower_by_the_clock and not self.evidence.pace_known:
            message = (
                f"{self._pair()}, beyond chance, but the machine's pace isn't known of both sides, and a slow machine"
                " can't be told from slow code."
            )
            return self.verdict("time.no_calibration", message, **details)
        return None

    def _explained(self, half_log: float, floor_log: float) -> str:
        chance = f"{self._recorded()} in the baseline explain ±{100 * math.expm1(half_log):.2g} %"
        return f"{chance}, the floor is {100 * math.expm1(floor_log):.2g} %"

    def _slower(self, slower: Sequence[Figure], half_log: float, after: str, details: dict[str, Any]) -> Verdict:
        """Write what is proven: the total where it is, else the stages, else the steps."""
        # the reason follows what weighs most, whichever of them is least likely
        leading = min(slower, key=lambda one: (one.name != TOTAL, one.name.startswith("steps:")))
        if self._limits.time_confirmations:
            details["confirmed"], details["fresh_runs"] = leading.agreeing(), leading.fresh
            after += f", confirmed by {leading.agreeing()} of {plural(leading.fresh, 'fresh process')}"
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

    def _open(self, answer: time_rule.Answer, after: str, details: dict[str, Any]) -> Verdict:
        """Write that the evidence points one way and doesn't get there."""
        steps = len(self.now[0].step_medians_s)
        figures = f"{self._pair()}{after}"
        parts = [one for one in answer.suspicious if one.name != TOTAL]
        if parts and len(parts) == len(answer.suspicious):
            told = listed([f"{label(part.name, steps)} {self._part(part.name)}" for part in parts])
            figures = f"{told}; the whole call {figures}"
        fresh = details["fresh_runs"]
        if answer.strayed:
            why = "beyond chance, but single runs of unchanged code strayed as far on this machine"
        elif not fresh:
            why = "suspicious, and no fresh process has confirmed it"
        else:
            why = f"{plural(fresh, 'fresh process')} neither confirmed it nor ruled it out"
        return self.verdict("time.unconfirmed", f"{figures}: {why}.", **details)

    def _recorded(self) -> str:
        return f"{plural(len(self.past), 'run')} of {plural(self.evidence.days, 'day')}"

    def _same(self, reason: str, seen_rel: float, chance_rel: float, details: dict[str, Any]) -> Verdict:
        if not self.evidence.pace_known:
            self.notes.append("the machine's pace isn't known of both sides: what the machine itself did isn't known")
        if reason == "blind":
            if not self.evidence.pace_known:
                message = (
                    f"Can't tell: {self._pair()}; nothing under {percent(chance_rel)} would have been seen, since the"
                    " machine's pace isn't known of both sides."
                )
                return self.verdict("time.no_calibration", message, located=False, **details)
            few_days = self.evidence.days < self._limits.time_few_days
            few_runs = len(self.past) < self._limits.time_few_days
            reason = "few_runs" if few_runs else "few_days" if few_days else "blind"
            more = "save more, on a quiet machine" if not few_days else "save on more days"
            message = (
                f"Can't tell: {self._pair()}; nothing under {percent(chance_rel)} would have been seen."
                f" The baseline has {self._recorded()}: {more}."
            )
            return self.verdict(f"time.{reason}", message, located=False, **details)
        cleared = f", {plural(details['fresh_runs'], 'fresh run')} included" if details["fresh_runs"] else ""
        message = (
            f"As fast as {self._recorded()} in the baseline: {self._pair()}{cleared};"
            f" would have seen {percent(seen_rel)}."
        )
        return self.verdict("time.same", message, located=False, **details)
