"""Which calls of a measurement returned the same, and whether that goes by how they were watched."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_diffbench.measure.returned import Returned


def alike(calls: Sequence[Returned]) -> tuple[tuple[str, ...], ...]:
    """Names of the calls, those that returned the same bits together, in the order in which each group began.

    Calls that returned neither images nor tensors say nothing, and are left out.
    """
    groups: dict[str, list[str]] = {}
    for call in calls:
        if call.digest is not None:
            groups.setdefault(call.digest, []).append(call.call)
    return tuple(map(tuple, groups.values()))


def manner_of(call: str) -> str:
    """How a call was watched, by its name: `warm-up` for `warm-up 3`."""
    return call.rstrip("0123456789").rstrip()


def follow_manner(calls: Sequence[Returned], again: Mapping[str, Callable[[], Returned]]) -> bool:
    """Whether what a call returns depends on how it's watched.

    Asked of calls that fall into two groups, in which all that were watched alike are together, and none else: each
    is then made once more, for it may be that one call alone went astray, or that the first left something behind.

    Args:
        calls: all that were made.
        again: makes another call, by the manner of watching it.
    """
    digests: dict[str, set[str]] = {}
    for call in calls:
        if call.digest is not None:
            digests.setdefault(manner_of(call.call), set()).add(call.digest)
    if len(set().union(*digests.values())) != 2 or any(len(group) > 1 for group in digests.values()):
        return False
    return all(again[manner]().digest in group for manner, group in digests.items())


def changed_call(calls: Sequence[Returned]) -> str:
    """Sentences about calls of which `follow_manner` is true."""
    together = " against ".join(", ".join(group) for group in alike(calls))
    return (
        f"measuring changed the call: its result depends on whether it is observed ({together}; with nothing "
        "attached: the warm-ups), so nothing is judged or saved. Please report this as a bug in pytest-diffbench. "
        "Until it is fixed, measure a function that calls the pipeline, to which nothing is attached: "
        "diffbench(lambda: pipeline(...))."
    )
