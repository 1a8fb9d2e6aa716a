"""The memory gate: the same peak, in total and in each stage, on the same class of machine?"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_diffbench.judge.definition import environment_changes
from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.judge.text import binary, percent
from pytest_diffbench.records import STAGES

if TYPE_CHECKING:
    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.judge.question import Question
    from pytest_diffbench.records import Memory, Stage, Verdict


def judge_memory(question: Question) -> Verdict:
    """Compare peak memory with the baseline's."""
    now, base = question.observation.memory, question.baseline.baseline.memory
    assert now is not None  # the table asks this gate only when the part was seen
    refusal = _refusal(question, now, base)
    if refusal is not None:
        return refusal
    assert base is not None  # a refusal would have been given
    limits = question.limits
    rough = now.source == "process_rss"
    allowed = memory_allowance(now, limits)
    change = allowed.judge(base.peak_bytes, now.peak_bytes)
    # the peak of a stage in a resident set is the process's history more than the stage's doing
    stages = [] if rough else [s for s in STAGES if _stage_change(allowed, base, now, s) > 0]
    tensors = _Allowed(limits.memory_workspace_rel, limits.memory_workspace_floor_bytes)
    grown = [s for s in STAGES if _workspace_change(tensors, base, now, s) > 0]
    reserved = _reserved_change(base, now, _Allowed(limits.memory_reserved_rel, allowed.floor_bytes))
    details = {
        "source": now.source,
        "peak_bytes": [base.peak_bytes, now.peak_bytes],
        "reserved_bytes": [base.reserved_bytes, now.reserved_bytes],
        "stages_peak_bytes": {
            stage: [base.stages[stage].peak_bytes, now.stages[stage].peak_bytes]
            for stage in STAGES
            if stage in base.stages and stage in now.stages
        },
        "workspace_bytes": {
            stage: list(_workspace(base, now, stage)) for stage in STAGES if None not in _workspace(base, now, stage)
        },
        "smallest_visible_bytes": allowed.bytes_of(base.peak_bytes),
    }
    changes = _changes(base, now, allowed, tensors)
    peak = f"Peak {_pair(base.peak_bytes, now.peak_bytes)}"
    visible = allowed.bytes_of(base.peak_bytes)
    seen = f" A change of {binary(visible)} ({percent(visible / base.peak_bytes)}) would have been seen"
    if any(None not in _workspace(base, now, stage) for stage in STAGES):
        least = binary(tensors.floor_bytes)
        seen += f", of the tensors that a stage makes {100 * tensors.rel:g} % ({least} at least)"
    seen += "."
    note = " This is the process's resident set: rough." if rough else ""
    if change > 0:
        carried = _carrier(base, now, largest=True)
        return verdict("memory.peak", f"{peak}{carried}.{note}", details=details, changes=changes)
    if stages:
        told = ", ".join(f"{s} {_pair(base.stages[s].peak_bytes, now.stages[s].peak_bytes)}" for s in stages)
        message = f"More memory within a stage: {told}. {peak}."
        return verdict("memory.stage", message, details=details, changes=changes)
    if grown:
        told = ", ".join(f"{s} {_pair(old or 0, new or 0)}" for s in grown for old, new in [_workspace(base, now, s)])
        message = f"More memory for the tensors that a stage makes: {told}. {peak}.{note}"
        return verdict("memory.workspace", message, details=details, changes=changes)
    if reserved > 0 and base.reserved_bytes is not None and now.reserved_bytes is not None:
        message = f"More memory reserved: {_pair(base.reserved_bytes, now.reserved_bytes)}. {peak}."
        return verdict("memory.reserved", message, details=details, changes=changes)
    if change < 0:
        carried = _carrier(base, now, largest=False)
        return verdict("memory.less", f"{peak}{carried}.{note}", details=details, changes=changes)
    return verdict("memory.same", f"{peak}.{seen}{note}", details=details, changes=changes)


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


def memory_allowance(memory: Memory, limits: Limits) -> _Allowed:
    """By how much a peak that was read in this way may change."""
    rough = memory.source == "process_rss"
    return _Allowed(
        limits.memory_rss_rel if rough else limits.memory_rel,
        limits.memory_rss_floor_bytes if rough else limits.memory_floor_bytes,
    )


