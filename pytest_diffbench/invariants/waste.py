"""Work that can't change the output."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

from pytest_diffbench.invariants.invariant import Outcome, broken, holds, not_applicable
from pytest_diffbench.records import parse_steps

if TYPE_CHECKING:
    from pytest_diffbench.invariants.subject import Subject


def idle_steps(subject: Subject) -> Outcome:
    """Each step changes the sample."""
    work = subject.reference.work
    if not work.steps:
        not_applicable("no_schedule")
    if work.idle_steps:
        count = len(parse_steps(work.idle_steps))
        return broken(where=(f"steps {work.idle_steps}",), observed=count, expected=0)
    return holds()


def encoded_once(subject: Subject) -> Outcome:
    """Nothing is encoded twice from the same input."""
    calls = [call for call in subject.reference.calls if call.role in ("text", "vae_encode", "other")]
    if not calls:
        not_applicable("no_component")
    counts = collections.Counter((call.name, call.inputs) for call in calls)
    repeated = {name: count for (name, _), count in counts.items() if count > 1}
    prompt, negative = subject.defaults.get("prompt"), subject.defaults.get("negative_prompt")
    if repeated and prompt == (negative or ""):
        not_applicable("documented", "negative_prompt")
    if repeated:
        where = tuple(f"{name}: {count} calls with one input" for name, count in repeated.items())
        return broken(where=where)
    return holds()
