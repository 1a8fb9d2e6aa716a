"""The time gate: as fast as the baseline, beyond what the spread between runs and the machine itself explain?

Evidence is counted in runs (processes), never in rounds: rounds of one process share clocks, heat and luck.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from pytest_diffbench.judge.definition import environment_changes
from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.judge.time import rule as time_rule
from pytest_diffbench.judge.time import telemetry as time_telemetry
from pytest_diffbench.judge.time.evidence import evidence_of
from pytest_diffbench.judge.time.places import attention_shift, moved_parts, moved_steps, part_of, slower_verdict
from pytest_diffbench.judge.time.runs import comparable, crowded_rel, doubts, reason_of_doubt, sound, total_floor_rel
from pytest_diffbench.records.details import Doubt, Incomparable, LeftOut, TimeDetails, Unjudged
from pytest_diffbench.stats.steadiness import gap_between_modes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.judge.gate_input import GateInput
    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.judge.time.evidence import Evidence
    from pytest_diffbench.judge.time.rule import Figure
    from pytest_diffbench.records import Run, Verdict


def judge_time(gate_input: GateInput) -> Verdict:
    """Compare this session's runs with the baseline's."""
    first, reference, limits = gate_input.observation.run, gate_input.baseline, gate_input.limits
    newest = reference.baseline.runs[-1]
    if reference.distance != "machine":
        return verdict("time.other_machine", details=Incomparable(machine=newest.environment.machine))
    recorded = reference.baseline.times
    if not recorded:
        return verdict("time.no_baseline", details=Unjudged(baseline_path=reference.path))
    timed = comparable(recorded, first.environment)
    if not timed:
        kind, facts = environment_changes(newest.environment, first.environment) or ("settings", Incomparable())
        return verdict(f"time.{kind}", details=facts)
    if not sound(timed):
        return verdict("time.no_baseline", details=Unjudged(baseline_path=reference.path))
    if (doubt := doubts(first, limits, alone=False)) is not None:
        return verdict(reason_of_doubt(doubt), details=TimeDetails(doubt=doubt))
    ruled_out = [
        n
        for n, run in enumerate(gate_input.more_runs, start=1)
        if doubts(run, limits, alone=False) is not None
        or environment_changes(first.environment, run.environment) is not None
    ]
    evidence = evidence_of(gate_input, timed, frozenset(ruled_out))
    left_out = (
        *_strays(evidence),
        *_left_out(recorded, evidence.past, first, limits),
        *_left_out_now(evidence, len(ruled_out)),
    )
    return _Comparison(gate_input, evidence, left_out).verdict()


def _left_out(recorded: Sequence[Run], past: Sequence[Run], first: Run, limits: Limits) -> list[LeftOut]:
    """Runs of the baseline that aren't compared, with the reason; those with the same one together."""
    counts: Counter[LeftOut] = Counter()
    for run in recorded:
        if any(run is compared for compared in past):
            continue
        changed = environment_changes(run.environment, first.environment)
        reason = LeftOut(what="baseline run", why="pace")
        if changed is not None:
            reason = LeftOut(what="baseline run", why="environment", environment=changed[1])
        elif (doubt := doubts(run, limits, alone=False)) is not None:
            reason = LeftOut(what="baseline run", why="doubt", doubt=doubt)
        elif crowded_rel(run, limits):
            reason = LeftOut(what="baseline run", why="crowded")
        counts[reason] += 1
    return [msgspec.structs.replace(reason, count=count) for reason, count in counts.items()]


def _strays(evidence: Evidence) -> list[LeftOut]:
    """Runs of the baseline that are far from the others."""
    usual_s = statistics.median(run.median_s for run in evidence.past)
    return [
        LeftOut(what="baseline run", why="stray", run=n + 1, seconds=(usual_s, evidence.past[n].median_s))
        for n in evidence.aside
    ]


