"""Time that threads wait for a processor: from made-up files, and once beside a loop on the same core."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_diffbench.measure.telemetry import TelemetryWatch
from pytest_diffbench.measure.waiting import Waiting, waited_s

if TYPE_CHECKING:
    from pytest_diffbench.records import Telemetry


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    tasks = tmp_path / "self" / "task"
    tasks.mkdir(parents=True)
    return tasks


def thread(tasks: Path, name: str, text: str) -> None:
    (tasks / name).mkdir(exist_ok=True)
    (tasks / name / "schedstat").write_text(text)


def test_the_waits_of_all_threads_are_read_and_their_growth_added_up(tasks: Path, tmp_path: Path) -> None:
    waiting = Waiting(tmp_path)
    thread(tasks, "11", "900 100 3\n")
    thread(tasks, "12", "900 5000000 3\n")
    before = waiting.read()
    assert before == {"11": 100, "12": 5_000_000}
    thread(tasks, "11", "950 1000000100 4\n")
    thread(tasks, "12", "900 5500000 3\n")
    assert waited_s(before, waiting.read()) == 1.0005


def test_threads_come_and_go() -> None:
    ended, began = {"1": 10, "2": 10_000}, {"1": 20, "3": 500}
    assert waited_s(ended, began) == 510 / 1e9
    assert waited_s({"1": 9000}, {"1": 40}) == 40 / 1e9, "an id that another thread has now"
    assert waited_s({"1": 5}, {"1": 5}) == 0


def test_where_nothing_is_counted_nothing_is_reported(tasks: Path, tmp_path: Path) -> None:
    waiting = Waiting(tmp_path)
    assert Waiting(tmp_path / "nowhere").read() is None
    assert waiting.read() is None
    (tasks / "11").mkdir()
    assert waiting.read() is None, "a kernel without these files"
    thread(tasks, "11", "0 0 0\n")
    assert waiting.read() is None, "a kernel that doesn't count"
    for strange in ("", "1 2\n", "a b c\n", "1 2 3 4\n"):
        thread(tasks, "11", strange)
        assert waiting.read() is None
    assert waited_s(None, {"1": 1}) is None
    assert waited_s({"1": 1}, None) is None


def test_a_thread_ending_meanwhile_is_left_out(tasks: Path, tmp_path: Path) -> None:
    thread(tasks, "11", "900 100 3\n")
    (tasks / "12").mkdir()
    assert Waiting(tmp_path).read() == {"11": 100}


def test_files_are_closed(tasks: Path, tmp_path: Path) -> None:
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("needs Linux")
    thread(tasks, "11", "a b c\n")
    waiting = Waiting(tmp_path)
    before = len(list(descriptors.iterdir()))
    for _ in range(5):
        waiting.read()
    assert len(list(descriptors.iterdir())) == before


def test_a_thread_beside_a_busy_loop_on_the_same_core_waits() -> None:
    if not hasattr(os, "sched_setaffinity") or Waiting().read() is None:
        pytest.skip("the system doesn't count what threads wait")
    core = min(os.sched_getaffinity(0))
    loop = f"import os; os.sched_setaffinity(0, {{{core}}}); print('on', flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", loop], stdout=subprocess.PIPE) as other:
        try:
            reading = _watched_beside(other, core)
        finally:
            other.kill()
    assert reading is not None
    assert reading.waited_s is not None
    assert reading.waited_s > 0


def _watched_beside(other: subprocess.Popen[bytes], core: int) -> Telemetry | None:
    assert other.stdout is not None
    other.stdout.readline()
    ended = threading.Event()
    done = threading.Event()

    def spin() -> None:
        os.sched_setaffinity(0, {core})  # of this thread alone
        until_s = time.thread_time() + 0.05  # some slices of the scheduler's, whatever wakes it first
        while time.thread_time() < until_s:
            pass
        done.set()
        ended.wait()

    watch = TelemetryWatch("cpu")
    spinning = threading.Thread(target=spin)
    watch.before()
    spinning.start()
    done.wait()
    reading = watch.after()
    ended.set()
    spinning.join()
    watch.close()
    return reading
