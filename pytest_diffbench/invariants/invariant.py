"""What an invariant is, and how it says that it doesn't apply or can't be decided."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_diffbench.records.verification import Check

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_diffbench.invariants.subject import Subject
    from pytest_diffbench.records.verification import Answer, Obstacle


@dataclasses.dataclass(frozen=True, slots=True)
class Invariant:
    """What must hold of a pipeline without any baseline.

    Attributes:
        code: `family.what`.
        check: looks for it; raises `Undecided` where it doesn't apply or can't be decided.
    """

    code: str
    check: Callable[[Subject], Outcome]


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a check; see `records.Check` for the fields."""

    answer: Answer
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)

    def named(self, code: str) -> Check:
        """For the record."""
        return Check(code=code, answer=self.answer, **self.facts)


class Undecided(Exception):  # noqa: N818  # no error: an answer that ends a check early
    """A check ends without `holds` or `broken`."""

    def __init__(self, answer: Answer, obstacle: Obstacle, **facts: Any) -> None:
        super().__init__(answer, obstacle)
        self.outcome = Outcome(answer, {"obstacle": obstacle, **facts})


def holds(**facts: Any) -> Outcome:
    """Nothing is wrong."""
    return Outcome("holds", facts)


def broken(**facts: Any) -> Outcome:
    """Something is wrong."""
    return Outcome("broken", facts)


def not_applicable(obstacle: Obstacle, *where: str) -> NoReturn:
    """The pipeline isn't one that the invariant is about. `where` names what it lacks."""
    raise Undecided("not_applicable", obstacle, where=where)


def unable(obstacle: Obstacle, *where: str, message: str = "", **facts: Any) -> NoReturn:
    """The invariant is about the pipeline, and wasn't decided."""
    raise Undecided("unable", obstacle, where=where, message=message, **facts)


def needs(subject: Subject, *names: str) -> None:
    """End the check unless the pipeline's call takes these arguments."""
    for name in names:
        if name not in subject.parameters:
            not_applicable("no_argument", name)
