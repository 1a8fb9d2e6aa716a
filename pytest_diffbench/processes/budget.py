"""The time that a session's further processes may take."""

from __future__ import annotations

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
        self._left_s = self.seconds = seconds
        self._clock = clock
        self._since_s = 0.0

    @property
    def left_s(self) -> float:
        """What is left, never under 0."""
        return max(0.0, self._left_s)

    def timeout_s(self, first_s: float) -> float:
        """Time-out of a process that repeats what took `first_s` at first, within what is left."""
        return min(self.left_s, _SLACK_S + _SLOWER * first_s)

    def __enter__(self) -> None:
        self._since_s = self._clock()

    def __exit__(self, *_: object) -> None:
        self._left_s -= self._clock() - self._since_s
