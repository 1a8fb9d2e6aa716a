"""Several measurements at once, their timed rounds interleaved, so that the machine's pace hits all of them alike.

A block is one round of each. Blocks come in pairs: the first in an order drawn by lot, the second in the reverse of
it, which for two variants is ABBA or BAAB.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_diffbench.measure.runner import Drive, Measurement, Progress

__tracebackhide__ = True  # of a pipeline that raises, its own frames are what is to be read

MOST_CALLS_BEFORE = 4
"""Of each measurement, before its rounds: for progress alone, which needs no exact number."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Steps:
    """What one round of a measurement is made of."""

    prepare: Callable[[], None]
    run: Callable[[], None]
    finish: Callable[[], None]


class _ReferenceBrokeError(Exception):
    """Ends the rounds of all: without the reference there is nothing to compare with."""


class Interleaved:
    """Takes measurements together.

    Each is surveyed and warmed up on its own, the reference first. One that raises leaves the others alone, unless it
    is the reference.

    Args:
        measurements: by name, each with a plan for at least the last of `looks` rounds.
        reference: the name of one of them; `drive` drives its rounds, and the others' come between.
        looks: numbers of blocks, rising, after which `enough` is asked.
        enough: given the names that are still measured and the number of the look; ends the rounds by returning True.
        seed: of the order.
    """

    def __init__(
        self,
        measurements: Mapping[str, Measurement],
        reference: str,
        looks: Sequence[int],
        enough: Callable[[Sequence[str], int], bool],
        seed: int,
    ) -> None:
        self._measurements = {reference: measurements[reference], **measurements}
        self._reference = reference
        self._looks = tuple(looks)
        self._enough = enough
        self._draw = random.Random(seed)
        self._steps: dict[str, _Steps] = {}
        self._order: list[str] = []
        self._behind: list[str] = []
        self._raised: dict[str, Exception] = {}
        self._own: Exception | None = None
        self._rounds_done = 0
        self.errors: dict[str, Exception] = {}
        """What was raised, by name, as `Measurement.take` tells it."""

        self.blocks = 0
        """Rounds that every measurement without an error has."""

        self.look = 0
        """Which of `looks` the rounds ended at, counted from 0."""

    def take(self, drive: Drive, progress: Progress) -> None:
        """Measure. What a measurement raises is found in `errors`; interrupts pass through."""
        self._drive = drive
        self._progress = progress
        self._descend(0)
        if self._own is not None:
            raise self._own

    def _descend(self, depth: int) -> None:
        """Enter the next measurement's rounds from within those of the ones before; at the bottom, interleave."""
        names = list(self._measurements)
        if depth == len(names):
            self._interleave()
            return
        name = names[depth]
        entered = False

        def enter(
            prepare: Callable[[], None], run: Callable[[], None], finish: Callable[[], None], _rounds: int
        ) -> None:
            nonlocal entered
            entered = True
            self._steps[name] = _Steps(prepare, run, finish)
            self._descend(depth + 1)
            if name in self._raised:
                raise self._raised[name]  # through `take`, which tells of some errors in words of its own

        def tell(phase: str, done: int, _total: int) -> None:
            if not entered:
                self._progress(
                    f"{name}: {phase}", depth * MOST_CALLS_BEFORE + min(done, MOST_CALLS_BEFORE), self._total
                )

        try:
            self._measurements[name].take(enter, tell)
        except Exception as error:
            self.errors[name] = error
            if not entered and name != self._reference:
                self._descend(depth + 1)

    @property
    def _total(self) -> int:
        return len(self._measurements) * (MOST_CALLS_BEFORE + self._looks[min(self.look, len(self._looks) - 1)])

    def _active(self) -> list[str]:
        return [name for name in self._steps if name not in self._raised and name not in self.errors]

    def _interleave(self) -> None:
        try:
            if len(self._active()) < 2:
                return
            with contextlib.suppress(_ReferenceBrokeError):
                self._drive(self._before, self._run, self._after, self._looks[0])
                while not self._ended():
                    self.look += 1
                    while self.blocks < self._looks[self.look]:
                        self._before()
                        self._run()
                        self._after()
        except Exception as error:  # of this class' own making: no measurement is to be blamed
            self._own = error

    def _ended(self) -> bool:
        active = self._active()
        return len(active) < 2 or self.look + 1 == len(self._looks) or self._enough(active, self.look)

    def _before(self) -> None:
        """The rounds of a block that come before the reference's, and its own preparation."""
        if self.blocks % 2:
            self._order.reverse()
        else:
            self._order = list(self._measurements)
            self._draw.shuffle(self._order)
        at = self._order.index(self._reference)
        self._behind = self._order[at + 1 :]
        for name in self._order[:at]:
            self._round(name)
        self._guarded(self._reference, self._steps[self._reference].prepare)

    def _run(self) -> None:
        self._guarded(self._reference, self._steps[self._reference].run)

    def _after(self) -> None:
        if self.blocks >= self._looks[self.look]:
            return  # a call that a profiler asked for; it isn't a round
        self._guarded(self._reference, self._steps[self._reference].finish)
        self._rounds_done += 1
        for name in self._behind:
            self._round(name)
        self.blocks += 1

    def _round(self, name: str) -> None:
        if self.blocks >= self._looks[self.look]:
            return
        for step in ("prepare", "run", "finish"):
            if name in self._active():
                self._guarded(name, getattr(self._steps[name], step))
        self._rounds_done += 1

    def _guarded(self, name: str, step: Callable[[], None]) -> None:
        done = len(self._measurements) * MOST_CALLS_BEFORE + self._rounds_done
        self._progress(f"block {self.blocks + 1}/{self._looks[self.look]}: {name}", done, self._total)
        try:
            step()
        except Exception as error:
            self._raised[name] = error
            if name == self._reference:
                raise _ReferenceBrokeError from None
