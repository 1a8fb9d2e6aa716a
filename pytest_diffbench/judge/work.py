"""The work gate: the same denoiser calls, component calls, FLOPs and parameters as the baseline?

Valid on any machine. Calls and shapes are compared exactly. FLOPs and operators are exact within one torch version
and device type.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from pytest_diffbench.judge.calls import call_differences, direction, direction_within
from pytest_diffbench.judge.guidance.gate import fault_of_baseline
from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.records import ATTENTION, MASKED_ATTENTION, format_steps
from pytest_diffbench.records.details import (
    CountChange,
    FieldChange,
    InertDetails,
    Unjudged,
    WorkDetails,
    WorkDifference,
    WorkKind,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pytest_diffbench.judge.gate_input import GateInput
    from pytest_diffbench.records import Environment, Observation, Verdict, Work


_SCHEDULE_REL = 1e-5
"""Of the largest timestep or sigma: a schedule of another kind is off by a thousand times as much."""

_ORDER = tuple(get_args(WorkKind))
"""Which difference names the verdict: causes before consequences."""

_BY_GUIDANCE = frozenset({"steps", "branches", "denoiser_calls"})
"""What differs where other steps are guided."""

_DOUBTFUL = frozenset({"uncounted", "operators", "python_calls"})
"""More of these isn't worse by itself: another kernel of attention, or offloading, does the same in more pieces."""


def inert(observation: Observation) -> Verdict | None:
    """The verdict on an optimisation that is on and had no part in the call; None where all had.

    It needs no baseline: a case that is named after an optimisation and measures the plain pipeline is wrong from its
    first day, and a baseline of it would hold it there.
    """
    work = observation.work
    idle = tuple(engagement for engagement in work.engagements if engagement.inert) if work is not None else ()
    if work is None or not idle:
        return None
    return verdict("work.inert", details=InertDetails(engagements=idle, steps=work.steps))


def judge_work(gate_input: GateInput) -> Verdict:
    """Compare what was computed with what the baseline computed."""
    now, base = gate_input.observation.work, gate_input.baseline.baseline.work
    assert now is not None  # the table asks this gate only when the part was seen
    if base is None:
        return verdict("work.no_baseline", details=Unjudged(baseline_path=gate_input.baseline.path))
    for work, side in ((now, "here"), (base, "baseline")):
        if not (work.denoiser or work.component_calls):
            return verdict("work.not_seen", details=Unjudged(side=side))  # type: ignore[arg-type]  # one of two
    flops_allowed_for = _other_flops(gate_input)
    allowed_rel = gate_input.limits.flops_other_torch_rel if flops_allowed_for else 0.0
    differences = _differences(now, base, allowed_rel)
    differences += _operator_differences(gate_input, now, base, _explained(differences))
    differences.sort(key=lambda difference: _ORDER.index(difference.kind))
    details = WorkDetails(
        steps=(base.steps, now.steps),
        denoiser_calls=(base.denoiser_calls, now.denoiser_calls),
        flops=(base.total_flops, now.total_flops),
        operators=(base.total_operators, now.total_operators),
        python_calls=(sum(base.python_calls.values()), sum(now.python_calls.values())),
        flops_allowed_rel=allowed_rel,
        flops_allowed_for=flops_allowed_for,
        operators_allowed_rel=_operators_allowed_rel(gate_input),
        operators_counted=bool(base.operators) or not now.operators,
        python_calls_allowed_rel=_python_calls_allowed_rel(gate_input),
        differences=(*differences, *_attention_parameters(now, base)),
    )
    if any(difference.kind in _BY_GUIDANCE for difference in differences) and (
        faults := fault_of_baseline(gate_input)
    ):
        others = [difference for difference in differences if not _follows_from_guidance(difference, now)]
        if not any(other.direction != "less" and other.kind not in _DOUBTFUL for other in others):
            details = msgspec.structs.replace(details, baseline_fault=faults)
            return verdict("work.baseline_not_as_asked", details=details)
    return verdict(f"work.{_reason(differences)}", details=details)


def _reason(differences: Sequence[WorkDifference]) -> str:
    certain = [difference for difference in differences if difference.kind not in _DOUBTFUL]
    doubtful = [difference for difference in differences if difference.kind in _DOUBTFUL]
    for candidates in (certain, doubtful):
        if not_less := [difference for difference in candidates if difference.direction != "less"]:
            return not_less[0].kind
        if candidates is certain and certain:
            return "less"
    return "same"


