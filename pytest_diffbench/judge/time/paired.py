"""Judges the time of one environment against another by pairs of runs, made by turns on one machine.

A pair is its own baseline: what the machine was doing while it was made is in both of its runs. Where the two were
made round by round, so is each pair of rounds.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

import msgspec

from pytest_diffbench.judge.definition import environment_changes
from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.judge.time import rule as time_rule
from pytest_diffbench.judge.time import telemetry as time_telemetry
from pytest_diffbench.judge.time.figures import TOTAL, kind_of, paces_s, times_of
from pytest_diffbench.judge.time.places import moved_parts, part_of, slower_verdict
from pytest_diffbench.judge.time.runs import doubts, floors_of, is_valid, pace_against
from pytest_diffbench.judge.time.spread import LEAST_OF_PRIOR, strays_among
from pytest_diffbench.records.details import LeftOut, TimeDetails
from pytest_diffbench.stats.steadiness import doubt_about
from pytest_diffbench.stats.variance import moderated, prior_of, within

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.judge.time.rule import Figure
    from pytest_diffbench.records import Run, Verdict

    Pairs: TypeAlias = Sequence[tuple[Run, Run]]


def judge_pairs(
    pairs: Pairs,
    limits: Limits,
    family_size: int,
    family: str,
    peer_pairs: Sequence[Pairs] = (),
    *,
    by_turns: bool = False,
) -> Verdict:
    """Judge whether the second run of each pair took longer than the first, beyond chance and the practical floor.

    Args:
        pairs: of the base's and the head's run, in the order they were made, whichever of the two came first.
        limits: thresholds.
        family_size: parts that the session's error budget is cut into; this case has one.
        family: type of the device.
        peer_pairs: pairs of the session's other cases; they tell the spread between pairs while this case has few.
        by_turns: whether like rounds of a pair's two runs lie side by side, here and in the peers' pairs. Then
            what the machine did to both rounds is taken out of each before anything else.

    Returns:
        A verdict of the gate `time`. Where its details say `more_runs_help`, a further pair may change it.

    Raises:
        ValueError: fewer than one decision.
    """
    if family_size < 1:
        raise ValueError(f"a session decides at least one case, not {family_size}")
    for base, head in pairs:
        if (changed := environment_changes(base.environment, head.environment)) is not None:
            kind, facts = changed
            return verdict(f"time.{kind}", details=facts)
    sound, left_out = _sound(pairs, limits, by_turns=by_turns)
    if not by_turns and len(sound) > limits.time_min_pairs and _first_is_cold(sound, limits, family):
        sound = sound[1:]
        left_out.append(LeftOut(what="pair", why="cold"))
    details = TimeDetails(
        by_turns=by_turns,
        pairs=len(sound),
        pairs_needed=limits.time_min_pairs,
        more_runs_help=len(sound) < limits.time_max_pairs and len(pairs) < _most_pairs(sound, limits),
        left_out=tuple(left_out),
        decisions=family_size,
    )
    if sound:
        base_s, head_s = (
            statistics.geometric_mean(side.median_s for side in sides) for sides in zip(*sound, strict=True)
        )
        details = msgspec.structs.replace(details, baseline_s=base_s, median_s=head_s, ratio=head_s / base_s)
    if len(sound) < limits.time_min_pairs:
        return verdict("time.few_pairs", details=details)
    near = [_sound(peer, limits, by_turns=by_turns)[0] for peer in peer_pairs]
    return _decided(sound, limits, family, near, details)


def _sound(pairs: Pairs, limits: Limits, *, by_turns: bool) -> tuple[list[tuple[Run, Run]], list[LeftOut]]:
    """Pairs of which nothing speaks against either run, or against what was made of both; why others aren't."""
    causes = [_cause(base, head, limits, by_turns=by_turns) for base, head in pairs]
    kept = [sides for sides, cause in zip(pairs, causes, strict=True) if cause is None]
    left_out = [
        msgspec.structs.replace(cause, count=causes.count(cause))
        for cause in dict.fromkeys(causes)
        if cause is not None
    ]
    return _evened(kept) if by_turns else kept, left_out


def _cause(base: Run, head: Run, limits: Limits, *, by_turns: bool) -> LeftOut | None:
    """Why a pair isn't used; None where it is."""
    if not is_valid(base) or not is_valid(head):
        return LeftOut(what="pair", why="died")
    if by_turns and not _steady_ratios(base, head):
        return LeftOut(what="pair", why="ratio")
    if any(doubts(run, limits, alone=not by_turns) is not None for run in (base, head)):
        return LeftOut(what="pair", why="doubt")
    if not by_turns and not _same_pace(base, head, limits):
        return LeftOut(what="pair", why="pace")
    return None


def _first_is_cold(pairs: Pairs, limits: Limits, family: str) -> bool:
    """Whether the first pair lies far from all others: what both sides load first, one of them finds cached."""
    least_log = limits.time_pair_spread_cpu_rel if family == "cpu" else limits.time_pair_spread_rel
    return 0 in strays_among(_changes(pairs)[TOTAL], least_log)


def _steady_ratios(base: Run, head: Run) -> bool:
    """Whether like rounds have one ratio from the last warm-up on, whatever happens to both."""
    if not is_valid(base) or not is_valid(head) or len(base.rounds) != len(head.rounds):
        return False
    before_s, after_s = base.totals_s, head.totals_s
    if base.warmup_s and head.warmup_s:  # six show a drift that five can't
        before_s, after_s = (base.warmup_s[-1], *before_s), (head.warmup_s[-1], *after_s)
    # In seconds, since what doesn't matter in a call of microseconds is known in them.
    usual_s = math.sqrt(base.median_s * head.median_s)
    return doubt_about([usual_s * after / before for before, after in zip(before_s, after_s, strict=True)]) is None


