"""Two processes by turns: who goes when, and that neither waits for one that is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.workers import turns
from pytest_diffbench.workers.turns import BEGIN, END, Ask, Command, TurnClient, TurnScheduler, run_interleaved

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_diffbench.workers.process import Ended

pytestmark = pytest.mark.skipif(not turns.SUPPORTED, reason="a process can't be handed a socket here")

Script = list[tuple[str, int]]


def played(*scripts: Script, first: int = 0) -> tuple[str, set[str]]:
    """Let two sides ask for their places, one after the other; returns who went where, and what they met in."""
    scheduler = TurnScheduler(first, rank="XYZ".index)
    left = [list(script) for script in scripts]
    went = []

    def on(side: int) -> None:
        if left[side]:
            scheduler.asks(side, Ask(*left[side][0]))
        else:
            scheduler.ends(side)

    on(0)
    assert scheduler.next() == (), "one goes while the other is on its way"
    on(1)
    while any(left):
        going = scheduler.next()
        assert going, "nobody may go"
        for side in going:
            case, place = left[side].pop(0)
            went.append(f"{'ab'[side]}{case}{ {BEGIN: '^', END: '.'}.get(place, place) }")
        for side in going:
            on(side)
    return " ".join(went), scheduler.met


def places(case: str, *numbers: int) -> Script:
    return [(case, number) for number in (BEGIN, *numbers, END)]


def test_like_rounds_lie_side_by_side_in_the_order_abba() -> None:
    both = places("X", 0, 1, 2)
    assert played(both, both) == ("aX^ bX^ bX0 aX0 aX1 bX1 bX2 aX2 aX. bX.", {"X"})
    assert played(both, both, first=1)[0].startswith("bX^ aX^ aX0 bX0")


def test_whoever_lies_behind_catches_up() -> None:
    # a further warm-up has the number of the last one
    assert played(places("X", 1, 1, 1, 2), places("X", 1, 2))[0] == "aX^ bX^ bX1 aX1 aX1 aX1 aX2 bX2 aX. bX."


@pytest.mark.parametrize(
    ("first", "other", "met"),
    [
        (places("X", 0, 1), [], set()),
        ([], places("X", 0, 1), set()),
        (places("X", 0, 1) + places("Y", 0), places("Y", 0, 1), {"Y"}),
        (places("Y", 0), places("X", 0, 1) + places("Y", 0), {"Y"}),
        (places("X", 0) + places("Y", 0), places("Y", 0) + places("X", 0), {"Y"}),
        (places("Y", 0) + places("X", 0), places("X", 0) + places("Y", 0), {"Y"}),
        (places("X", 0, 1)[:2], places("X", 0, 1), set()),
        (places("X", 0), places("Y", 0), set()),
    ],
)
def test_no_side_waits_for_a_case_missing_on_the_other_side(first: Script, other: Script, met: set[str]) -> None:
    went, cases_met = played(first, other)
    assert (len(went.split()), cases_met) == (len(first) + len(other), met)


ASKING = """
import sys
from pathlib import Path
from pytest_diffbench.workers.turns import BEGIN, END, TurnClient
name = sys.argv[2]
client = TurnClient(int(sys.argv[1]))
for place in [BEGIN, 0, 1, 2, END]:
    client.wait("X", place)
    with Path("log.txt").open("a") as file:
        file.write(name)
    {then}
"""
WAITING = "import threading; threading.Event().wait()"


def ran(
    folder: Path, *codes: str, timeout_s: float = 60, places: int = 4
) -> tuple[tuple[Ended, Ended], frozenset[str]]:
    def prepare(side: int, descriptor: int) -> Command:
        own_folder = folder / str(side)
        own_folder.mkdir()
        words = [sys.executable, "-c", codes[side], str(descriptor), "ab"[side]]
        return Command(words=words, environment=os.environ, folder=own_folder)

    return run_interleaved(prepare, cwd=folder, timeout_s=timeout_s, first=0)


def test_real_processes_go_by_turns(tmp_path: Path) -> None:
    ended, met = ran(tmp_path, *[ASKING.format(then="pass")] * 2)
    assert [process.status for process in ended] == [0, 0]
    assert (tmp_path / "log.txt").read_text()[:8] == "abbaabba"
    assert met == {"X"}


def test_a_dying_side_leaves_the_other_side_to_go_on(tmp_path: Path) -> None:
    dies = ASKING.format(then="if place == 0: sys.exit('enough')")
    ended, met = ran(tmp_path, dies, ASKING.format(then="pass"))
    assert [process.in_words() for process in ended] == ["it ended with status 1: enough", "it ended with status 0"]
    assert (tmp_path / "log.txt").read_text() == "abbabbb"
    assert met == frozenset()


def test_a_surviving_child_of_a_dead_parent_holds_no_side_up(tmp_path: Path) -> None:
    dies = ASKING.format(
        then="""if place == 0:
        import os, threading
        if os.fork() == 0:
            (Path("child.txt")).write_text(str(os.getpid()))
            threading.Event().wait(60)
        os._exit(5)"""
    )
    ended, _ = ran(tmp_path, dies, ASKING.format(then="pass"), timeout_s=50)
    os.kill(int((tmp_path / "child.txt").read_text()), 9)
    assert [process.status for process in ended] == [5, 0]


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Processes that were started."""
    processes: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen.__init__

    def begin(self: Any, *args: Any, **kwargs: Any) -> None:
        start(self, *args, **kwargs)
        processes.append(self)

    monkeypatch.setattr(subprocess.Popen, "__init__", begin)
    return processes


def test_what_runs_too_long_is_ended_on_both_sides(tmp_path: Path, begun: list[subprocess.Popen[bytes]]) -> None:
    ended, _ = ran(tmp_path, WAITING, ASKING.format(then="pass"), timeout_s=1.0)
    assert [process.in_words() for process in ended] == ["it didn't end within 1 s"] * 2
    assert [process.poll() is not None for process in begun] == [True, True]


@pytest.mark.parametrize("dead", [0, 1])
def test_a_failed_side_ends_the_other_side_at_once(tmp_path: Path, dead: int) -> None:
    codes = ["import sys; sys.exit('no such module')", WAITING]
    ended, met = ran(tmp_path, *(codes if dead == 0 else codes[::-1]))
    assert ended[dead].in_words() == "it ended with status 1: no such module"
    assert [process.by_itself for process in ended] == [dead == 0, dead == 1]
    assert met == frozenset()


def test_an_interruption_ends_both(
    tmp_path: Path, begun: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(turns, "_watch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ran(tmp_path, WAITING, WAITING)
    assert [process.poll() is not None for process in begun] == [True, True]


def test_where_the_second_cannot_be_started_the_first_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen.__init__

    def begin(self: Any, *args: Any, **kwargs: Any) -> None:
        if begun:
            raise OSError("no more of them")
        begun.append(self)
        start(self, *args, **kwargs)

    monkeypatch.setattr(subprocess.Popen, "__init__", begin)
    with pytest.raises(OSError, match="no more of them"):
        ran(tmp_path, WAITING, WAITING)
    assert begun[0].poll() is not None


def test_no_side_measures_after_the_end_of_decisions() -> None:
    import socket

    server_end, client_end = socket.socketpair()
    client = TurnClient(client_end.detach())
    server_end.close()
    for _ in range(2):
        with pytest.raises(MeasureError, match="the session that this process measures for has ended"):
            client.wait("X", 0)
