"""The check of a class of the zoo: measured, saved, measured again, and with each scale off by a twentieth."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import torch
import zoo_entry
import zoo_kinds
from zoo_table import ENTRIES

from pytest_diffbench.judge import Limits, judge
from pytest_diffbench.measure.definition import parameters_of
from pytest_diffbench.measure.returned import Reader
from pytest_diffbench.records.details import GuidanceDetails, ObservedGuidance
from pytest_diffbench.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_diffbench.measure.runner import Measurement
    from pytest_diffbench.records import GuidanceGroup, Observation, Verdict
    from pytest_diffbench.records.artifacts import Reference

OFF = 1.05


@dataclasses.dataclass(frozen=True, slots=True)
class Examined:
    """A class after the check.

    Attributes:
        observation: of the first run, which was saved.
        bare_digest: of what a call returns that nobody measures.
        again: verdicts on guidance and output of a second run, of a pipeline built anew.
        off: of each scale, the verdict on guidance where it was 1.05 times what the call asked for.
    """

    observation: Observation
    bare_digest: str | None
    again: tuple[Verdict, ...]
    off: dict[str, Verdict]


def examine(name: str, folder: Path) -> Examined:
    """Measure a class, save it below a folder, and measure it again."""
    entry = ENTRIES[name]
    first = _measurement(name, entry, zoo_entry.build(entry))
    observation = first.observation(complete=True)
    store = Store(folder)
    store.save(observation, first.artifacts(), None, unchanged=False)
    reference = store.find(observation.case, observation.run.environment)
    assert reference is not None
    examined = zoo_entry.build(entry)  # for all that follows: to build one takes as long as its call
    bare_digest = _bare_digest(entry, examined)
    second = _measurement(name, entry, examined, briefly=True)
    again = judge(second.observation(complete=True), second.artifacts(), reference, Limits(), ("guidance", "output"))
    off = {}
    for number, scale in enumerate(entry.scales):
        pipeline = examined if number == 0 else zoo_entry.build(entry)  # one scale at a time is off
        off[scale] = _with_scale_off(name, entry, pipeline, scale, reference)
    return Examined(observation, bare_digest, again, off)


def _bare_digest(entry: zoo_entry.Entry, pipeline: Any) -> str | None:
    asked = zoo_entry.arguments(entry, pipeline)
    with torch.random.fork_rng(devices=[]):
        if "generator" in parameters_of(pipeline):
            asked["generator"] = torch.Generator().manual_seed(0)
        else:  # as of a modular pipeline, for which the measurement seeds the global one
            torch.manual_seed(0)
        return Reader().read("bare", pipeline(**asked), None).digest


def _with_scale_off(name: str, entry: zoo_entry.Entry, pipeline: Any, scale: str, reference: Reference) -> Verdict:
    off = _measurement(name, entry, pipeline, scale, briefly=True)
    (verdict,) = judge(off.observation(complete=True), off.artifacts(), reference, Limits(), ("guidance",))
    return verdict


def _measurement(
    name: str, entry: zoo_entry.Entry, pipeline: Any, off: str | None = None, *, briefly: bool = False
) -> Measurement:
    asked: dict[str, Any] = zoo_entry.arguments(entry, pipeline)
    if off is not None:
        entry.break_scale(pipeline, off, OFF)
    return zoo_kinds.taken(name, pipeline, asked, briefly=briefly)


def kind_of(observation: Observation) -> str:
    """Of what a call returned: `image`, or the kind of its first part."""
    assert observation.output is not None
    assert observation.output.finite
    return observation.output.parts[0].kind if observation.output.parts else "image"


def reruns_alike(observation: Observation) -> bool:
    """Whether the calls of a single measurement returned the same bits."""
    assert observation.output is not None
    return observation.output.rerun.identical


def names_both_scales(verdict: Verdict) -> bool:
    """Whether a verdict says what the steps mixed before, or should have mixed, and what they mix now."""
    details = verdict.details
    if isinstance(details, GuidanceDetails):
        return any(fault.kind == "scale" and fault.steps and fault.observed for fault in details.faults)
    assert isinstance(details, ObservedGuidance)
    return bool(details.changes) and all(
        change.steps and change.before and change.after and _mix(change.before) != _mix(change.after)
        for change in details.changes
    )


def _mix(group: GuidanceGroup) -> tuple[object, ...]:
    return group.scale, group.scale_span, group.shares
