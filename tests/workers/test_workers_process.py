"""A process ends with its time or with whoever waits for it, and its last words are kept."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.workers import exchange
from pytest_diffbench.workers.budget import LEAST_S, AsLongAsMeasuring, Budget, budget_of
from pytest_diffbench.workers.process import Ended, run

if TYPE_CHECKING:
    from pathlib import Path

WAITING = "import threading; threading.Event().wait()"


def ran(code: str, folder: Path, timeout_s: float = 60) -> Ended:
    return run([sys.executable, "-c", code], environment=os.environ, cwd=folder, timeout_s=timeout_s, folder=folder)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("pass", "it ended with status 0"),
        ("import sys; print('out'); sys.exit('a\\n\\nb\\nc\\nd')", "it ended with status 1: b / c / d"),
        ("print('only out'); raise SystemExit(7)", "it ended with status 7: only out"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "it was ended by SIGKILL"),
        (r"import sys; sys.stderr.buffer.write(b'\xff\n')", "it ended with status 0: \ufffd"),
    ],
)
def test_a_process_says_how_the_run_ended(tmp_path: Path, code: str, words: str) -> None:
    assert ran(code, tmp_path).in_words() == words


def test_what_runs_too_long_is_ended(tmp_path: Path) -> None:
    ended = ran(WAITING, tmp_path, timeout_s=0.01)
    assert (ended.status, ended.in_words()) == (None, "it didn't end within 0 s")


def test_an_interruption_ends_the_process_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    wait = subprocess.Popen.wait

    def interrupted(self: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        started.append(self)
        if len(started) == 1:
            raise KeyboardInterrupt
        return wait(self, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ran(WAITING, tmp_path)
    assert started[0].poll() is not None


def test_a_line_cut_off_is_left_out(tmp_path: Path) -> None:
    writer = exchange.ResultWriter(tmp_path)
    line = exchange.Outcome(test="a", when="call", outcome="failed", text="é")
    writer.write(line)
    with (tmp_path / "results.jsonl").open("ab") as file:
        file.write(b'{"type":"outc')
    assert exchange.read_lines(tmp_path) == [line]


def test_a_wrong_task_is_a_single_sentence(tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match=r"PYTEST_DIFFBENCH_TASK=.*unset it"):
        exchange.take(tmp_path)


def test_a_budget_is_used_up_by_the_tasks_within() -> None:
    now = [0.0]
    budget = Budget(100, clock=lambda: now[0])
    assert budget.timeout_s(2.0) == 70.0
    with budget:
        now[0] += 60
    now[0] += 1000
    assert (budget.left_s, budget.timeout_s(2.0)) == (40.0, 40.0)
    with contextlib.suppress(KeyboardInterrupt), budget:
        now[0] += 60
        raise KeyboardInterrupt
    assert budget.left_s == 0.0


def test_by_default_further_processes_take_as_long_as_measuring_did() -> None:
    now = [0.0]
    budget = AsLongAsMeasuring(clock=lambda: now[0])
    assert (budget.seconds, budget.left_s) == (LEAST_S, LEAST_S)
    now[0] = 300.0
    assert budget.left_s == 300.0
    with budget:
        now[0] += 200.0
    # what they took is no measuring
    assert (budget.seconds, budget.left_s) == (300.0, 100.0)
    assert budget.too_little(150, processes=2) == (
        "the next takes about 150 s, and 100 of the 300 s that further processes may take, as long as measuring did,"
        " are left. For 2 more processes, give --diffbench-max-time=660"
    )


@pytest.mark.parametrize(("given_s", "comparing", "seconds"), [(50.0, False, 50.0), (None, True, 600.0)])
def test_the_allowed_time_counts(given_s: float | None, comparing: bool, seconds: float) -> None:
    assert budget_of(given_s, comparing=comparing).seconds == seconds
    assert isinstance(budget_of(None, comparing=False), AsLongAsMeasuring)


def test_nothing_is_begun_without_time_to_end() -> None:
    now = [0.0]
    budget = Budget(600, clock=lambda: now[0])
    assert budget.too_little(600, processes=4) is None
    assert budget.too_little(3600, processes=4) == (
        "the next takes about 3600 s, and 600 of the 600 s of --diffbench-max-time are left."
        " For 4 more processes, give --diffbench-max-time=14640"
    )
    with budget:
        now[0] += 500
    assert budget.too_little(100, processes=4) is None
    assert budget.too_little(200, processes=2, process_s=100) == (
        "the next takes about 200 s, and 100 of the 600 s of --diffbench-max-time are left."
        " For 2 more processes, give --diffbench-max-time=840"
    )
    with budget:
        now[0] += 110
    assert budget.used_s == 610
    used_up = "the 600 s of --diffbench-max-time are used up"
    assert budget.too_little(0, processes=4) == used_up
    more = f"{used_up}. For one more process, give --diffbench-max-time=720"
    assert budget.too_little(20, processes=1) == more
