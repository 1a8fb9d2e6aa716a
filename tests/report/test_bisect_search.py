"""Halving a history: it finds the first bad revision with few runs, also around revisions that can't be run."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_diffbench.commands.bisecting import Finding, Outcome, bisect
from pytest_diffbench.errors import DiffbenchError

FAULT = Finding("case", "work", "work.flops", "More work.")
OTHER = Finding("case", "output", "output.differs", "Another picture.")


def history(count: int) -> list[str]:
    return [f"r{number}" for number in range(count)]


@given(st.integers(2, 200), st.data())
def test_the_first_bad_revision_is_located_by_halving(count: int, data: st.DataObject) -> None:
    first_bad = data.draw(st.integers(1, count - 1))
    bisected = bisect(history(count), lambda name: Outcome((FAULT,) if int(name[1:]) >= first_bad else ()))
    assert (bisected.first_bad, bisected.last_good) == (f"r{first_bad}", f"r{first_bad - 1}")
    assert bisected.skipped == ()
    assert bisected.runs <= 2 + math.ceil(math.log2(count))
    assert bisected.findings == (FAULT,)


@given(st.integers(3, 60), st.data())
def test_unrunnable_revisions_are_skipped_and_named_as_candidates(count: int, data: st.DataObject) -> None:
    first_bad = data.draw(st.integers(1, count - 1))
    broken = data.draw(st.sets(st.integers(1, count - 2)))

    def run(name: str) -> Outcome:
        number = int(name[1:])
        return Outcome(broken="no") if number in broken else Outcome((FAULT,) if number >= first_bad else ())

    bisected = bisect(history(count), run)
    good, bad = int(bisected.last_good[1:]), int(bisected.first_bad[1:])
    assert good < first_bad <= bad
    assert {int(name[1:]) for name in bisected.skipped} == set(range(good + 1, bad))
    assert set(range(good + 1, bad)) <= broken


def test_a_different_fault_on_the_way_does_not_mislead() -> None:
    def run(name: str) -> Outcome:
        number = int(name[1:])
        return Outcome(((OTHER,) if 3 <= number < 12 else ()) + ((FAULT,) if number >= 14 else ()))

    assert bisect(history(20), run).first_bad == "r14"


@pytest.mark.parametrize(
    ("outcomes", "why"),
    [
        ({"r0": Outcome((FAULT,)), "r1": Outcome((FAULT,))}, "r0: isn't good by itself: case: work.flops"),
        ({"r0": Outcome(), "r1": Outcome()}, "r1: nothing is worse than at r0"),
        ({"r0": Outcome(broken="no import"), "r1": Outcome()}, "r0: the tests can't be judged there: no import"),
    ],
)
def test_ends_other_than_good_and_bad_are_refused(outcomes: dict[str, Outcome], why: str) -> None:
    with pytest.raises(DiffbenchError, match=why):
        bisect(history(2), outcomes.__getitem__)


def test_a_single_revision_is_no_history() -> None:
    with pytest.raises(DiffbenchError, match="nothing lies between them"):
        bisect(["r0"], lambda _: Outcome())