def _refusal(question: Question, now: Memory, base: Memory | None) -> Verdict | None:
    """Why the two can't be compared, None when they can."""
    reference = question.baseline
    if base is None:
        return verdict("memory.no_baseline", f"{reference.path} holds no memory to compare with.")
    if reference.distance != "machine":
        newest = reference.baseline.runs[-1].environment.machine
        message = f"Memory is compared on one class of machine only; the baseline is of {newest}."
        return verdict("memory.other_machine", message)
    changed = environment_changes(reference.baseline.runs[-1].environment, question.observation.run.environment)
    if changed is not None:
        kind, facts = changed
        what = "hardware differs" if kind == "hardware" else "settings differ"
        message = f"The {what} from the baseline's, so memory can't be compared: {facts}."
        return verdict(f"memory.{kind}", message)
    if now.source != base.source:
        message = f"Memory was read from {base.source} in the baseline, from {now.source} here."
        return verdict("memory.source", message)
    if now.source == "process_lifetime":
        message = "Only the peak of the process's whole life is known here, which other cases share."
        return verdict("memory.rough", message)
    return None


def _stage_change(allowed: _Allowed, base: Memory, now: Memory, stage: str) -> int:
    old, new = base.stages.get(stage), now.stages.get(stage)  # type: ignore[call-overload]  # any text may be looked up
    return allowed.judge(old.peak_bytes, new.peak_bytes) if old is not None and new is not None else 0


def _workspace(base: Memory, now: Memory, stage: Stage) -> tuple[int | None, int | None]:
    old, new = base.stages.get(stage), now.stages.get(stage)
    return (old.workspace_bytes if old is not None else None), (new.workspace_bytes if new is not None else None)


def _workspace_change(allowed: _Allowed, base: Memory, now: Memory, stage: Stage) -> int:
    old, new = _workspace(base, now, stage)
    return allowed.judge(old, new) if old is not None and new is not None else 0


def _reserved_change(base: Memory, now: Memory, allowed: _Allowed) -> int:
    if base.reserved_bytes is None or now.reserved_bytes is None:
        return 0
    return allowed.judge(base.reserved_bytes, now.reserved_bytes)


def _pair(before: int, after: int) -> str:
    if before == after:
        return binary(after)
    share = f" ({percent((after - before) / before)})" if before else ""
    return f"{binary(before)} -> {binary(after)}{share}"


def _carrier(base: Memory, now: Memory, *, largest: bool) -> str:
    """The stage whose peak made the difference, in words; empty when no stage was seen on both sides."""
    growth = {
        s: now.stages[s].peak_bytes - base.stages[s].peak_bytes
        for s in STAGES
        if s in base.stages.keys() & now.stages
    }
    if not growth:
        return ""
    # of growing stages the one that holds the new peak counts, not the one that grew most below it
    holder = max(growth, key=lambda s: (now if largest else base).stages[s].peak_bytes)
    if (growth[holder] > 0) is not largest:
        return ""
    return (
        f", carried by {holder} ({binary(base.stages[holder].peak_bytes)} -> {binary(now.stages[holder].peak_bytes)})"
    )


def _changes(base: Memory, now: Memory, allowed: _Allowed, tensors: _Allowed) -> list[str]:
    lines = []
    for stage in STAGES:
        old, new = base.stages.get(stage), now.stages.get(stage)
        if old is None and new is None:
            continue
        if old is None or new is None:
            lines.append(f"{stage}: memory {'not seen in the baseline' if old is None else 'not seen here'}")
        elif allowed.judge(old.peak_bytes, new.peak_bytes):
            lines.append(f"{stage}: peak {_pair(old.peak_bytes, new.peak_bytes)}")
        if _workspace_change(tensors, base, now, stage):
            before, after = _workspace(base, now, stage)
            lines.append(f"{stage}: tensors made {_pair(before or 0, after or 0)}")
    if (
        base.reserved_bytes is not None
        and now.reserved_bytes is not None
        and base.reserved_bytes != now.reserved_bytes
    ):
        lines.append(f"reserved: {_pair(base.reserved_bytes, now.reserved_bytes)}")
    return lines
