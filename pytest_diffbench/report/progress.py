"""How far a measurement is and about how long it will take yet: a line of a terminal, or a line a minute of a log."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_diffbench.report.lines import SEPARATOR, encodable, visible

if TYPE_CHECKING:
    from collections.abc import Callable

_CALLS_LOOKED_AT = 2
"""Only the newest calls tell how long the next will take: the survey and the pass over the layers are slower."""

LOG_EVERY_S = 60.0


class Pace:
    """What the calls of a case take. The clock is a steady one, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.start()

    def start(self) -> None:
        """Begin a case, of which nothing is known yet."""
        self._done = 0
        self._calls_s: list[float] = []
        self._since_s = self._clock()

    def left_s(self, done: int, total: int) -> float | None:
        """Seconds until `total` calls are made, now that `done` are; None where nothing tells."""
        now_s = self._clock()
        if done > self._done:
            calls = done - self._done
            self._calls_s += [(now_s - self._since_s) / calls] * min(calls, _CALLS_LOOKED_AT)
            self._done, self._since_s = done, now_s
        newest = self._calls_s[-_CALLS_LOOKED_AT:]
        if not newest or total <= done:
            return None
        return (total - done) * sum(newest) / len(newest)


class Outlook:
    """Which of a session's tests is under way, and how long the others will take: as long as those that are over.

    A test lasts until the next one begins, judging and loading pipelines included.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._begun: set[str] = set()
        self._took_s: list[float] = []
        self._since_s = 0.0
        self.total = 0
        """Tests that are expected; 0 where nobody said."""

    def begin(self, test: str) -> None:
        """A test begins; one that is run again counts once."""
        if test in self._begun:
            return
        now_s = self._clock()
        if self._begun:
            self._took_s.append(now_s - self._since_s)
        self._begun.add(test)
        self._since_s = now_s

    @property
    def place(self) -> str:
        """`7 of 16`; empty where it isn't known, or there is but one."""
        number = len(self._begun)
        return f"{number} of {self.total}" if 1 < self.total >= number > 0 else ""

    def others_s(self) -> float | None:
        """Seconds that the tests will take which haven't begun; None where none is left, or none is over."""
        left = self.total - len(self._begun)
        return left * sum(self._took_s) / len(self._took_s) if left > 0 and self._took_s else None


class Progress:
    """Rewrites one line in place. Writes nothing before `start` and after `finish`.

    Args:
        write: takes text to be shown at once; the text begins with a carriage return.
        width: columns of the terminal; the line stays one short of them, so that it never wraps.
        clock: seconds from a steady clock.
        encoding: of the stream; characters that it lacks are replaced.
        outlook: knows the session's other tests.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        width: int,
        clock: Callable[[], float],
        encoding: str | None = "utf-8",
        outlook: Outlook | None = None,
    ) -> None:
        self._write = write
        self._room = max(width - 1, 0)
        self._pace = Pace(clock)
        self._encoding = encoding
        self._outlook = outlook
        self._parts: tuple[str, ...] = ()
        self._shown = 0

    def start(self, case_name: str, label: str) -> None:
        """Begin a case: its name, and before it a label such as `lumina2 mini`, which may be empty."""
        place = self._outlook.place if self._outlook is not None else ""
        self._parts = tuple(visible(part) for part in (place, label, case_name) if part)
        self._pace.start()
        self._show(self._parts)

    def advance(self, phase: str, done: int, total: int) -> None:
        """Tell what is being done now: `done` of `total` calls are behind it."""
        left_s = self._pace.left_s(done, total)
        others_s = self._outlook.others_s() if self._outlook is not None else None
        left = f"about {rough_duration(left_s)} left" if left_s is not None else ""
        if others_s is not None:
            everything = rough_duration((left_s or 0.0) + others_s)
            left = f"{left}, {everything} with all others" if left else f"about {everything} left with all others"
        self._show((*self._parts, phase, *((left,) if left else ())))

    def finish(self) -> None:
        """Erase the line."""
        if self._shown:
            self._write("\r" + " " * self._shown + "\r")
        self._shown = 0

    def _show(self, parts: tuple[str, ...]) -> None:
        text = encodable(SEPARATOR.join(parts), self._encoding)
        if len(text) > self._room and len(parts) > 1:
            # What is being done, at the end, matters more than the label at the beginning.
            keep = max(self._room - 3, 0)
            text = ("..." + text[len(text) - keep :])[: self._room]
        text = text[: self._room]
        self._write("\r" + text + " " * (self._shown - len(text)))
        self._shown = len(text)


class LogLines:
    """The same where no terminal is: a line now and then, so that a log shows what a long silence is.

    `diffbench: 7 of 16 tests, test_cfg_trunc[0.5]: round 3 of 5, about 40 s left`. Told between calls alone, so a
    call of many minutes is silent. Lines, the first included, are at least `every_s` apart.
    """

    def __init__(
        self,
        write_line: Callable[[str], None],
        clock: Callable[[], float],
        outlook: Outlook,
        every_s: float,
    ) -> None:
        self._write_line = write_line
        self._clock = clock
        self._pace = Pace(clock)
        self._outlook = outlook
        self._every_s = every_s
        self._last_line_s = clock()
        self._name = ""

    def start(self, case_name: str) -> None:
        """Begin a case."""
        self._name = visible(case_name)
        self._pace.start()

    def advance(self, phase: str, done: int, total: int, *, at_once: bool = False) -> None:
        """Tell what is being done now, where it is time for that.

        Args:
            phase: what it is: `round 3/5`.
            done: calls behind it.
            total: of so many.
            at_once: it takes long and nothing is told meanwhile.
        """
        left_s = self._pace.left_s(done, total)
        if not at_once and self._clock() - self._last_line_s < self._every_s:
            return
        self._last_line_s = self._clock()
        place, others_s = self._outlook.place, self._outlook.others_s()
        if left_s is not None or others_s is not None:
            phase += f", about {rough_duration((left_s or 0.0) + (others_s or 0.0))} left"
        self._write_line(f"diffbench: {f'{place} tests, ' if place else ''}{self._name}: {_in_words(phase)}")


def _in_words(phase: str) -> str:
    """`round 3 of 5` for `round 3/5`."""
    words = [
        " of ".join(parts) if len(parts := word.split("/")) == 2 and parts[0].isdigit() else word
        for word in phase.split(" ")
    ]
    return " ".join(words)


def rough_duration(seconds: float) -> str:
    return f"{max(math.ceil(seconds), 1)} s" if seconds < 90 else f"{round(seconds / 60)} min"