def _levels_rel(evidence: Evidence) -> float | None:
    """How far two levels are apart that the baseline's runs lie at; None where there is one, or hardly more."""
    usual_s = statistics.median(run.median_s for run in evidence.past)
    gap_s = gap_between_modes([run.median_s for n, run in enumerate(evidence.past) if n not in evidence.aside])
    return gap_s / usual_s if gap_s is not None and gap_s > _LEVELS_REL * usual_s else None


_LEVELS_REL = 0.05
"""Levels nearer to each other are worth no line."""


def _left_out_now(evidence: Evidence, ruled_out: int) -> list[LeftOut]:
    left_out = []
    if ruled_out:
        left_out.append(LeftOut(what="session run", why="incomparable", count=ruled_out))
    if aside := len(evidence.session_runs) - len(evidence.used):
        left_out.append(LeftOut(what="session run", why="replaced", count=aside))
    return left_out


@dataclasses.dataclass(frozen=True, slots=True)
class _Comparison:
    """Runs of a session and of a baseline that may be compared."""

    gate_input: GateInput
    evidence: Evidence
    left_out: tuple[LeftOut, ...]

    def verdict(self) -> Verdict:
        """Judge by the change as measured and by the change without what the machine did, which must agree."""
        evidence, limits = self.evidence, self.gate_input.limits
        figures, rule = evidence.figures(), evidence.rule
        answer = time_rule.decide(figures, rule)
        total = figures[0]
        raw = total.scales[0]
        reason = time_rule.reason_of(figures, answer, rule, limits.time_blind_rel)
        if not answer.slower and not answer.faster and (suspicion := self._suspicion()) is not None:
            reason, answer = "unconfirmed", suspicion
        details = self._details(figures)
        if answer.slower:
            return slower_verdict(
                evidence.now,
                evidence.past,
                answer.slower,
                self._located(details),
                more_runs_count=evidence.more_runs_count,
            )
        if reason == "faster":
            return verdict("time.faster", details=self._located(details))
        details = msgspec.structs.replace(
            details, more_runs_help=evidence.more_runs_count and reason == "unconfirmed"
        )
        slower_by_the_clock = raw.chance(1) <= rule.alpha * total.share and raw.change_log() > total.floor_log
        doubtful = self._doubtful(slower_by_the_clock)
        if doubtful is not None and not details.more_runs_help:
            return verdict(f"time.{doubtful}", details=self._located(details))
        if reason == "unconfirmed":
            suspicious = tuple(part_of(evidence.now, evidence.past, figure) for figure in answer.suspicious)
            details = msgspec.structs.replace(details, slower=suspicious, strayed=bool(answer.strayed))
            return verdict("time.unconfirmed", details=self._located(details))
        if reason == "blind":
            return verdict(f"time.{self._blind()}", details=details)
        return verdict("time.same", details=details)

    def _suspicion(self) -> time_rule.Answer | None:
        """What the undisturbed runs still suspect: a run that the machine disturbed is replaced and clears nobody."""
        undisturbed = self.evidence.undisturbed
        if undisturbed is None or not undisturbed.more_runs_count:
            return None
        figures, rule = undisturbed.figures(), undisturbed.rule
        answer = time_rule.decide(figures, rule)
        reason = time_rule.reason_of(figures, answer, rule, self.gate_input.limits.time_blind_rel)
        return answer if reason == "unconfirmed" else None

    def _details(self, figures: Sequence[Figure]) -> TimeDetails:
        evidence, limits = self.evidence, self.gate_input.limits
        now, past, rule, total = evidence.now, evidence.past, evidence.rule, figures[0]
        raw, net = total.scales
        alpha = rule.alpha * total.share
        half_log, net_half_log = (scale.needed_log(alpha, total.runs) for scale in (raw, net))
        base_s = statistics.geometric_mean(run.median_s for run in past)
        now_s = statistics.geometric_mean(run.median_s for run in now)
        paces = [run.pace.middle_log for run in evidence.used if run.pace is not None]
        off_pace = evidence.off_pace
        return TimeDetails(
            runs=len(past),
            days=evidence.days,
            session_runs=len(now),
            rounds=sum(len(run.rounds) for run in now),
            median_s=now_s,
            baseline_s=base_s,
            ratio=now_s / base_s,
            ratio_interval=time_rule.interval(raw.change_log(), half_log),
            chance_interval=time_rule.interval(0.0, half_log),
            adjusted_ratio=math.exp(net.change_log()),
            adjusted_chance_interval=time_rule.interval(0.0, net_half_log),
            pace_known=evidence.pace_known,
            machine_ratio=math.exp(statistics.median(paces)) if paces else None,
            pace_rel=math.expm1(off_pace.middle_log) if off_pace is not None else None,
            stage_ratios=_stage_ratios(now, past),
            floor_rel=total_floor_rel(limits, evidence.family, base_s),
            spread_rel=raw.noise.spread_log,
            moderated_spread_rel=raw.noise.of(1).deviation,
            detectable_rel=time_rule.detectable_rel(total, rule, total.floor_log),
            chance_detectable_rel=time_rule.detectable_rel(total, rule, 0.0),
            parts_detectable_rel=time_rule.parts_detectable_rel(figures, rule, len(now[0].step_medians_s)),
            confirmed=total.agreeing(),
            fresh_runs=total.fresh,
            confirmations_wanted=bool(limits.time_confirmations),
            decisions=self.gate_input.family_size,
            # one case alone: of what is accepted, none is compared with the others
            departs=time_rule.departs(figures, time_rule.rule_of(limits, 1)),
            aside=tuple(n + 1 for n in evidence.aside),
            left_out=self.left_out,
            levels_rel=_levels_rel(evidence),
            machine=time_telemetry.readings(now),
            doubt=self._doubt(),
        )

    def _located(self, details: TimeDetails) -> TimeDetails:
        """With the places where the difference lies."""
        now, past = self.evidence.now, self.evidence.past
        return msgspec.structs.replace(
            details,
            places=moved_parts(now, past, self.gate_input.limits.stage_share_rel),
            moved_steps=moved_steps(now, past),
            attention_rel=attention_shift(self.gate_input),
        )

    def _doubt(self) -> Doubt | None:
        crowded = self.evidence.crowded_rel
        if crowded:
            return Doubt(kind="crowded", found_rel=crowded, allowed_rel=self.gate_input.limits.machine_crowded_rel)
        return next((run.unsteady for run in self.evidence.used if run.unsteady is not None), None)

    def _doubtful(self, slower_by_the_clock: bool) -> str | None:
        """What keeps the runs from being called the same as the baseline's."""
        if (pace := self.evidence.off_pace) is not None:
            return "machine_slower" if pace.middle_log > 0 else "machine_faster"
        if (doubt := self._doubt()) is not None:
            return "crowded" if doubt.kind == "crowded" else "unsteady"
        return "no_calibration" if slower_by_the_clock and not self.evidence.pace_known else None

    def _blind(self) -> str:
        few_days = self.evidence.days < self.gate_input.limits.time_few_days
        few_runs = len(self.evidence.past) < self.gate_input.limits.time_few_days
        if not self.evidence.pace_known:
            return "no_calibration"
        return "few_runs" if few_runs else "few_days" if few_days else "blind"


def _stage_ratios(now: Sequence[Run], past: Sequence[Run]) -> dict[str, float]:
    after_runs, before_runs = [run.stage_medians_s for run in now], [run.stage_medians_s for run in past]
    return {
        stage: statistics.median(stages_s[stage] for stages_s in after_runs) / before_s
        for stage in after_runs[0]
        if all(stage in stages_s for stages_s in (*after_runs, *before_runs))
        and (before_s := statistics.median(stages_s[stage] for stages_s in before_runs)) > 0
    }
