"""The work gate: the same denoiser calls, component calls, FLOPs and parameters as the baseline?

Valid on any machine. Calls and shapes are compared exactly. FLOPs and operators are exact within one torch version
and device type.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal, get_args

from pytest_diffbench.judge.calls import call_differences
from pytest_diffbench.judge.difference import Difference, Kind, direction, direction_within
from pytest_diffbench.judge.guidance.before import fault_of_baseline
from pytest_diffbench.judge.operators import operator_differences, operators_allowed_rel, python_calls_allowed_rel
from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.judge.text import flops, listed, percent, plural, step_list
from pytest_diffbench.records import format_steps

if TYPE_CHECKING:
    from pytest_diffbench.judge.question import Question
    from pytest_diffbench.records import Verdict, Work

_SCHEDULE_REL = 1e-5
"""Of the largest timestep or sigma: a schedule of another kind is off by a thousand times as much."""

_ORDER = tuple(get_args(Kind))
"""Which difference names the verdict: causes before consequences."""

_BY_GUIDANCE = frozenset({"steps", "branches", "denoiser_calls"})
"""What differs where other steps are guided."""

_DOUBTFUL = frozenset({"operators", "python_calls"})
"""More of these isn't worse by itself: another kernel of attention, or offloading, does the same in more pieces."""


def judge_work(question: Question) -> Verdict:
    """Compare what was computed with what the baseline computed."""
    now, base = question.observation.work, question.baseline.baseline.work
    assert now is not None  # the table asks this gate only when the part was seen
    if base is None:
        return verdict("work.no_baseline", f"{question.baseline.path} holds no work to compare with.")
    if not (now.denoiser or now.component_calls) or not (base.denoiser or base.component_calls):
        side = "here" if not (now.denoiser or now.component_calls) else "in the baseline"
        return verdict("work.not_seen", f"No call of any component was seen {side}, so there is no work to compare.")
    allowed_rel, environment = _flops_allowance(question)
    found = _differences(now, base, allowed_rel)
    found += operator_differences(question, now, base, _explained(found))
    differences = tuple(sorted(found, key=lambda one: _ORDER.index(one.kind)))
    details = {
        "steps": [base.steps, now.steps],
        "denoiser_calls": [base.denoiser_calls, now.denoiser_calls],
        "flops": [base.total_flops, now.total_flops],
        "flops_allowed_rel": allowed_rel,
        "operators": [base.total_operators, now.total_operators],
        "python_calls": [sum(base.python_calls.values()), sum(now.python_calls.values())],
    }
    changes = [difference.text for difference in differences] + _notes(now, base)
    if any(difference.kind in _BY_GUIDANCE for difference in differences) and (fault := fault_of_baseline(question)):
        others = [difference for difference in differences if not _follows_from_guidance(difference, now)]
        if not any(other.direction != "less" and other.kind not in _DOUBTFUL for other in others):
            told = listed([difference.text for difference in differences])
            message = (
                f"The baseline's guidance wasn't as asked ({fault}), and now is, by other work: {told}. Look at the"
                " picture, then accept it with --diffbench-save."
            )
            return verdict("work.baseline_not_as_asked", message, details=details, changes=changes)
    seen = _seen(question, now, base, allowed_rel, environment)
    return _Outcome(now, base, seen, differences).verdict(details, changes)


def _seen(question: Question, now: Work, base: Work, allowed_rel: float, environment: str) -> str:
    """What of the work would have been seen to change."""
    seen = (
        "any change would have been seen"
        if not allowed_rel
        else f"FLOPs were allowed {100 * allowed_rel:g} % ({environment}), calls and shapes nothing"
    )
    if now.operators and not base.operators:
        seen += " (operators aside: the baseline is from before they were counted, and the next save adds them)"
    elif now.operators:
        operators_rel = operators_allowed_rel(question)
        if operators_rel is None:
            seen += ", operators weren't compared"
        elif operators_rel:
            seen += f", operators were allowed {100 * operators_rel:g} %"
    python_rel = python_calls_allowed_rel(question)
    if now.python_calls and base.python_calls and python_rel is not None:
        seen += f", of Python calls one of more than {100 * python_rel:g} %"
    return seen


def _follows_from_guidance(difference: Difference, now: Work) -> bool:
    denoisers = {group.component for group in now.denoiser}
    return difference.kind in _BY_GUIDANCE or (difference.kind == "flops" and difference.component in denoisers)


