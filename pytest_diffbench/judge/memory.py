"""The memory gate: the same peak, in total and in each stage, on the same class of machine?"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_diffbench.judge.definition import environment_changes
from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.records import STAGES
from pytest_diffbench.records.details import Incomparable, MemoryDetails, StageMemoryChange, Unjudged

if TYPE_CHECKING:
    from pytest_diffbench.judge.gate_input import GateInput
    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.records import Memory, Stage, Verdict


def judge_memory(gate_input: GateInput) -> Verdict:
    """Compare peak memory with the baseline's."""
    now, base = gate_input.observation.memory, gate_input.baseline.baseline.memory
    assert now is not None  # the table asks this gate only when the part was seen
    refusal = _refusal(gate_input, now, base)
    if refusal is not None:
        return refusal
    assert base is not None  # a refusal would have been given
    limits = gate_input.limits
    allowed = memory_allowance(now, limits)
    tensors = _Allowed(limits.memory_workspace_rel, limits.memory_workspace_floor_bytes)
    stages = tuple(
        _stage(base, now, stage, allowed, tensors) for stage in STAGES if stage in base.stages or stage in now.stages
    )
    counted = any(None not in stage.workspace_bytes for stage in stages)
    change = allowed.judge(base.peak_bytes, now.peak_bytes)
    details = MemoryDetails(
        source=now.source,
        peak_bytes=(base.peak_bytes, now.peak_bytes),
        reserved_bytes=(base.reserved_bytes, now.reserved_bytes),
        stages=stages,
        carrier=_carrier(base, now, largest=change > 0) if change else None,
        smallest_visible_bytes=allowed.bytes_of(base.peak_bytes),
        workspace_visible_rel=tensors.rel if counted else None,
        workspace_visible_bytes=tensors.floor_bytes,
    )
    return verdict(
        f"memory.{_reason(details, change, _Allowed(limits.memory_reserved_rel, allowed.floor_bytes))}",
        details=details,
    )


def _reason(details: MemoryDetails, change: int, reserved: _Allowed) -> str:
    if change > 0:
        return "peak"
    # the peak of a stage in a resident set is the process's history more than the stage's doing
    if details.source != "process_rss" and any(
        _grown(stage.peak_bytes, stage.peak_moved) for stage in details.stages
    ):
        return "stage"
    if any(_grown(stage.workspace_bytes, stage.workspace_moved) for stage in details.stages):
        return "workspace"
    before, after = details.reserved_bytes
    if before is not None and after is not None and reserved.judge(before, after) > 0:
        return "reserved"
    return "less" if change < 0 else "same"


def _grown(bytes_of_sides: tuple[int | None, int | None], moved: bool) -> bool:
    before, after = bytes_of_sides
    return moved and before is not None and after is not None and after > before


def _stage(base: Memory, now: Memory, stage: Stage, allowed: _Allowed, tensors: _Allowed) -> StageMemoryChange:
    old, new = base.stages.get(stage), now.stages.get(stage)
    peak = (old.peak_bytes if old is not None else None, new.peak_bytes if new is not None else None)
    workspace = (old.workspace_bytes if old is not None else None, new.workspace_bytes if new is not None else None)
    return StageMemoryChange(
        stage=stage,
        peak_bytes=peak,
        workspace_bytes=workspace,
        peak_moved=allowed.moved(peak),
        workspace_moved=tensors.moved(workspace),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Allowed:
    """A change that is let through: a share of the baseline, or the floor where that is larger."""

    rel: float
    floor_bytes: int

    def bytes_of(self, base_bytes: int) -> int:
        return max(int(self.rel * base_bytes), self.floor_bytes)

    def judge(self, base_bytes: int, now_bytes: int) -> int:
        """1 for more than allowed, -1 for less, 0 within."""
        growth = now_bytes - base_bytes
        return 0 if abs(growth) <= self.bytes_of(base_bytes) else 1 if growth > 0 else -1

    def moved(self, bytes_of_sides: tuple[int | None, int | None]) -> bool:
        """Whether both sides are known, and further apart than is allowed."""
        before, after = bytes_of_sides
        return before is not None and after is not None and self.judge(before, after) != 0


def memory_allowance(memory: Memory, limits: Limits) -> _Allowed:
    """By how much a peak that was read in this way may change."""
    rough = memory.source == "process_rss"
    return _Allowed(
        limits.memory_rss_rel if rough else limits.memory_rel,
        limits.memory_rss_floor_bytes if rough else limits.memory_floor_bytes,
    )


def _refusal(gate_input: GateInput, now: Memory, base: Memory | None) -> Verdict | None:
    """Why the two can't be compared, None when they can."""
    reference = gate_input.baseline
    if base is None:
        return verdict("memory.no_baseline", details=Unjudged(baseline_path=reference.path))
    newest = reference.baseline.runs[-1].environment
    if reference.distance != "machine":
        return verdict("memory.other_machine", details=Incomparable(machine=newest.machine))
    changed = environment_changes(newest, gate_input.observation.run.environment)
    if changed is not None:
        kind, facts = changed
        return verdict(f"memory.{kind}", details=facts)
    if now.source != base.source:
        return verdict("memory.source", details=Incomparable(sources=(base.source, now.source)))
    if now.source == "process_lifetime":
        return verdict("memory.rough", details=Incomparable(sources=(base.source, now.source)))
    return None


def _carrier(base: Memory, now: Memory, *, largest: bool) -> Stage | None:
    """The stage whose peak made the difference; None when no stage was seen on both sides."""
    growth = {
        stage: now.stages[stage].peak_bytes - base.stages[stage].peak_bytes
        for stage in STAGES
        if stage in base.stages.keys() & now.stages
    }
    if not growth:
        return None
    # of growing stages the one that holds the new peak counts, not the one that grew most below it
    holder = max(growth, key=lambda stage: (now if largest else base).stages[stage].peak_bytes)
    return holder if (growth[holder] > 0) is largest else None
