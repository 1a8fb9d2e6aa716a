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
    """No text, and no picture for an image encoder, is encoded more often than there are texts.

    Two different texts may be cut to the same tokens, and pictures for two purposes may be the same one, so as many
    calls as there are texts, two at least, are no waste. An autoencoder isn't looked at: what a call masks or leaves
    out of a picture may make two of its inputs equal.
    """
    calls = [call for call in subject.reference.calls if call.role in ("text", "other")]
    if not calls:
        not_applicable("no_component")
    texts = sum(isinstance(value, str) for name, value in subject.arguments.items() if "prompt" in name)
    counts = collections.Counter((call.name, call.inputs) for call in calls)
    repeated = {name: count for (name, _), count in counts.items() if count > 1}
    totals = collections.Counter(call.name for call in calls)
    wasted = {name: count for name, count in repeated.items() if totals[name] > max(2, texts)}
    if wasted:
        where = tuple(f"{name}: {count} calls with one input" for name, count in wasted.items())
        return broken(where=where)
    return holds()
