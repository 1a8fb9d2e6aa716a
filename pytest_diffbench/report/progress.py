"""One line of a terminal that tells how far a measurement is and about how long it will take yet."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_diffbench.report.lines import SEPARATOR, encodable, visible

if TYPE_CHECKING:
    from collections.abc import Callable

_CALLS_LOOKED_AT = 2
"""Only the newest calls tell how long the next will take: the survey and the pass over the layers are slower."""


class Progress:
    """Rewrites one line in place. Writes nothing before `start` and after `finish`.

    Args:
        write: takes text to be shown at once; the text begins with a carriage return.
        width: columns of the terminal; the line stays one short of them, so that it never wraps.
        clock: seconds from a steady clock.
        encoding: of the stream; characters that it lacks are replaced.
    """

    def __init__(
        self, write: Callable[[str], None], width: int, clock: Callable[[], float], encoding: str | None = "utf-8"
    ) -> None:
        self._write = write
        self._room = max(width - 1, 0)
        self._clock = clock
        self._encoding = encoding
        self._parts: tuple[str, ...] = ()
        self._shown = 0
        self._done = 0
        self._since_s = 0.0
        self._calls_s: list[float] = []

    def start(self, case_name: str, label: str) -> None:
        """Begin a case: its name, and before it a label such as `lumina2 mini`, which may be empty."""
        self._parts = tuple(visible(one) for one in (label, case_name) if one)
        self._done = 0
        self._calls_s = []
        self._since_s = self._clock()
        self._show(self._parts)

    def advance(self, phase: str, done: int, total: int) -> None:
        """Tell what is being done now: `done` of `total` calls are behind it."""
        now_s = self._clock()
        if done > self._done:
            calls = done - self._done
            self._calls_s += [(now_s - self._since_s) / calls] * min(calls, _CALLS_LOOKED_AT)
            self._done, self._since_s = done, now_s
        left = self._left(total - done)
        self._show((*self._parts, phase, *((left,) if left else ())))

    def finish(self) -> None:
        """Erase the line."""
        if self._shown:
            self._write("\r" + " " * self._shown + "\r")
        self._shown = 0

    def _left(self, calls: int) -> str | None:
        newest = self._calls_s[-_CALLS_LOOKED_AT:]
        if not newest or calls <= 0:
            return None
        left_s = calls * sum(newest) / len(newest)
        if left_s < 90:
            return f"about {max(math.ceil(left_s), 1)} s left"
        return f"about {round(left_s / 60)} min left"

    def _show(self, parts: tuple[str, ...]) -> None:
        text = encodable(SEPARATOR.join(parts), self._encoding)
        if len(text) > self._room and len(parts) > 1:
            # What is being done, at the end, matters more than the label at the beginning.
            keep = max(self._room - 3, 0)
            text = ("..." + text[len(text) - keep :])[: self._room]
        text = text[: self._room]
        self._write("\r" + text + " " * (self._shown - len(text)))
        self._shown = len(text)
