"""The time that a session's further processes may take."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_SLACK_S = 60.0
"""For what a measuring process does besides: starting, importing, collecting, ending."""

_SLOWER = 5.0
"""A process that takes this many times as long as the first one isn't coming to an end."""


class Budget:
    """Seconds, used up by whatever runs inside of it (`with budget:`).

    Args:
        seconds: in all.
        clock: seconds that only go up.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._since_s = 0.0
        self.used_s = 0.0
        """What was used up, perhaps more than there was."""

    @property
    def seconds(self) -> float:
        """In all."""
        return self._seconds

    @property
    def _source(self) -> str:
        """Where the seconds come from, in words."""
        return f"the {self.seconds:g} s of --diffbench-max-time"

    @property
    def left_s(self) -> float:
        """What is left, never under 0."""
        return max(0.0, self.seconds - self.used_s)

    def too_little(
        self, next_s: float, *, processes: int, process_s: float | None = None, what: str = "process"
    ) -> str | None:
        """Why nothing more is begun, since it would only be ended before its time.

        Args:
            next_s: what the next is known to take, 0 where nobody knows.
            processes: how many there are to be yet.
            process_s: what each of them takes; `next_s` by default.
            what: one of them, in a word.

        Returns:
            The reason, and how much time would do; None where there is enough for the next.
        """
        if self.left_s > 0 and self.left_s >= next_s:
            return None
        if self.left_s <= 0:
            why = f"{self._source} are used up"
        else:
            left = f"{self.left_s:.0f} of {self._source} are left"
            why = f"the next takes about {next_s:.0f} s, and {left}"
        if not next_s:
            return why
        enough_s = self.used_s + processes * (_SLACK_S + (next_s if process_s is None else process_s))
        more = (
            f"{processes} more {what}{'es' if what.endswith('s') else 's'}" if processes > 1 else f"one more {what}"
        )
        return f"{why}. For {more}, give --diffbench-max-time={60 * math.ceil(enough_s / 60)}"

    def timeout_s(self, first_s: float) -> float:
        """Time-out of a process that repeats what took `first_s` at first, within what is left."""
        return min(self.left_s, _SLACK_S + _SLOWER * first_s)

    def share(self, parts: int) -> Budget:
        """One of so many equal parts of what is left, to be used up together with this one."""
        return Budget(self.left_s / parts, self._clock)

    def __enter__(self) -> None:
        self._since_s = self._clock()

    def __exit__(self, *_: object) -> None:
        self.used_s += self._clock() - self._since_s


LEAST_S = 120.0
"""Confirming one case takes two processes, and most of a process's time is its imports."""


class AsLongAsMeasuring(Budget):
    """As long as the session itself took so far, but at least `LEAST_S`: what is bought at most doubles its time.

    Args:
        clock: seconds that only go up.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(LEAST_S, clock)
        self._began_s = clock()

    @property
    def seconds(self) -> float:
        """In all, by now."""
        return max(LEAST_S, self._clock() - self._began_s - self.used_s)

    @property
    def _source(self) -> str:
        return f"the {self.seconds:.0f} s that further processes may take, as long as measuring did,"


_COMPARING_S = 600.0
"""Where further processes are what a session is for."""


def budget_of(max_time_s: float | None, *, comparing: bool) -> Budget:
    """What the further processes of a session may take.

    Args:
        max_time_s: that somebody allows, None where nobody said.
        comparing: further processes are what the session is for.
    """
    if max_time_s is not None:
        return Budget(max_time_s)
    return Budget(_COMPARING_S) if comparing else AsLongAsMeasuring()