def _evened(pairs: Pairs) -> list[tuple[Run, Run]]:
    """Pairs as if all rounds had been made at one pace: that of two like rounds is their geometric mean.

    The medians of a pair's two totals are then as far from each other as the median of its rounds' ratios says.
    """
    all_paces_s = [
        [math.sqrt(before * after) for before, after in zip(base.totals_s, head.totals_s, strict=True)]
        for base, head in pairs
    ]
    usual_s = statistics.geometric_mean([pace_s for paces_s in all_paces_s for pace_s in paces_s] or [1.0])
    evened = []
    for (base, head), round_paces_s in zip(pairs, all_paces_s, strict=True):
        factors = [usual_s / pace_s for pace_s in round_paces_s]
        evened.append((_scaled(base, factors), _scaled(head, factors)))
    return evened


def _scaled(run: Run, factors: Sequence[float]) -> Run:
    rounds = tuple(
        msgspec.structs.replace(
            timed,
            total_s=timed.total_s * factor,
            stages_s={stage: time_s * factor for stage, time_s in timed.stages_s.items()},
            steps_s=tuple(time_s * factor for time_s in timed.steps_s),
        )
        for timed, factor in zip(run.rounds, factors, strict=True)
    )
    return msgspec.structs.replace(run, rounds=rounds)


def _most_pairs(sound: Pairs, limits: Limits) -> int:
    """How many pairs are worth making to get as many usable ones as help."""
    return limits.time_max_pairs + (limits.time_spare_pairs if sound else 0)


def _same_pace(base: Run, head: Run, limits: Limits) -> bool:
    pace = pace_against(head, paces_s(base), limits)
    return pace is None or pace.usual


def _changes(pairs: Pairs) -> dict[str, list[float]]:
    """Logarithm of head over base of each time that all runs have, by its name."""
    base, head = times_of([base_run for base_run, _ in pairs]), times_of([head_run for _, head_run in pairs])
    if pairs and len(pairs[0][0].step_medians_s) != len(pairs[0][1].step_medians_s):
        base = {name: times for name, times in base.items() if kind_of(name) != "step"}
    return {
        name: [math.log(after / before) for before, after in zip(base[name], times, strict=True)]
        for name, times in head.items()
        if name in base
    }


def _figures(
    pairs: Pairs, limits: Limits, family: str, peer_pairs: Sequence[Pairs], rule: time_rule.Rule
) -> list[Figure]:
    least_log = limits.time_pair_spread_cpu_rel if family == "cpu" else limits.time_pair_spread_rel
    changes, near = _changes(pairs), [_changes(peer) for peer in peer_pairs if len(peer) > 1]
    base = times_of([base_run for base_run, _ in pairs])
    floors = floors_of(limits, family, changes, {name: statistics.geometric_mean(base[name]) for name in changes})
    shares = time_rule.shares_by_name(changes)
    figures = []
    for name, changes_log in changes.items():
        prior = prior_of(
            [within([peer[name]]) for peer in near if name in peer],
            (LEAST_OF_PRIOR * least_log) ** 2,
            limits.time_prior_max_dof,
        )
        own = within([changes_log])
        logs = tuple(changes_log)
        scale = time_rule.Scale(
            logs,
            logs,
            time_rule.Pairs(moderated(own, prior), own.deviation, len(changes_log)),
            least_log,
            looks=rule.looks,
        )
        figures.append(time_rule.Figure(name, (scale,), floors[name], shares[name], len(pairs)))
    return figures


def _decided(
    pairs: list[tuple[Run, Run]], limits: Limits, family: str, peer_pairs: Sequence[Pairs], details: TimeDetails
) -> Verdict:
    rule = time_rule.Rule(
        alpha=limits.time_alpha / details.decisions,
        power=limits.time_power,
        confirmations=limits.time_min_pairs - 1,
        most_runs=max(limits.time_max_pairs, limits.time_min_pairs),
        first_runs=limits.time_min_pairs,
    )
    figures = _figures(pairs, limits, family, peer_pairs, rule)
    answer = time_rule.decide(figures, rule)
    total, may_buy = figures[0], details.more_runs_help
    scale = total.scales[0]
    half_log = scale.needed_log(rule.alpha * total.share, total.runs)
    chance_rel = time_rule.detectable_rel(total, rule, 0.0)
    base, head = [base for base, _ in pairs], [head for _, head in pairs]
    details = msgspec.structs.replace(
        details,
        more_runs_help=False,
        spread_rel=scale.noise.spread_log,
        ratio_interval=time_rule.interval(scale.change_log(), half_log),
        detectable_rel=time_rule.detectable_rel(total, rule, total.floor_log),
        chance_detectable_rel=chance_rel,
        parts_detectable_rel=time_rule.parts_detectable_rel(figures, rule, len(pairs[0][0].step_medians_s)),
        machine=time_telemetry.readings(head),
    )
    located = msgspec.structs.replace(details, places=moved_parts(head, base, limits.stage_share_rel))
    if answer.slower:
        return slower_verdict(head, base, answer.slower, located, more_runs_count=may_buy)
    if answer.faster:
        return verdict("time.faster", details=located)
    if answer.suspicious or answer.perhaps_faster:
        doubtful = tuple(part_of(head, base, figure) for figure in answer.suspicious or (total,))
        return verdict(
            "time.unconfirmed", details=msgspec.structs.replace(located, slower=doubtful, more_runs_help=may_buy)
        )
    if chance_rel > limits.time_blind_rel:
        return verdict("time.blind", details=msgspec.structs.replace(details, more_runs_help=may_buy))
    return verdict("time.same", details=details)