def _follows_from_guidance(difference: WorkDifference, now: Work) -> bool:
    denoisers = {group.component for group in now.denoiser}
    return difference.kind in _BY_GUIDANCE or (difference.kind == "flops" and difference.component in denoisers)


def _other_flops(gate_input: GateInput) -> tuple[FieldChange, ...]:
    """Why FLOPs may differ: torch counts otherwise in another version, and on another type of device."""
    old, new = gate_input.baseline.baseline.runs[-1].environment, gate_input.observation.run.environment
    before, after = old.software.get("torch"), new.software.get("torch")
    changes = []
    if old.family != new.family:
        changes.append(FieldChange(field="device", before=old.family, after=new.family))
    if before is None or before != after:
        versions = ("unknown" if version is None else str(version) for version in (before, after))
        changes.append(FieldChange(field="torch", before=next(versions), after=next(versions)))
    return tuple(changes)


def _differences(now: Work, base: Work, allowed_rel: float) -> list[WorkDifference]:
    differences = []
    if now.steps != base.steps:
        way = direction(base.steps, now.steps)
        differences.append(WorkDifference(kind="steps", direction=way, before=base.steps, after=now.steps))
    differences += _schedule_differences(now, base)
    differences += call_differences(base.denoiser, now.denoiser, allowed_rel)
    # the denoiser's calls have been compared, and located, step by step
    denoisers = {group.component for group in (*base.denoiser, *now.denoiser)}
    calls = (
        {name: calls for name, calls in work.component_calls.items() if name not in denoisers} for work in (base, now)
    )
    differences += _count_differences("component_calls", next(calls), next(calls), 0.0)
    differences += _count_differences("flops", base.flops, now.flops, allowed_rel)
    differences += _count_differences("parameters", base.parameters, now.parameters, 0.0)
    return _without_losses_of_formulas(differences, now, base)


def _without_losses_of_formulas(differences: list[WorkDifference], now: Work, base: Work) -> list[WorkDifference]:
    """FLOPs that are fewer since no formula counts what does them now aren't less work: they can't be compared."""
    counts = tuple(
        CountChange(name=name, before=base.uncounted.get(name, 0), after=count)
        for name, count in sorted(now.uncounted.items())
        if count > base.uncounted.get(name, 0)
    )
    kept = [change for change in differences if change.kind != "flops" or change.direction != "less"]
    if not counts or len(kept) == len(differences):
        return differences
    flops = base.total_flops, now.total_flops
    lost = WorkDifference(kind="uncounted", direction="other", before=flops[0], after=flops[1], counts=counts)
    return [*kept, lost]


def _explained(differences: Sequence[WorkDifference]) -> frozenset[str] | None:
    """Components whose operators differ in consequence of these differences; None where all may."""
    changed = [difference for difference in differences if difference.kind != "schedule"]
    if any(difference.kind == "steps" for difference in changed):
        return None
    return frozenset({difference.component for difference in changed} | ({"pipeline"} if changed else set()))


def _schedule_differences(now: Work, base: Work) -> list[WorkDifference]:
    """Other timesteps or sigmas for as many steps. Machines and versions of torch round the last digits otherwise."""
    differences = []
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
            differences.append(
                WorkDifference(
                    kind="schedule",
                    direction="other",
                    name=name,
                    steps=format_steps(changed),
                    before=before[first],
                    after=after[first],
                )
            )
    return differences


def _count_differences(
    kind: Literal["component_calls", "flops", "parameters", "attention_parameters"],
    base: dict[str, int],
    now: dict[str, int],
    allowed_rel: float,
) -> list[WorkDifference]:
    return [
        WorkDifference(kind=kind, direction=way, component=name, before=base.get(name, 0), after=now.get(name, 0))
        for name in sorted(base.keys() | now.keys())
        if (way := direction_within(base.get(name, 0), now.get(name, 0), allowed_rel)) is not None
    ]


def _attention_parameters(now: Work, base: Work) -> list[WorkDifference]:
    """What changed in how the model was read rather than in what it computed."""
    changed = _count_differences("attention_parameters", base.attention_parameters, now.attention_parameters, 0.0)
    return [msgspec.structs.replace(difference, direction="other") for difference in changed]


