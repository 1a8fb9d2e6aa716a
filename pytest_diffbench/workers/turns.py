"""Lets two measuring processes go by turns: each asks before it measures anything, and waits until it may.

What a shared machine does to one process's round it does to the other's next to it, too, so it drops out of the ratio
of the two. A pair of rounds lies a second apart; a pair of processes, half a minute.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import msgspec

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.workers.process import Ended, last_words, started

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

SUPPORTED = sys.platform != "win32"
"""Whether a process can be handed a socket."""

BEGIN, END = -1, sys.maxsize
"""Places before and behind all that is measured of a case."""

_LAST_WORDS_S = 10.0
"""What a process has to end in by itself, once it let go of its socket."""

_WATCH_S = 0.2
"""How often processes are looked at that may have died without a word."""


class Ask(msgspec.Struct, frozen=True, array_like=True):
    """What a process says before it goes on.

    Attributes:
        case: id of what it is about to measure.
        place: how far it has come with it, from `BEGIN` to `END`; the same for both sides' like rounds.
    """

    case: str
    place: int


class TurnClient:
    """A measuring process's side.

    Args:
        descriptor: of the socket that it was handed.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)

    def wait(self, case: str, place: int) -> None:
        """Wait for this process's turn.

        Raises:
            MeasureError: whoever decides is gone, so that nobody keeps the other process from measuring.
        """
        heard = b""
        with contextlib.suppress(OSError):
            self._socket.sendall(msgspec.json.encode(Ask(case, place)) + b"\n")
            heard = self._socket.recv(1)
        if not heard:
            raise MeasureError(f"{case}: the session that this process measures for has ended.")

    def before_progress(
        self, case: str, progress: Callable[[str, int, int], None]
    ) -> Callable[[str, int, int], None]:
        """Make what is told of a measurement's progress wait for the turn first."""

        def wait(phase: str, done: int, total: int) -> None:
            self.wait(case, done)
            progress(phase, done, total)

        return wait