@dataclasses.dataclass(frozen=True, slots=True)
class _Outcome:
    now: Work
    base: Work
    seen: str
    differences: tuple[Difference, ...]

    def verdict(self, details: dict[str, object], changes: list[str]) -> Verdict:
        less = [
            difference.text
            for difference in self.differences
            if difference.direction == "less" and difference.kind not in _DOUBTFUL
        ]
        other = [
            difference
            for difference in self.differences
            if difference.direction != "less" and difference.kind not in _DOUBTFUL
        ]
        doubtful = [
            difference
            for difference in self.differences
            if difference.direction != "less" and difference.kind in _DOUBTFUL
        ]
        if other:
            told = listed([one.text for one in other])
            also = f". Less of other things: {listed(less)}" if less else ""
            total = self._totals()
            return verdict(
                f"work.{other[0].kind}", f"Not the same work: {told}{also}. {total}", details=details, changes=changes
            )
        if less:
            message = (
                f"Less work: {listed(less)}. {self._totals()} Whether less was still enough is for the output and"
                " guidance gates to say."
            )
            return verdict("work.less", message, details=details, changes=changes)
        if doubtful:
            told = listed([one.text for one in doubtful])
            message = (
                f"The same calls, shapes and FLOPs, in other pieces: {told}. What that costs is for the time gate to"
                " say; look at what changed, then accept it with --diffbench-save."
            )
            return verdict(f"work.{doubtful[0].kind}", message, details=details, changes=changes)
        message = (
            f"The same work: {plural(self.now.denoiser_calls, 'denoiser call')} in {plural(self.now.steps, 'step')},"
            f" {flops(self.now.total_flops)}{self._operators()}; {self.seen}."
        )
        return verdict("work.same", message, details=details, changes=changes)

    def _operators(self) -> str:
        if not self.base.operators or not self.now.operators:
            return ""
        if self.base.total_operators == self.now.total_operators:
            return f", {plural(self.now.total_operators, 'operator')}"
        return f", {self.base.total_operators:,} -> {plural(self.now.total_operators, 'operator')}"

    def _totals(self) -> str:
        base, now = self.base, self.now
        calls = (
            f"{base.denoiser_calls} -> {plural(now.denoiser_calls, 'denoiser call')}"
            if base.denoiser_calls != now.denoiser_calls
            else f"{plural(now.denoiser_calls, 'denoiser call')} as before"
        )
        return f"{calls}; the whole call: {flops(base.total_flops)} -> {flops(now.total_flops)}."


def _flops_allowance(question: Question) -> tuple[float, str]:
    """Relative difference of FLOPs that is let through, and why there is one."""
    old, new = question.baseline.baseline.runs[-1].environment, question.observation.run.environment
    reasons = []
    if old.family != new.family:
        reasons.append(f"{old.family} -> {new.family}")
    if old.software.get("torch") is None or old.software.get("torch") != new.software.get("torch"):
        reasons.append(f"torch {old.software.get('torch')} -> {new.software.get('torch')}")
    return (question.limits.flops_other_torch_rel if reasons else 0.0), ", ".join(reasons)


def _differences(now: Work, base: Work, allowed_rel: float) -> list[Difference]:
    found = []
    if now.steps != base.steps:
        found.append(
            Difference("steps", direction(base.steps, now.steps), f"scheduler steps: {base.steps} -> {now.steps}")
        )
    found += _schedule_differences(now, base)
    found += call_differences(base.denoiser, now.denoiser, allowed_rel)
    # the denoiser's calls have been compared, and located, step by step
    denoisers = {group.component for group in (*base.denoiser, *now.denoiser)}
    for name in sorted((base.component_calls.keys() | now.component_calls.keys()) - denoisers):
        before, after = base.component_calls.get(name, 0), now.component_calls.get(name, 0)
        if before != after:
            text = f"{name}: {before} -> {plural(after, 'call')}"
            found.append(Difference("component_calls", direction(before, after), text, name))
    found += _count_differences("flops", base.flops, now.flops, allowed_rel)
    found += _count_differences("parameters", base.parameters, now.parameters, 0.0)
    return found


def _explained(found: list[Difference]) -> frozenset[str] | None:
    """Components whose operators differ in consequence of what was found; None where all may."""
    changed = [one for one in found if one.kind != "schedule"]
    if any(one.kind == "steps" for one in changed):
        return None
    return frozenset({one.component for one in changed} | ({"pipeline"} if changed else set()))


def _schedule_differences(now: Work, base: Work) -> list[Difference]:
    """Other timesteps or sigmas for as many steps. Machines and versions of torch round the last digits otherwise."""
    found = []
    for name in ("timesteps", "sigmas"):
        before, after = getattr(base, name), getattr(now, name)
        if not before or len(before) != len(after):
            continue
        scale = max(map(abs, before))
        changed = [
            i for i, (a, b) in enumerate(zip(before, after, strict=True)) if abs(a - b) > _SCHEDULE_REL * scale
        ]
        if changed:
            first = changed[0]
            where = step_list(format_steps(changed))
            text = f"{name} of {where}: {before[first]:.6g} -> {after[first]:.6g}" + (" ..." if changed[1:] else "")
            found.append(Difference("schedule", "other", text))
    return found


def _count_differences(
    kind: Literal["flops", "parameters"], base: dict[str, int], now: dict[str, int], allowed_rel: float
) -> list[Difference]:
    found = []
    for name in sorted(base.keys() | now.keys()):
        before, after = base.get(name, 0), now.get(name, 0)
        way = direction_within(before, after, allowed_rel)
        if way is not None:
            figures = (
                f"{flops(before)} -> {flops(after)} ({_growth(before, after)})"
                if kind == "flops"
                else f"{before:,} -> {after:,} parameters"
            )
            found.append(Difference(kind, way, f"{name}: {figures}", name))
    return found


def _growth(before: int, after: int) -> str:
    """A difference of FLOPs: as a share, or to the last FLOP where the rounded figures hide it."""
    return f"{after - before:+,} FLOP" if not before or flops(before) == flops(after) else percent(after / before - 1)


def _notes(now: Work, base: Work) -> list[str]:
    """What changed in how the model was read rather than in what it computed."""
    return [
        f"{name}: {base.attention_parameters.get(name, 0):,} -> {now.attention_parameters.get(name, 0):,} parameters"
        " recognised as attention (not judged)"
        for name in sorted(base.attention_parameters.keys() | now.attention_parameters.keys())
        if base.attention_parameters.get(name, 0) != now.attention_parameters.get(name, 0)
    ]