_MOST_NAMES = 4


def _operator_differences(
    gate_input: GateInput, now: Work, base: Work, explained: Collection[str] | None
) -> list[WorkDifference]:
    """What differs where nothing else does. `explained` are components that differ already, None all.

    Masks of attention, and what was compiled, are a matter of the call, and exact. Operators are exact for one
    release of torch, diffusers and transformers, and compared by their sum, within an allowance, for others; not at
    all on another kind of device, where other kernels serve. Calls of Python functions are compared for one release
    of Python and torch.
    """
    differences = _compiled(base, now)
    if explained is None:
        return differences
    allowed_rel = _operators_allowed_rel(gate_input)
    for name in sorted((base.operators.keys() & now.operators.keys()) - set(explained)):
        before, after = Counter(base.operators[name]), Counter(now.operators[name])
        differences += _masks(name, before, after)
        if allowed_rel is not None and before != after:
            differences += _operators(name, before, after, allowed_rel)
    python_rel = _python_calls_allowed_rel(gate_input)
    if not explained and python_rel is not None:
        differences += _python_calls(base.python_calls, now.python_calls, python_rel)
    return differences


def _operators_allowed_rel(gate_input: GateInput) -> float | None:
    """By what share a component's operators may differ; None where they aren't compared."""
    old, new = gate_input.baseline.baseline.runs[-1].environment, gate_input.observation.run.environment
    if old.family != new.family:
        return None
    exact = _same_software(old, new, "torch", "diffusers", "transformers")
    return 0.0 if exact else gate_input.limits.operators_other_software_rel


def _python_calls_allowed_rel(gate_input: GateInput) -> float | None:
    """By what share calls of Python functions may grow; None where they aren't compared."""
    old, new = gate_input.baseline.baseline.runs[-1].environment, gate_input.observation.run.environment
    return gate_input.limits.python_calls_rel if _same_software(old, new, "python", "torch") else None


def _same_software(old: Environment, new: Environment, *names: str) -> bool:
    return all(old.software.get(name) == new.software.get(name) for name in names)


def _compiled(base: Work, now: Work) -> list[WorkDifference]:
    """What torch compiled, where it did so in both measurements: else an earlier one in the process had done it."""
    if not base.compiled or not now.compiled:
        return []
    return [
        WorkDifference(kind="compiled", direction=direction(before, after), name=name, before=before, after=after)
        for name in sorted(base.compiled.keys() | now.compiled.keys())
        if (before := base.compiled.get(name, 0)) != (after := now.compiled.get(name, 0))
    ]


def _masks(name: str, before: Counter[str], after: Counter[str]) -> list[WorkDifference]:
    old, new = before[MASKED_ATTENTION], after[MASKED_ATTENTION]
    calls = new + after[ATTENTION]
    if old == new or calls != old + before[ATTENTION]:
        return []
    return [
        WorkDifference(
            kind="attention_mask",
            direction=direction(old, new),
            component=name,
            before=old,
            after=new,
            of_calls=calls,
        )
    ]


def _operators(name: str, before: Counter[str], after: Counter[str], allowed_rel: float) -> list[WorkDifference]:
    old, new = before.total(), after.total()
    if allowed_rel and abs(new - old) <= allowed_rel * max(new, old):
        return []
    changed = sorted(before.keys() | after.keys(), key=lambda key: (-abs(after[key] - before[key]), key))
    counts = [
        CountChange(name=key, before=before[key], after=after[key]) for key in changed if before[key] != after[key]
    ]
    return [
        WorkDifference(
            kind="operators",
            direction=direction(old, new),
            component=name,
            before=old,
            after=new,
            counts=tuple(counts[:_MOST_NAMES]),
            further_counts=max(len(counts) - _MOST_NAMES, 0),
        )
    ]


def _python_calls(before: dict[str, int], after: dict[str, int], allowed_rel: float) -> list[WorkDifference]:
    old, new = sum(before.values()), sum(after.values())
    if not old or not new or abs(new - old) <= allowed_rel * old:
        return []
    most = max(before.keys() | after.keys(), key=lambda key: abs(after.get(key, 0) - before.get(key, 0)))
    count = CountChange(name=most, before=before.get(most, 0), after=after.get(most, 0))
    return [
        WorkDifference(kind="python_calls", direction=direction(old, new), before=old, after=new, counts=(count,))
    ]
