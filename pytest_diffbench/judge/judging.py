"""Decides, for every gate that was asked, what a measurement means beside its baseline: pure functions of records."""

from __future__ import annotations

import dataclasses
import types
from typing import TYPE_CHECKING

from pytest_diffbench.judge.definition import definition_changes
from pytest_diffbench.judge.gate_input import GateInput
from pytest_diffbench.judge.guidance.gate import judge_guidance, with_fault_of_baseline
from pytest_diffbench.judge.memory import judge_memory
from pytest_diffbench.judge.output.gate import judge_output
from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.judge.time.ratios import judge_time_or_ratio
from pytest_diffbench.judge.work import inert, judge_work
from pytest_diffbench.records import GATES
from pytest_diffbench.records.details import RatioDetails, TimeDetails, Unjudged

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.outputs.metrics import ImageMetric
    from pytest_diffbench.records import Gate, Observation, RatioRun, Run, Verdict
    from pytest_diffbench.records.artifacts import Artifacts, Reference

_NO_PEER_RUNS: Mapping[str, Sequence[Run]] = types.MappingProxyType({})


@dataclasses.dataclass(frozen=True, slots=True)
class _Entry:
    """A gate: its function, the part of an observation that it judges, and whether it waits for a baseline.

    `alone` is asked first, with or without one; None where it has nothing to say.
    """

    judge: Callable[[GateInput], Verdict]
    part: Callable[[Observation], object]
    needs_baseline: bool
    alone: Callable[[Observation], Verdict | None] = lambda _: None


_TABLE: dict[Gate, _Entry] = {
    "work": _Entry(judge_work, lambda observation: observation.work, needs_baseline=True, alone=inert),
    "guidance": _Entry(judge_guidance, lambda observation: observation.guidance, needs_baseline=False),
    "output": _Entry(judge_output, lambda observation: observation.output, needs_baseline=False),
    "memory": _Entry(judge_memory, lambda observation: observation.memory, needs_baseline=True),
    "time": _Entry(judge_time_or_ratio, lambda observation: observation.run.rounds or None, needs_baseline=True),
}
"""One line a gate. Those that need no baseline do without one, or judge first what can be judged without."""


def judge(
    observation: Observation,
    artifacts: Artifacts,
    reference: Reference | None,
    limits: Limits,
    gates: Sequence[Gate],
    saving: bool = False,
    *,
    more_runs: Sequence[Run] = (),
    more_ratios: Sequence[RatioRun] = (),
    peer_runs: Mapping[str, Sequence[Run]] = _NO_PEER_RUNS,
    family_size: int = 1,
    metrics: Sequence[ImageMetric] = (),
) -> tuple[Verdict, ...]:
    """Judge one case. Nothing is read but the baseline's artifacts, and those only where images differ.

    Args:
        observation: what was measured.
        artifacts: its images and trace.
        reference: the baseline nearest to this machine, None where there is none.
        limits: thresholds.
        gates: those to ask; order and repetition don't matter.
        saving: this run is about to be accepted as baseline, which messages then say.
        more_runs: runs of the same case in fresh processes, made since `wants_runs` asked for them.
        more_ratios: of those runs, where the case is a variant.
        peer_runs: runs of the other baselines of this machine, by case.
        family_size: parts that the session's error budget of time is cut into; this case has one.
        metrics: of other packages, by which images are compared too.

    Returns:
        One verdict for each gate, in the order of `GATES`.

    Raises:
        ValueError: a gate that doesn't exist, or fewer than one decision.
        BaselineError: images differ, and the baseline's can't be read: never a reason to pass.
    """
    if unknown := sorted(set(gates) - set(GATES)):
        raise ValueError(f"no such gate: {', '.join(unknown)}. Gates are {', '.join(GATES)}.")
    if family_size < 1:
        raise ValueError(f"a session decides at least one case, not {family_size}")
    gate_input = GateInput(
        observation=observation,
        artifacts=artifacts,
        reference=reference,
        limits=limits,
        saving=saving,
        more_runs=more_runs,
        more_ratios=more_ratios,
        peer_runs=peer_runs,
        family_size=family_size,
        metrics=metrics,
    )
    return with_fault_of_baseline(gate_input, [_ask(gate, gate_input) for gate in GATES if gate in gates])


def wants_runs(verdict: Verdict) -> bool:
    """Whether a run of a fresh process may change this verdict on time; judge again with it and all before."""
    return isinstance(verdict.details, TimeDetails | RatioDetails) and verdict.details.more_runs_help


def _ask(gate: Gate, gate_input: GateInput) -> Verdict:
    """Answer what is the same for all gates, and ask the gate for the rest."""
    entry, observation = _TABLE[gate], gate_input.observation
    if not observation.complete:
        return verdict(f"{gate}.incomplete", details=Unjudged(notes=observation.notes))
    if entry.part(observation) is None:
        return verdict(f"{gate}.not_seen", details=Unjudged(notes=observation.notes))
    if (by_itself := entry.alone(observation)) is not None:
        return by_itself
    if entry.needs_baseline:
        if gate_input.reference is None:
            return verdict(f"{gate}.no_baseline", details=Unjudged(saving=gate_input.saving))
        old = gate_input.reference.baseline.case.definition
        if changed := definition_changes(old, observation.case.definition):
            return verdict(f"{gate}.definition_changed", details=Unjudged(definition=changed))
    return entry.judge(gate_input)
