"""Finding the revision at which tests got worse: halving, with revisions that can't be run left out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal, TypeAlias

from pytest_diffbench.errors import DiffbenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Fault: TypeAlias = tuple[str, str]
"""Id of a case, and a gate that calls it worse."""


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """A gate's verdict on a case that is worse."""

    case: str
    gate: str
    reason: str
    message: str

    @property
    def fault(self) -> Fault:
        """What makes two findings the same fault: a reason may change with what comes on top of it."""
        return self.case, self.gate


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the tests at one revision.

    Attributes:
        findings: of the gates that were asked; none where all is well.
        broken: why nothing was judged; None where it was.
    """

    findings: tuple[Finding, ...] = ()
    broken: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Bisected:
    """The answer.

    Attributes:
        first_bad: the revision at which the fault is first seen.
        last_good: the nearest one before it that was judged and hasn't the fault.
        skipped: between the two, those that couldn't be judged: it may be any of them as well.
        findings: at the first bad one, of the fault that was looked for.
        runs: revisions that were run, the two ends among them.
    """

    first_bad: str
    last_good: str
    skipped: tuple[str, ...]
    findings: tuple[Finding, ...]
    runs: int


def bisect(
    revisions: Sequence[str],
    run: Callable[[str], Outcome],
    notify: Callable[[str, Literal["good", "bad", "skipped"], str], None] = lambda *_: None,
) -> Bisected:
    """Find the first revision that has a fault of the last one.

    Args:
        revisions: oldest first; the first is good, and what others are compared with.
        run: runs the tests at a revision.
        notify: is told of each revision, with what it is and why.

    Raises:
        DiffbenchError: the first one isn't good, or the last one isn't bad.
    """
    if len(revisions) < 2:
        raise DiffbenchError(
            "GOOD and BAD are the same, or nothing lies between them. Name two revisions, GOOD first."
        )
    ends = {0: run(revisions[0]), len(revisions) - 1: run(revisions[-1])}
    for at, outcome in ends.items():
        if outcome.broken is not None:
            raise DiffbenchError(f"{revisions[at]}: the tests can't be judged there: {outcome.broken}")
    if ends[0].findings:
        found = ends[0].findings[0]
        raise DiffbenchError(
            f"{revisions[0]}: isn't good by itself: {found.case}: {found.reason}. Name another revision as GOOD."
        )
    last = ends[len(revisions) - 1]
    if not last.findings:
        raise DiffbenchError(
            f"{revisions[-1]}: nothing is worse than at {revisions[0]}, by the gates that were asked. Ask others "
            "with --gates, and check that the tests import the installed project, not this folder's."
        )
    faults = {found.fault for found in last.findings}
    good, bad, worst_outcome = 0, len(revisions) - 1, last
    skipped: set[int] = set()
    runs = 2
    while (middle := _middle(good, bad, skipped)) is not None:
        outcome = run(revisions[middle])
        runs += 1
        if outcome.broken is not None:
            skipped.add(middle)
            notify(revisions[middle], "skipped", outcome.broken)
        elif faulty := [found for found in outcome.findings if found.fault in faults]:
            bad, worst_outcome = middle, outcome
            notify(revisions[middle], "bad", faulty[0].reason)
        else:
            good = middle
            notify(revisions[middle], "good", "")
    return Bisected(
        first_bad=revisions[bad],
        last_good=revisions[good],
        skipped=tuple(revisions[at] for at in range(good + 1, bad)),
        findings=tuple(found for found in worst_outcome.findings if found.fault in faults),
        runs=runs,
    )


def _middle(good: int, bad: int, skipped: set[int]) -> int | None:
    """The revision nearest to the middle that wasn't skipped; None where nothing is left to ask."""
    untested = [at for at in range(good + 1, bad) if at not in skipped]
    return min(untested, key=lambda at: abs(2 * at - good - bad), default=None)