class TurnScheduler:
    """Decides whose turn it is, so that never more than one of two processes measures.

    Both go through the same cases, mostly. Whoever lies behind goes; between two that want the same, the one that
    went first goes second the next time, as in ABBA. Between two cases both may go, to load what comes next.

    Args:
        first: side that begins, 0 or 1.
        rank: of a case in the order in which both come to them, for what one side leaves out.
    """

    def __init__(self, first: int, rank: Callable[[str], int]) -> None:
        self._first = first
        self._rank = rank
        self._asks: list[Ask | None] = [None, None]
        self._over = [False, False]
        self._begun: list[set[str]] = [set(), set()]
        self._began_together: set[str] = set()
        self.met: set[str] = set()
        """Cases that both sides went through together from their begin to their end."""

    def asks(self, side: int, ask: Ask) -> None:
        """Take down that a side waits."""
        self._asks[side] = ask
        self._begun[side].add(ask.case)

    def ends(self, side: int) -> None:
        """Take down that a side won't ask again."""
        self._over[side] = True
        self._asks[side] = None

    @property
    def at_work(self) -> set[int]:
        """Sides that aren't over."""
        return {side for side in (0, 1) if not self._over[side]}

    @property
    def is_vain(self) -> bool:
        """Whether a side is over that never asked, so that there will be no pair."""
        return any(over and not begun for over, begun in zip(self._over, self._begun, strict=True))

    def next(self) -> tuple[int, ...]:
        """Sides that may go on now, from among those that wait; none while another is on its way."""
        if any(ask is None and not over for ask, over in zip(self._asks, self._over, strict=True)):
            return ()
        going = self._choose()
        for side in going:
            self._asks[side] = None
        return going

    def _choose(self) -> tuple[int, ...]:
        first, second = self._asks
        if first is None or second is None:
            return tuple(side for side in (0, 1) if self._asks[side] is not None)
        if first.case != second.case:
            if (first_rank := self._rank(first.case)) != (second_rank := self._rank(second.case)):
                return (0,) if first_rank < second_rank else (1,)
            return (1,) if second.case in self._begun[0] and first.case not in self._begun[1] else (0,)
        if first.place != second.place:
            return (0,) if first.place < second.place else (1,)
        if first.place == END:
            if first.case in self._began_together:
                self.met.add(first.case)
            return (0, 1)
        if first.place == BEGIN:
            self._began_together.add(first.case)
        self._first = 1 - self._first
        return (1 - self._first,)


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A process to be started.

    Attributes:
        words: program and arguments.
        environment: all of its variables.
        folder: where what it writes is kept.
    """

    words: Sequence[str]
    environment: Mapping[str, str]
    folder: Path


def run_interleaved(
    prepare: Callable[[int, int], Command],
    *,
    cwd: Path,
    timeout_s: float,
    first: int,
    rank: Callable[[str], int] = lambda _case: 0,
) -> tuple[tuple[Ended, Ended], frozenset[str]]:
    """Run two processes to their end, by turns. Whatever ends the wait ends both.

    Args:
        prepare: gives a side's process, from the side's number and the socket that its `TurnClient` is to have.
        cwd: their folder.
        timeout_s: both are ended after this time; either is where the other ends and has measured nothing.
        first: side that begins.
        rank: of a case, as `TurnScheduler` takes it.

    Returns:
        How each ended, and the cases that both went through together.

    Raises:
        OSError: one can't be started.
    """
    scheduler = TurnScheduler(first, rank)
    with contextlib.ExitStack() as stack:
        running: list[subprocess.Popen[bytes]] = []
        sockets: list[socket.socket] = []
        commands: list[Command] = []
        for side in (0, 1):
            own_end, child_end = socket.socketpair()
            sockets.append(stack.enter_context(own_end))
            with child_end:
                commands.append(command := prepare(side, child_end.fileno()))
                process = started(
                    command.words,
                    environment=command.environment,
                    cwd=cwd,
                    folder=command.folder,
                    descriptors=(child_end.fileno(),),
                )
                running.append(stack.enter_context(process))
        late = _watch(scheduler, running, sockets, time.monotonic() + timeout_s)
    ended = [
        Ended(None if side in late else running[side].returncode, timeout_s, last_words(commands[side].folder))
        for side in (0, 1)
    ]
    return (ended[0], ended[1]), frozenset(scheduler.met)


def _watch(
    scheduler: TurnScheduler,
    running: Sequence[subprocess.Popen[bytes]],
    sockets: Sequence[socket.socket],
    until_s: float,
) -> set[int]:
    """Hand out turns; returns the sides that didn't come to their end in time."""
    heard = [b"", b""]
    with selectors.DefaultSelector() as selector:
        for side, connection in enumerate(sockets):
            selector.register(connection, selectors.EVENT_READ, side)
        while (listened := {key.data for key in selector.get_map().values()}) and time.monotonic() < until_s:
            dead = {side for side in listened if running[side].poll() is not None}
            speaking = {key.data for key, _ in selector.select(_WATCH_S)}
            silenced = dead - speaking  # a child of its own may still hold its socket open
            for side in speaking:
                said = _received(sockets[side])
                *lines, heard[side] = (heard[side] + said).split(b"\n")
                for line in lines:
                    scheduler.asks(side, msgspec.json.decode(line, type=Ask))
                if not said:
                    silenced.add(side)
            for side in silenced:
                selector.unregister(sockets[side])
                scheduler.ends(side)
            if scheduler.is_vain:
                for side in {0, 1} - scheduler.at_work:
                    _is_over(running[side], time.monotonic() + _LAST_WORDS_S)
                return set()
            for side in scheduler.next():
                with contextlib.suppress(OSError):  # it died meanwhile, which the next look shows
                    sockets[side].sendall(b"\n")
    return {side for side, process in enumerate(running) if not _is_over(process, until_s)}


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionError:
        return b""


def _is_over(process: subprocess.Popen[bytes], until_s: float) -> bool:
    try:
        process.wait(max(0.0, until_s - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True
