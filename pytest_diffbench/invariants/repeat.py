"""The second call: the same as the first, of the generator's noise alone, and leaving all as it was."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import msgspec

from pytest_diffbench.invariants.invariant import Outcome, broken, holds, needs, not_applicable
from pytest_diffbench.measure.left_behind import component_states, left_behind

if TYPE_CHECKING:
    from pytest_diffbench.invariants.subject import Subject


def second_call(subject: Subject) -> Outcome:
    """A second call returns what the first did."""
    return subject.equal(subject.reference.arrays, subject.again.arrays, same=True)


def as_it_was(subject: Subject) -> Outcome:
    """A call leaves dtypes, devices, hooks, processors, configs, weights and torch's modes as they were."""
    import torch

    def modes() -> tuple[object, ...]:
        return torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()

    before = modes()
    subject.repeat()
    changes = left_behind(subject.states_at_first, component_states(subject.pipeline))
    if modes() != before:
        changes = (*changes, f"torch's modes: {modes()}, were {before}")
    return broken(where=changes) if changes else holds()


def generator_alone(subject: Subject) -> Outcome:
    """Nothing but the generator that is passed decides about the noise."""
    needs(subject, "generator")
    return subject.equal(subject.reference.arrays, subject.call(global_seed=1).arrays, same=True)


def generator_used(subject: Subject) -> Outcome:
    """Another seed gives another output, where that begins with noise."""
    needs(subject, "generator")
    given = [name for name, value in subject.arguments.items() if not _is_plain(value)]
    if given or subject.reference.guidance is None:
        not_applicable("no_schedule", *given)
    gap = subject.difference(subject.reference.arrays, subject.attempt(subject.seed + 1).arrays)
    gap = msgspec.structs.replace(gap, limit_rel=subject.same_limit_rel)
    alike = gap.distance_rel is not None and gap.distance_rel <= gap.limit_rel
    return broken(distance=gap) if alike else holds(distance=gap)


def processes(subject: Subject) -> Outcome:
    """Another process returns the same."""
    if subject.elsewhere is None:
        not_applicable("one_process")
    return subject.equal(subject.reference.arrays, subject.elsewhere(), same=True)


def no_uninitialised_memory(subject: Subject) -> Outcome:
    """Memory that nobody has written to takes no part: filled with NaN, it leaves the output as it is."""
    import torch
    from torch.utils import deterministic

    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filling: bool = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]  # defined in C
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of each operation that has no deterministic kernel
        try:
            torch.use_deterministic_algorithms(True, warn_only=True)
            deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]  # as above
            filled = subject.repeat()
        finally:
            deterministic.fill_uninitialized_memory = filling  # type: ignore[attr-defined]  # as above
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
    return subject.equal(subject.reference.arrays, filled.arrays, same=True)


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool | list | tuple | dict)
